package manifest

import (
	"slices"
	"strings"
	"testing"
)

// TestPlantedFaults takes what ships, puts one fault in, and wants that one found, and no other.
func TestPlantedFaults(t *testing.T) {
	const (
		controller = "base/aianalysis/deployment.yaml"
		storage    = "base/datastorage/deployment.yaml"
	)
	type want struct{ row, summary, fix string }
	for _, row := range []struct {
		name  string
		plant func(t *testing.T, p *plant)
		want  []want
	}{
		// Those that cost the predecessor a day.
		{
			"historical: prefix of the image's name twice",
			func(_ *testing.T, p *plant) {
				p.images["localhost/kubernaut-aianalysis"] = "localhost/localhost/kubernaut-aianalysis:" + key
			},
			[]want{{rowImage, "Deployment aianalysis-controller: container aianalysis runs localhost/localhost/kubernaut-aianalysis:" + key + ": the prefix localhost/ is there twice", "localhost/kubernaut-aianalysis:" + key}},
		},
		{
			"historical: ConfigMap is not there",
			func(t *testing.T, p *plant) {
				p.replace(t, "base/aianalysis/kustomization.yaml", "- name: aianalysis-config", "- name: aianalysis-configuration")
			},
			[]want{{rowReference, `Deployment aianalysis-controller: ConfigMap "aianalysis-config" is neither in the rendered set nor provided`, "aianalysis-configuration"}},
		},
		{
			"historical: configuration path",
			func(t *testing.T, p *plant) {
				p.replace(t, controller, "/etc/aianalysis/config/config.yaml", "/etc/aianalysis/config.yaml")
			},
			[]want{{rowReference, "CONFIG_PATH of container aianalysis is /etc/aianalysis/config.yaml, which lies in no ConfigMap that is mounted", "mount"}},
		},
		{
			"historical: node port is not mapped",
			func(_ *testing.T, p *plant) { delete(p.HostPorts, 8088) },
			[]want{{rowStatic, "Service holmesgpt-api, port http has node port 30088, which the cluster maps to no port of the host", "30081, 30084, 30184, 30284"}},
		},
		{
			"historical: tag is not the one that is loaded",
			func(_ *testing.T, p *plant) {
				p.images["localhost/kubernaut-holmesgpt-api"] = "localhost/kubernaut-holmesgpt-api:e2e"
			},
			[]want{{rowImage, "container holmesgpt-api runs localhost/kubernaut-holmesgpt-api:e2e, which will not be loaded", "localhost/kubernaut-holmesgpt-api:" + key}},
		},
		{
			"historical: policy path in the environment",
			func(t *testing.T, p *plant) {
				p.replace(t, controller, "- {name: GOMEMLIMIT", "- {name: REGO_POLICY_PATH, value: /etc/kubernaut/policies/approval.rego}\n        - {name: GOMEMLIMIT")
			},
			[]want{{rowCrash, "rego.policy_path is /etc/kubernaut/policies/approval.rego, which lies in no ConfigMap that is mounted; volumes are at /etc/aianalysis/config, /etc/aianalysis/policies, ", "correct the path"}},
		},
		{
			"historical: broken policy",
			func(t *testing.T, p *plant) {
				p.replace(t, "policies/approval.rego", "package aianalysis.approval", "package aianalysis.approval\n\nx := [")
			},
			[]want{{rowCrash, "the approval policy would be refused: policy /etc/aianalysis/policies/approval.rego:", "correct the policy"}},
		},
		{
			"historical: args that the entry point does not take",
			func(t *testing.T, p *plant) { p.replace(t, controller, `["-config"`, `["--", "-config"`) },
			[]want{{rowCrash, `"-config" is no flag and would be ignored`, "correct"}},
		},

		// Images.
		{
			"name without a registry",
			func(_ *testing.T, p *plant) {
				p.images["localhost/kubernaut-aianalysis"] = "kubernaut-aianalysis:" + key
			},
			[]want{{rowQualified, `runs "kubernaut-aianalysis:` + key + `", which does not say which registry`, "localhost/kubernaut-aianalysis:" + key}},
		},
		{
			"latest",
			func(_ *testing.T, p *plant) {
				p.images["localhost/kubernaut-aianalysis"] = "localhost/kubernaut-aianalysis:latest"
			},
			[]want{{rowImage, "kubernaut-aianalysis:latest: what latest is", "localhost/kubernaut-aianalysis:" + key}},
		},
		{
			"loaded and not run",
			func(_ *testing.T, p *plant) { p.Images = append(p.Images, "localhost/kubernaut-proxy:"+key) },
			[]want{{rowImage, "image localhost/kubernaut-proxy:" + key + " will be loaded and no pod", "run it"}},
		},
		{
			"pull policy",
			func(t *testing.T, p *plant) { p.replace(t, controller, "IfNotPresent", "Always") },
			[]want{{rowImage, `pull policy "Always"`, "IfNotPresent"}},
		},

		// References.
		{
			"key of a ConfigMap",
			func(t *testing.T, p *plant) {
				p.replace(t, storage, "configMap: {name: workflow-catalog}", "configMap: {name: workflow-catalog, items: [{key: scale-up.yaml, path: scale-up.yaml}, {key: none.yaml, path: none.yaml}]}")
			},
			[]want{{rowReference, `ConfigMap "workflow-catalog" has no key "none.yaml"`, "scale-up.yaml"}},
		},
		{
			"key of a provided Secret",
			func(t *testing.T, p *plant) {
				p.postgres()
				p.replace(t, "overlays/postgres/postgres.yaml", "key: password}", "key: postgres-password}")
			},
			[]want{{rowReference, `StatefulSet postgres: Secret "datastorage-secret" has no key "postgres-password"`, "password, secrets.yaml"}},
		},
		{
			"Secret that nobody provides",
			func(_ *testing.T, p *plant) { p.postgres(); p.Provided = nil },
			[]want{
				{rowReference, `Deployment datastorage: Secret "datastorage-secret"`, "add it"},
				{rowReference, `StatefulSet postgres: Secret "datastorage-secret"`, "add it"},
				{rowCrash, "Deployment datastorage: the program of container datastorage would not start: ", "correct"},
			},
		},
		{
			"claim", func(t *testing.T, p *plant) { p.replace(t, storage, "claimName: datastorage-data", "claimName: data") },
			[]want{{rowReference, `Deployment datastorage: PersistentVolumeClaim "data"`, "datastorage-data"}},
		},
		{
			"ServiceAccount",
			func(t *testing.T, p *plant) {
				p.replace(t, storage, "serviceAccountName: datastorage", "serviceAccountName: store")
			},
			[]want{{rowReference, `Deployment datastorage: ServiceAccount "store"`, "holmesgpt-api"}},
		},
		{
			"volume of a mount",
			func(t *testing.T, p *plant) {
				p.replace(t, controller, "- {name: spool, mountPath", "- {name: spol, mountPath")
			},
			[]want{
				{rowReference, `mounts volume "spol" at /var/lib/aianalysis, which the pod does not have`, "correct"},
				{rowCrash, "audit.dir is /var/lib/aianalysis/audit, which is on no writable volume", "mount"},
			},
		},
		{
			"role of a binding",
			func(t *testing.T, p *plant) {
				p.replace(t, "base/node-leases.yaml", "kind: Role\n  name: holmesgpt-api-node-leases", "kind: Role\n  name: leases")
			},
			[]want{{rowReference, `RoleBinding holmesgpt-api-node-leases: Role "leases"`, "roleRef"}},
		},
		{
			"order",
			func(t *testing.T, p *plant) {
				p.replace(t, "overlays/e2e/kustomization.yaml", "patches:", "sortOptions: {order: fifo}\npatches:")
			},
			[]want{{rowReference, "7 objects come after what needs them: ConfigMap aianalysis-config comes after Deployment aianalysis-controller", "sortOptions"}},
		},
		{
			"namespace",
			func(t *testing.T, p *plant) {
				p.replace(t, "overlays/e2e/networkpolicy.yaml", "namespace: kubernaut-system", "namespace: kubernaut")
			},
			[]want{
				{rowReference, `NetworkPolicy allow-nodeports: namespace "kubernaut" is not in the rendered set`, "Namespace"},
				{rowStatic, "NetworkPolicy allow-nodeports selects app in (aianalysis-controller,datastorage,holmesgpt-api), which no", "labels"},
			},
		},

		// Ports and labels.
		{
			"node port that the cluster does not map",
			func(t *testing.T, p *plant) {
				p.replace(t, "overlays/e2e/holmesgpt-api-service.yaml", "30088", "30089")
			},
			[]want{
				{rowStatic, "node port 30089, which the cluster maps to no port", "30088"},
				{rowStatic, "host port 8088 leads to node port 30088, which no Service has", "mapping"},
			},
		},
		{
			"node port twice",
			func(t *testing.T, p *plant) {
				delete(p.HostPorts, 8088)
				p.replace(t, "overlays/e2e/holmesgpt-api-service.yaml", "30088", "30081")
			},
			[]want{{rowStatic, "Service holmesgpt-api, port http has node port 30081, which Service datastorage, port http has too", "its own"}},
		},
		{
			"port of a probe",
			func(t *testing.T, p *plant) {
				p.replace(t, controller, "httpGet: {path: /readyz, port: health}", "httpGet: {path: /readyz, port: http}")
			},
			[]want{{rowStatic, "the readiness probe of container aianalysis asks port http", "9090 metrics, 8081 health"}},
		},
		{
			"no readiness probe",
			func(t *testing.T, p *plant) {
				p.replace(t, controller, "        readinessProbe:\n          httpGet: {path: /readyz, port: health}\n          periodSeconds: 5\n          timeoutSeconds: 3\n", "")
			},
			[]want{{rowStatic, "Deployment aianalysis-controller has no readiness probe", "readinessProbe"}},
		},
		{
			"port that the configuration listens on",
			func(t *testing.T, p *plant) { p.replace(t, "base/datastorage/config.yaml", "port: 8080", "port: 8081") },
			[]want{{rowStatic, `server.port is ":8081", which is no port of container datastorage`, "same"}},
		},
		{
			"target port of a Service",
			func(t *testing.T, p *plant) {
				p.replace(t, "base/datastorage/service.yaml", "targetPort: http", "targetPort: web")
			},
			[]want{{rowStatic, "Service datastorage: target port web of port 8080", "8080 http"}},
		},
		{
			"labels of a template",
			func(t *testing.T, p *plant) {
				p.replace(t, storage, "matchLabels: {app: datastorage}", "matchLabels: {app: storage}")
			},
			[]want{{rowStatic, "Deployment datastorage: its selector app=storage does not match", "labels"}},
		},
		{
			"labels that a Service selects",
			func(t *testing.T, p *plant) {
				p.replace(t, "base/datastorage/service.yaml", "selector: {app: datastorage}", "selector: {app: storage}")
			},
			[]want{{rowStatic, "Service datastorage selects app=storage, which no", "labels"}},
		},

		// Programs.
		{
			"flag", func(t *testing.T, p *plant) { p.replace(t, storage, `"-config"`, `"-conf"`) },
			[]want{{rowCrash, "flag provided but not defined: -conf", "correct"}},
		},
		{
			"variable that the program does not read",
			func(t *testing.T, p *plant) {
				p.replace(t, storage, "- {name: GOMEMLIMIT", "- {name: LOG_LEVEL, value: debug}\n        - {name: GOMEMLIMIT")
			},
			[]want{{rowStatic, "container datastorage sets LOG_LEVEL, which its program does not read", "CONFIG_PATH"}},
		},
		{
			"key of a configuration",
			func(t *testing.T, p *plant) {
				p.replace(t, "base/aianalysis/config.yaml", "policy_path:", "policypath:")
			},
			[]want{{rowCrash, "would not start: configuration: /etc/aianalysis/config/config.yaml:14: rego.policypath", "correct"}},
		},
		{
			"URL that no Service offers",
			func(t *testing.T, p *plant) {
				p.replace(t, "base/holmesgpt-api/config.yaml", "http://datastorage:8080", "http://data-storage:8080")
			},
			[]want{{rowStatic, "data_storage.url is http://data-storage:8080, which no Service", "Service"}},
		},
		{
			"directory that is read-only",
			func(t *testing.T, p *plant) {
				p.replace(t, "base/datastorage/config.yaml", "path: /var/lib/datastorage/", "path: /data/")
			},
			[]want{{rowCrash, "database.path is /data, which is on no writable volume", "mount"}},
		},
		{
			"workflow",
			func(t *testing.T, p *plant) {
				p.replace(t, "catalog/scale-up.yaml", "kind: RemediationWorkflow", "kind: Workflow")
			},
			[]want{{rowCrash, "the workflow catalog does not load: ", "documents"}},
		},
		{
			"entry point",
			func(t *testing.T, p *plant) {
				edit(t, p.docker, "datastorage.Dockerfile", `ENTRYPOINT ["/usr/local/bin/datastorage"]`, `ENTRYPOINT ["/datastorage"]`)
			},
			[]want{{rowCrash, "its entry point /datastorage is not a file that it copies", "copy"}},
		},
		{
			"entry point for a shell",
			func(t *testing.T, p *plant) {
				edit(t, p.docker, "datastorage.Dockerfile", `ENTRYPOINT ["/usr/local/bin/datastorage"]`, `ENTRYPOINT /usr/local/bin/datastorage`)
			},
			[]want{{rowCrash, "datastorage.Dockerfile has no ENTRYPOINT in its JSON form", "ENTRYPOINT"}},
		},
		{
			"command",
			func(t *testing.T, p *plant) {
				p.replace(t, storage, "args: [", "command: [/bin/datastorage]\n        args: [")
			},
			[]want{{rowCrash, `container datastorage starts "/bin/datastorage", which is not in its image`, "remove"}},
		},
		{
			"program's name among its args",
			func(t *testing.T, p *plant) { p.replace(t, storage, "args: [", "args: [datastorage, ") },
			[]want{{rowCrash, `the args of container datastorage begin with "datastorage", the program's own name`, "leave"}},
		},

		// Pod Security.
		{
			"pod that the restricted profile refuses",
			func(t *testing.T, p *plant) {
				p.replace(t, controller, "capabilities: {drop: [ALL]}", "privileged: true")
			},
			[]want{{rowStatic, "the restricted profile of Pod Security would refuse its pods: container aianalysis: privileged", "security context"}},
		},
		{
			"volume of the host",
			func(t *testing.T, p *plant) {
				p.replace(t, controller, "persistentVolumeClaim: {claimName: aianalysis-spool}", "hostPath: {path: /tmp}")
			},
			[]want{{rowStatic, "volume spool is of a kind that is not allowed", "security context"}},
		},
		{
			"namespace without a profile",
			func(t *testing.T, p *plant) {
				p.replace(t, "base/namespace.yaml", "enforce: restricted", "enforce: baseline")
			},
			[]want{{rowStatic, `enforces Pod Security level "baseline", want "restricted"`, "label"}},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := shipped(t)
			row.plant(t, p)
			got := p.check(t)
			if len(got) != len(row.want) {
				t.Errorf("got %d findings, want %d", len(got), len(row.want))
			}
			for i, f := range got {
				if i >= len(row.want) || f.Row != row.want[i].row || !strings.Contains(f.Summary, row.want[i].summary) || !strings.Contains(f.Fix, row.want[i].fix) {
					t.Errorf("finding %d: got %s %q, fix %q, lines %q", i, f.Row, f.Summary, f.Fix, f.Lines)
				}
			}
			for _, f := range got {
				text := f.Summary + f.Fix + strings.Join(f.Lines, "\n")
				if slices.ContainsFunc([]string{"/tmp/", "kubernaut-static-"}, func(s string) bool { return strings.Contains(text, s) && row.name != "volume of the host" }) {
					t.Errorf("the finding shows a path of the check's own: %s", text)
				}
			}
		})
	}
}
