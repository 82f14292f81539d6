package manifest

import (
	"cmp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

const (
	enforce    = "pod-security.kubernetes.io/enforce"
	restricted = "restricted"
	privileged = "privileged"
)

// podSecurity checks that namespaces enforce the expected level of Pod Security and that their pods would be let in. A
// Deployment whose pods are refused is created without complaint and never becomes available.
func (c *checker) podSecurity() {
	want := cmp.Or(c.expect.PodSecurity, restricted)
	for _, ns := range Of[*corev1.Namespace](c.Set) {
		if got := ns.Labels[enforce]; got != want {
			c.add(rowStatic, "label it "+enforce+"="+want, "Namespace %s enforces Pod Security level %q, want %q", ns.Name, got, want)
		}
	}
	if want == privileged {
		return // which lets everything in
	}
	for _, w := range c.Workloads() {
		if faults := restrictedFaults(w); len(faults) > 0 {
			c.addLines(rowStatic, "give the pod and its containers the security context of the restricted profile",
				w.String()+": the restricted profile of Pod Security would refuse its pods: "+faults[0], faults...)
		}
	}
}

// restrictedFaults returns where a pod template leaves the restricted profile, and where the kubelet could not tell
// that its user is not root.
func restrictedFaults(w Workload) []string {
	spec := w.Template.Spec
	var faults []string
	bad := func(is bool, text ...string) {
		if is {
			faults = append(faults, strings.Join(text, ""))
		}
	}
	bad(spec.HostNetwork || spec.HostPID || spec.HostIPC, "the pod shares a namespace of the host")
	for _, v := range spec.Volumes {
		s := v.VolumeSource
		bad(s.ConfigMap == nil && s.CSI == nil && s.DownwardAPI == nil && s.EmptyDir == nil && s.Ephemeral == nil &&
			s.PersistentVolumeClaim == nil && s.Projected == nil && s.Secret == nil && s.Image == nil, "volume ", v.Name, " is of a kind that is not allowed, hostPath say")
	}
	pod := cmp.Or(spec.SecurityContext, &corev1.PodSecurityContext{})
	bad(len(pod.Sysctls) > 0, "the pod sets sysctls")
	for _, c := range w.containers() {
		sc := cmp.Or(c.SecurityContext, &corev1.SecurityContext{})
		in := "container " + c.Name + ": "
		caps := cmp.Or(sc.Capabilities, &corev1.Capabilities{})
		bad(isTrue(sc.Privileged), in, "privileged")
		bad(sc.AllowPrivilegeEscalation == nil || *sc.AllowPrivilegeEscalation, in, "allowPrivilegeEscalation is not false")
		bad(!slices.Contains(caps.Drop, "ALL"), in, "capabilities.drop lacks ALL")
		bad(slices.ContainsFunc(caps.Add, func(c corev1.Capability) bool { return c != "NET_BIND_SERVICE" }), in, "adds capabilities")
		bad(!isTrue(cmp.Or(sc.RunAsNonRoot, pod.RunAsNonRoot)), in, "runAsNonRoot is not true")
		user := cmp.Or(sc.RunAsUser, pod.RunAsUser)
		bad(user == nil || *user == 0, in, "runAsUser is no number above 0")
		seccomp := cmp.Or(sc.SeccompProfile, pod.SeccompProfile, &corev1.SeccompProfile{})
		bad(seccomp.Type != corev1.SeccompProfileTypeRuntimeDefault && seccomp.Type != corev1.SeccompProfileTypeLocalhost, in, "seccompProfile is neither RuntimeDefault nor Localhost")
		bad(sc.ProcMount != nil && *sc.ProcMount != corev1.DefaultProcMount, in, "procMount is not Default")
		bad(slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.HostPort != 0 }), in, "takes a port of the host")
	}
	return faults
}
