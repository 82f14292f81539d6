package v1alpha1

// EnrichmentResults is what was found out about the target resource before the analysis. All of it
// is optional.
type EnrichmentResults struct {
	// +optional
	KubernetesContext *KubernetesContext `json:"kubernetesContext,omitempty"`
	// +optional
	DetectedLabels *DetectedLabels `json:"detectedLabels,omitempty"`
	// OwnerChain leads from the target resource upwards.
	// +optional
	// +kubebuilder:validation:MaxItems=16
	OwnerChain []OwnerChainEntry `json:"ownerChain,omitempty"`
	// CustomLabels are labels that operators derive from policy, each with its values.
	// +optional
	// +kubebuilder:validation:MaxProperties=100
	CustomLabels map[string][]string `json:"customLabels,omitempty"`
}

// OwnerChainEntry is one owner. Namespace is empty for a cluster-scoped owner.
type OwnerChainEntry struct {
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Namespace string `json:"namespace,omitempty"`
	// +kubebuilder:validation:MaxLength=253
	Kind string `json:"kind"`
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// DetectedLabels are traits of the target resource. A trait that is named in FailedDetections is
// unknown, and its value is ignored.
type DetectedLabels struct {
	// FailedDetections names the traits that could not be detected.
	// +optional
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:Enum=gitOpsManaged;pdbProtected;hpaEnabled;stateful;helmManaged;networkIsolated;serviceMesh
	FailedDetections []string `json:"failedDetections,omitempty"`

	GitOpsManaged bool `json:"gitOpsManaged"`
	// +optional
	// +kubebuilder:validation:Enum=argocd;flux;""
	GitOpsTool      string `json:"gitOpsTool,omitempty"`
	PDBProtected    bool   `json:"pdbProtected"`
	HPAEnabled      bool   `json:"hpaEnabled"`
	Stateful        bool   `json:"stateful"`
	HelmManaged     bool   `json:"helmManaged"`
	NetworkIsolated bool   `json:"networkIsolated"`
	// +optional
	// +kubebuilder:validation:Enum=istio;linkerd;""
	ServiceMesh string `json:"serviceMesh,omitempty"`
}

// KubernetesContext is a picture of the target resource's surroundings.
type KubernetesContext struct {
	// +kubebuilder:validation:MaxLength=253
	Namespace string `json:"namespace"`
	// +optional
	// +kubebuilder:validation:MaxProperties=256
	NamespaceLabels map[string]string `json:"namespaceLabels,omitempty"`
	// +optional
	// +kubebuilder:validation:MaxProperties=256
	NamespaceAnnotations map[string]string `json:"namespaceAnnotations,omitempty"`
	// +optional
	PodDetails *PodDetails `json:"podDetails,omitempty"`
	// +optional
	DeploymentDetails *DeploymentDetails `json:"deploymentDetails,omitempty"`
	// +optional
	NodeDetails *NodeDetails `json:"nodeDetails,omitempty"`
	// +optional
	// +kubebuilder:validation:MaxItems=100
	RelatedServices []ServiceSummary `json:"relatedServices,omitempty"`
	// +optional
	// +kubebuilder:validation:MaxItems=100
	RelatedIngresses []IngressSummary `json:"relatedIngresses,omitempty"`
	// +optional
	// +kubebuilder:validation:MaxItems=100
	RelatedConfigMaps []ConfigMapSummary `json:"relatedConfigMaps,omitempty"`
}

// PodDetails describes a pod.
type PodDetails struct {
	Name  string `json:"name"`
	Phase string `json:"phase"`
	// +optional
	// +kubebuilder:validation:MaxProperties=256
	Labels map[string]string `json:"labels,omitempty"`
	// +optional
	// +kubebuilder:validation:MaxProperties=256
	Annotations map[string]string `json:"annotations,omitempty"`
	// +optional
	// +kubebuilder:validation:MaxItems=100
	Containers        []ContainerStatus `json:"containers,omitempty"`
	RestartCount      int32             `json:"restartCount"`
	CreationTimestamp string            `json:"creationTimestamp"`
}

// ContainerStatus describes a container.
type ContainerStatus struct {
	Name         string `json:"name"`
	Image        string `json:"image"`
	Ready        bool   `json:"ready"`
	RestartCount int32  `json:"restartCount"`
	State        string `json:"state"`
}

// DeploymentDetails describes a deployment.
type DeploymentDetails struct {
	Name              string `json:"name"`
	Replicas          int32  `json:"replicas"`
	ReadyReplicas     int32  `json:"readyReplicas"`
	AvailableReplicas int32  `json:"availableReplicas"`
	Strategy          string `json:"strategy"`
	// +optional
	// +kubebuilder:validation:MaxProperties=256
	Labels map[string]string `json:"labels,omitempty"`
}

// NodeDetails describes a node.
type NodeDetails struct {
	Name string `json:"name"`
	// +optional
	// +kubebuilder:validation:MaxProperties=256
	Labels      map[string]string `json:"labels,omitempty"`
	Capacity    ResourceList      `json:"capacity"`
	Allocatable ResourceList      `json:"allocatable"`
	// +optional
	// +kubebuilder:validation:MaxItems=32
	Conditions []NodeCondition `json:"conditions,omitempty"`
}

// ResourceList holds quantities as text, for example "4" and "16Gi".
type ResourceList struct {
	CPU    string `json:"cpu"`
	Memory string `json:"memory"`
}

// NodeCondition is a condition of a node.
type NodeCondition struct {
	Type   string `json:"type"`
	Status string `json:"status"`
}

// ServiceSummary describes a service.
type ServiceSummary struct {
	Name      string `json:"name"`
	Type      string `json:"type"`
	ClusterIP string `json:"clusterIP"`
	// +optional
	// +kubebuilder:validation:MaxItems=100
	Ports []ServicePort `json:"ports,omitempty"`
}

// ServicePort describes a port of a service.
type ServicePort struct {
	Name       string `json:"name"`
	Port       int32  `json:"port"`
	TargetPort string `json:"targetPort"`
	Protocol   string `json:"protocol"`
}

// IngressSummary describes an ingress.
type IngressSummary struct {
	Name string `json:"name"`
	// +kubebuilder:validation:MaxItems=100
	Hosts []string `json:"hosts"`
	// +optional
	// +kubebuilder:validation:MaxItems=100
	Rules []IngressRule `json:"rules,omitempty"`
}

// IngressRule describes a rule of an ingress.
type IngressRule struct {
	Host string `json:"host"`
	Path string `json:"path"`
}

// ConfigMapSummary names a config map and its keys. Values are never carried.
type ConfigMapSummary struct {
	Name string `json:"name"`
	// +kubebuilder:validation:MaxItems=256
	Keys []string `json:"keys"`
}
