package recorded_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/observe/recorded"
)

// facts are what a recording is to hold: "Kind namespace/name /pointer" and the value's text; an event's pointer stands
// after "Event Kind namespace/name Reason", a log's lines after "Log namespace/pod/container/run". The text "(none)" is
// for what must not be there.
type facts map[string]string

func check(t *testing.T, rec *recorded.Recording, want facts) {
	t.Helper()
	for place, value := range want {
		got := lookUp(rec, place)
		if value == "(none)" && got == "" {
			continue
		}
		if got != value {
			t.Errorf("%s = %q, want %q", place, got, value)
		}
	}
}

func lookUp(rec *recorded.Recording, place string) string {
	snap := rec.Snapshot
	f := strings.Fields(place)
	split := func(s string) (string, string) {
		ns, name, ok := strings.Cut(s, "/")
		if !ok {
			return "", ns
		}
		return ns, name
	}
	at := func(o *diagnose.Object, pointer string) string {
		v := o.Root()
		for k := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
			k = strings.ReplaceAll(k, "~1", "/")
			if items := v.Items(); len(items) > 0 {
				var i int
				if _, err := fmt.Sscan(k, &i); err == nil && i < len(items) {
					v = items[i]
					continue
				}
				found := false
				for _, it := range items {
					if it.At("name").Str() == k || it.At("type").Str() == k {
						v, found = it, true
					}
				}
				if !found {
					return ""
				}
				continue
			}
			v = v.At(k)
		}
		return v.Text()
	}
	switch f[0] {
	case "Event":
		ns, name := split(f[2])
		for _, e := range snap.EventsOf(incident.Ref{Kind: f[1], Namespace: ns, Name: name}) {
			if e.At("reason").Str() == f[3] {
				return at(e, f[4])
			}
		}
		return ""
	case "Log":
		p := strings.Split(f[1], "/")
		kind := "Pod"
		if p[0] == "" {
			kind = "Node"
		}
		if l := snap.Log(incident.Ref{Kind: kind, Namespace: p[0], Name: p[1]}, p[2], p[3] == "previous"); l != nil {
			return strings.Join(l.Lines, "|")
		}
		return ""
	case "Knows":
		ns, name := split(f[2])
		return map[diagnose.Knowledge]string{diagnose.Unknown: "unknown", diagnose.Present: "present", diagnose.Absent: "absent"}[snap.Knows(incident.Ref{Kind: f[1], Namespace: ns, Name: name})]
	case "Covers":
		ns, name := split(f[2])
		if o := snap.Object(incident.Ref{Kind: f[1], Namespace: ns, Name: name}); o != nil {
			return fmt.Sprint(o.Covers(f[3]))
		}
		return ""
	}
	ns, name := split(f[1])
	o := snap.Object(incident.Ref{Kind: f[0], Namespace: ns, Name: name})
	if o == nil {
		return ""
	}
	return at(o, f[2])
}

func TestForms(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       facts
	}{
		{"a bare table of Pods proves no absence", `
NAME                   READY   STATUS             RESTARTS        AGE
web-7c9d5f4b8-x2k4p    0/1     CrashLoopBackOff   12 (2m30s ago)  41m
db-0                   1/1     Running            0               3d4h
load-data-abcde-x2k4p  1/1     Running            0               3d4h
`, facts{
			"Pod default/web-7c9d5f4b8-x2k4p /status/containerStatuses/0/state/waiting/reason": "CrashLoopBackOff",
			"Pod default/web-7c9d5f4b8-x2k4p /status/containerStatuses/0/restartCount":         "12",
			"Pod default/db-0 /status/phase":                                                   "Running",
			"Pod default/db-0 /status/conditions/Ready/status":                                 "True",
			"Covers Pod default/db-0 /metadata/labels":                                         "false",
			"Covers Pod default/db-0 /spec/nodeName":                                           "false",
			"Knows Pod default/other":                                                          "unknown",
			// The suffix can only be a template's hash; that of the other Pod is none.
			"Pod default/web-7c9d5f4b8-x2k4p /metadata/ownerReferences/0/name":  "web-7c9d5f4b8",
			"ReplicaSet default/web-7c9d5f4b8 /metadata/ownerReferences/0/name": "web",
			"Covers Deployment default/web /spec/replicas":                      "false",
			"Pod default/load-data-abcde-x2k4p /metadata/ownerReferences/0":     "(none)",
		}},
		{"a command in markdown with a prompt, in a quotation", "Hi, see below.\n\n```\nme@host:~$ kubectl -n shop get po,deploy -o wide\nNAME            READY   STATUS    RESTARTS   AGE   IP           NODE     NOMINATED NODE   READINESS GATES\npod/web-abcde   1/1     Running   0          5m    10.1.2.3     node-a   <none>           <none>\n\nNAME                  READY   UP-TO-DATE   AVAILABLE   AGE   CONTAINERS   IMAGES       SELECTOR\ndeployment.apps/web   1/1     1            1           5m    server       nginx:1.27   app=web\n```\n", facts{
			"Pod shop/web-abcde /spec/nodeName":                       "node-a",
			"Deployment shop/web /status/readyReplicas":               "1",
			"Deployment shop/web /spec/selector/matchLabels/app":      "web",
			"Deployment shop/web /spec/template/spec/containers/name": "(none)",
			"Knows Pod shop/none":                                     "absent",
			"Knows Deployment shop/none":                              "absent",
			"Knows Pod other/none":                                    "unknown",
		}},
		{"labels by -L and --show-labels", `
$ kubectl get pods -n shop -L app,pod-template-hash
NAME   READY   STATUS    RESTARTS   AGE   APP   POD-TEMPLATE-HASH
a      1/1     Running   0          5m    web   7c9d5f

$ kubectl get pods -n shop --show-labels | grep b
NAME   READY   STATUS    RESTARTS   AGE   LABELS
b      1/1     Running   0          5m    app=web,tier=front
`, facts{
			"Pod shop/a /metadata/labels/app":               "web",
			"Pod shop/a /metadata/labels/pod-template-hash": "7c9d5f",
			"Covers Pod shop/a /metadata/labels/other":      "false",
			"Pod shop/b /metadata/labels/tier":              "front",
			"Covers Pod shop/b /metadata/labels":            "true",
		}},
		{"a table that lost its blanks, or has tabs", "$ k get pods -n shop\nNAME READY STATUS RESTARTS AGE\na 0/1 ImagePullBackOff 2 (30s ago) 5m\n$ k get svc -n shop\nNAME\tTYPE\tCLUSTER-IP\tEXTERNAL-IP\tPORT(S)\tAGE\tSELECTOR\nweb\tNodePort\t10.0.0.1\t<none>\t80:30080/TCP,443/TCP\t5m\tapp=web\n", facts{
			"Pod shop/a /status/containerStatuses/0/restartCount": "2",
			"Service shop/web /spec/selector/app":                 "web",
			"Service shop/web /spec/ports/0/port":                 "80",
			"Service shop/web /spec/ports/0/nodePort":             "30080",
			"Covers Service shop/web /spec/selector":              "true",
			"Knows Pod shop/b":                                    "absent",
		}},
		{"colours and carriage returns", "$ kubectl get no\r\n\x1b[1mNAME     STATUS                     ROLES           AGE   VERSION\x1b[0m\r\nnode-a   \x1b[31mNotReady,SchedulingDisabled\x1b[0m   control-plane   10d   v1.34.0\r\n", facts{
			"Node node-a /spec/unschedulable":             "true",
			"Node node-a /status/conditions/Ready/status": "False",
			"Covers Node node-a /spec/taints":             "false",
			"Knows Node node-b":                           "absent",
		}},
		{"nothing found, not found, forbidden, unreachable", `
$ kubectl get networkpolicies -n shop
No resources found in shop namespace.
$ kubectl get cm app -n shop
Error from server (NotFound): configmaps "app" not found
$ kubectl get secrets -n shop
Error from server (Forbidden): secrets is forbidden: User "me" cannot list resource "secrets" in API group "" in the namespace "shop"
$ kubectl get pvc -n shop
Unable to connect to the server: dial tcp 10.0.0.1:6443: i/o timeout
`, facts{
			"Knows NetworkPolicy shop/any":         "absent",
			"Knows ConfigMap shop/app":             "absent",
			"Knows ConfigMap shop/other":           "unknown",
			"Knows Secret shop/any":                "unknown",
			"Knows PersistentVolumeClaim shop/any": "unknown",
		}},
		{"events with and without a header", `
$ kubectl get events -n shop --sort-by=.lastTimestamp
LAST SEEN   TYPE      REASON      OBJECT          MESSAGE
2m30s       Warning   BackOff     pod/web-abcde   Back-off restarting failed container server in pod web-abcde_shop(1)
<unknown>   Normal    Scheduled   pod/web-abcde   Successfully assigned shop/web-abcde to node-a

5m (x15 over 101m)   Warning   Unhealthy   pod/web-abcde   Readiness probe failed: HTTP probe failed with statuscode: 503
`, facts{
			"Event Pod shop/web-abcde BackOff /message":         "Back-off restarting failed container server in pod web-abcde_shop(1)",
			"Event Pod shop/web-abcde Unhealthy /count":         "15",
			"Event Pod shop/web-abcde Unhealthy /message":       "Readiness probe failed: HTTP probe failed with statuscode: 503",
			"Event Pod shop/web-abcde Scheduled /type":          "Normal",
			"Event Pod shop/web-abcde Scheduled /lastTimestamp": "(none)",
		}},
		{"logs by command, prefix and previous", `
$ kubectl logs web-1 -n shop -c server --previous
panic: no such table
$ kubectl logs -l app=web -n shop --prefix
[pod/web-1/server] one
[pod/web-2/server] two
$ kubectl logs web-3 -n shop
Defaulted container "server" out of: server, sidecar
hello
$ kubectl logs web-4 -n shop -c server -p
Error from server (BadRequest): previous terminated container "server" in pod "web-4" not found
$ kubectl logs web-5 -n shop -c server
unable to retrieve container logs for containerd://abc
`, facts{
			"Log shop/web-1/server/previous": "panic: no such table",
			"Log shop/web-1/server/current":  "one",
			"Log shop/web-2/server/current":  "two",
			"Log shop/web-3/server/current":  "hello",
			"Log shop/web-4/server/previous": "(none)",
			"Log shop/web-5/server/current":  "(none)",
		}},
		{"a node's services", `
$ ssh node-a sudo systemctl status kubelet
● kubelet.service - kubelet: The Kubernetes Node Agent
     Loaded: loaded (/lib/systemd/system/kubelet.service; enabled)
     Active: inactive (dead) since Fri 2026-11-20 11:40:03 UTC; 20min ago
`, facts{"Log /node-a/kubelet/current": "● kubelet.service - kubelet: The Kubernetes Node Agent|     Loaded: loaded (/lib/systemd/system/kubelet.service; enabled)|     Active: inactive (dead) since Fri 2026-11-20 11:40:03 UTC; 20min ago"}},
		{"consumption, rights and history", `
$ kubectl top pods -n shop
NAME    CPU(cores)   MEMORY(bytes)
web-1   480m         127Mi
$ kubectl top node
NAME     CPU(cores)   CPU(%)   MEMORY(bytes)   MEMORY(%)
node-a   1900m        95%      3200Mi          88%
$ kubectl auth can-i list secrets --as=system:serviceaccount:shop:web -n shop
no
$ kubectl rollout history deploy/web -n shop
deployment.apps/web
REVISION  CHANGE-CAUSE
1         <none>
3         <none>

$ kubectl version
Client Version: v1.34.1
Server Version: v1.34.0
`, facts{
			"PodMetrics shop/web-1 /usage/memory": "127Mi",
			"NodeMetrics node-a /usage/cpu":       "1900m",
			"SubjectAccessReview system:serviceaccount:shop:web.list.secrets.shop /status/allowed": "false",
			"Deployment shop/web /metadata/annotations/deployment.kubernetes.io~1revision":         "3",
		}},
		{"descriptions without commands", `
Name:          data-db-0
Namespace:     shop
StorageClass:  fast
Status:        Pending
Volume:
Labels:        app=db
Annotations:   <none>
Finalizers:    [kubernetes.io/pvc-protection]
Capacity:
Access Modes:
VolumeMode:    Filesystem
Used By:       db-0
Events:
  Type     Reason              Age                  From                         Message
  ----     ------              ----                 ----                         -------
  Warning  ProvisioningFailed  3s (x15 over 3m34s)  persistentvolume-controller  storageclass.storage.k8s.io "fast" not found


Name:            compute
Namespace:       shop
Resource         Used  Hard
--------         ----  ----
pods             4     4
requests.cpu     900m  1

Name:                                                  web
Namespace:                                             shop
Labels:                                                <none>
Annotations:                                           <none>
CreationTimestamp:                                     Fri, 20 Nov 2026 10:00:00 +0000
Reference:                                             Deployment/web
Metrics:                                               ( current / target )
  resource cpu on pods  (as a percentage of request):  <unknown> / 80%
Min replicas:                                          2
Max replicas:                                          5
Deployment pods:                                       2 current / 0 desired
Conditions:
  Type           Status  Reason                   Message
  ----           ------  ------                   -------
  ScalingActive  False   FailedGetResourceMetric  the HPA was unable to compute the replica count: missing request for cpu
Events:          <none>
`, facts{
			"PersistentVolumeClaim shop/data-db-0 /spec/storageClassName":                         "fast",
			"PersistentVolumeClaim shop/data-db-0 /status/phase":                                  "Pending",
			"Event PersistentVolumeClaim shop/data-db-0 ProvisioningFailed /message":              `storageclass.storage.k8s.io "fast" not found`,
			"Event PersistentVolumeClaim shop/data-db-0 ProvisioningFailed /count":                "15",
			"Event PersistentVolumeClaim shop/data-db-0 ProvisioningFailed /source/component":     "persistentvolume-controller",
			"ResourceQuota shop/compute /status/used/requests.cpu":                                "900m",
			"ResourceQuota shop/compute /status/hard/pods":                                        "4",
			"HorizontalPodAutoscaler shop/web /status/conditions/ScalingActive/reason":            "FailedGetResourceMetric",
			"HorizontalPodAutoscaler shop/web /spec/scaleTargetRef/name":                          "web",
			"HorizontalPodAutoscaler shop/web /spec/metrics/0/resource/target/averageUtilization": "80",
		}},
		{"a custom resource", `
Name:         web-tls
Namespace:    shop
Labels:       app=web
Annotations:  <none>
API Version:  cert-manager.io/v1
Kind:         Certificate
Metadata:
  Creation Timestamp:  2026-11-20T10:00:00Z
  Generation:          1
Spec:
  Dns Names:
    web.example.com
  Secret Name:  web-tls
Status:
  Conditions:
    Last Transition Time:  2026-11-20T10:00:00Z
    Message:               Issuing certificate as Secret does not exist
    Reason:                DoesNotExist
    Status:                False
    Type:                  Ready
    Last Transition Time:  2026-11-20T10:00:00Z
    Reason:                DoesNotExist
    Status:                True
    Type:                  Issuing
Events:                    <none>
`, facts{
			"Certificate shop/web-tls /status/conditions/Ready/status":   "False",
			"Certificate shop/web-tls /status/conditions/Issuing/status": "True",
			"Certificate shop/web-tls /spec/dnsNames/0":                  "web.example.com",
			"Certificate shop/web-tls /spec/secretName":                  "web-tls",
		}},
		{"services, ingresses and policies", `
Name:                     web
Namespace:                shop
Labels:                   <none>
Annotations:              <none>
Selector:                 app=web
Type:                     ClusterIP
IP Family Policy:         SingleStack
IP Families:              IPv4
IP:                       10.96.0.10
IPs:                      10.96.0.10
Port:                     http  80/TCP
TargetPort:               8080/TCP
Endpoints:
Session Affinity:         None
Internal Traffic Policy:  Cluster
Events:                   <none>


Name:             web
Labels:           <none>
Namespace:        shop
Address:          10.0.0.5
Ingress Class:    nginx
Default backend:  <default>
TLS:
  web-tls terminates web.example.com
Rules:
  Host             Path  Backends
  ----             ----  --------
  web.example.com
                   /   web:80 (10.1.0.4:8080)
Annotations:       <none>
Events:            <none>


Name:         deny
Namespace:    shop
Created on:   2026-11-20 10:00:00 +0000 UTC
Labels:       <none>
Annotations:  <none>
Spec:
  PodSelector:     app=db
  Allowing ingress traffic:
    To Port: 5432/TCP
    From:
      PodSelector: app=api
  Not affecting egress traffic
  Policy Types: Ingress
`, facts{
			"Service shop/web /spec/ports/0/targetPort":                                  "8080",
			"EndpointSlice shop/web-described /endpoints":                                "[]",
			"Ingress shop/web /spec/rules/0/http/paths/0/backend/service/name":           "web",
			"Ingress shop/web /spec/rules/0/host":                                        "web.example.com",
			"Ingress shop/web /spec/tls/0/secretName":                                    "web-tls",
			"NetworkPolicy shop/deny /spec/ingress/0/from/0/podSelector/matchLabels/app": "api",
			"NetworkPolicy shop/deny /spec/ingress/0/ports/0/port":                       "5432",
			"NetworkPolicy shop/deny /spec/podSelector/matchLabels/app":                  "db",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			rec := readText(t, test.text)
			check(t, rec, test.want)
			if t.Failed() {
				for _, o := range append(rec.Snapshot.Contents().Objects, rec.Snapshot.Contents().Events...) {
					t.Log(dump(o.Tree()))
				}
				t.Logf("left over: %v", rec.Leftover)
			}
		})
	}
}

func TestDirectories(t *testing.T) {
	pod := `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web-1","namespace":"shop","uid":"1","creationTimestamp":"2026-11-20T10:00:00Z","managedFields":[{"manager":"kubectl-edit","operation":"Update","time":"2026-11-20T10:05:00Z"}]},"spec":{"containers":[{"name":"server"}]},"status":{"phase":"Running"}}`
	rec, err := recorded.ReadDir(fstest.MapFS{
		"cluster-dump/shop/pods.json":                                               {Data: []byte(`{"kind":"PodList","apiVersion":"v1","items":[` + strings.Replace(pod, `"kind":"Pod","apiVersion":"v1",`, "", 1) + `]}`)},
		"cluster-dump/shop/services.json":                                           {Data: []byte(`{"kind":"ServiceList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[]}`)},
		"cluster-dump/shop/web-1/logs.txt":                                          {Data: []byte("==== START logs for container server of pod shop/web-1 ====\nhello\n==== END logs for container server of pod shop/web-1 ====\n")},
		"must-gather/namespaces/pay/core/configmaps.yaml":                           {Data: []byte("apiVersion: v1\nkind: ConfigMapList\nitems:\n- apiVersion: v1\n  kind: ConfigMap\n  metadata:\n    name: app\n    namespace: pay\n    uid: x\n  data:\n    a: b\n")},
		"must-gather/namespaces/pay/pods/api-0/api/api/logs/previous.log":           {Data: []byte("2026-11-20T10:09:00.1Z died\n")},
		"must-gather/namespaces/pay/pods/api-0/api-0.yaml":                          {Data: []byte("apiVersion: v1\nkind: Pod\nmetadata:\n  name: api-0\n  namespace: pay\n  uid: y\nspec:\n  containers:\n  - name: api\n")},
		"logs/web-1-server-previous.log":                                            {Data: []byte("gone\n")},
		"var/log/pods/shop_web-1_0a1b2c3d-0000-1111-2222-333344445555/server/0.log": {Data: []byte("line\nline two\n")},
		"picture.png": {Data: []byte{0x89, 'P', 'N', 'G', 0, 1}},
	}, recorded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	check(t, rec, facts{
		"Pod shop/web-1 /status/phase":                     "Running",
		"Pod shop/web-1 /metadata/managedFields/0/manager": "kubectl-edit",
		"Knows Service shop/any":                           "absent",
		"Knows Pod shop/any":                               "absent",
		"Knows ConfigMap pay/any":                          "absent",
		"ConfigMap pay/app /data/a":                        "b",
		"Log pay/api-0/api/previous":                       "2026-11-20T10:09:00.1Z died",
		"Log shop/web-1/server/previous":                   "gone",
		"Log shop/web-1/server/current":                    "line|line two",
	})
	if len(rec.Leftover) != 1 || rec.Leftover[0].File != "picture.png" {
		t.Errorf("left over: %v", rec.Leftover)
	}
	if at := rec.Snapshot.ObservedAt().Format("15:04"); at != "10:09" || !rec.Anchored {
		t.Errorf("collected at %s, want the newest time in it", at)
	}
}

// An object's birth from a description and its age from a table that names no namespace tell the time of the recording.
func TestAgeWithoutNamespace(t *testing.T) {
	rec := readText(t, `NAME                  READY   UP-TO-DATE   AVAILABLE   AGE
deployment.apps/web   1/1     1            1           32m

Name:                   web
Namespace:              shop
CreationTimestamp:      Fri, 20 Nov 2026 10:00:00 +0000
Selector:               app=web
Replicas:               1 desired | 1 updated | 1 total | 1 available | 0 unavailable
StrategyType:           RollingUpdate
Pod Template:
  Labels:  app=web
  Containers:
   server:
    Image:  nginx
`)
	if got := rec.Snapshot.ObservedAt().Format("15:04"); got != "10:32" {
		t.Errorf("collected at %s, want 10:32", got)
	}
}

// Ages beside absolute times tell when the recording was made; what is not understood is listed.
func TestTimesAndLeftovers(t *testing.T) {
	rec := readText(t, `Our shop is down since this morning!

$ kubectl describe pod a -n shop
Name:         a
Namespace:    shop
Node:         node-a/10.0.0.1
Start Time:   Fri, 20 Nov 2026 10:00:00 +0000
Status:       Pending
Containers:
  server:
    Image:  nginx

$ kubectl get node
NAME     STATUS   ROLES    AGE   VERSION
node-a   Ready    <none>   3h    v1.34.0
$ kubectl get node node-a -o yaml
apiVersion: v1
kind: Node
metadata:
  name: node-a
  creationTimestamp: "2026-11-20T09:00:00Z"
`)
	if got := rec.Snapshot.ObservedAt().Format("15:04"); got != "12:00" {
		t.Errorf("collected at %s, want 12:00", got)
	}
	if len(rec.Leftover) != 1 || rec.Leftover[0].From != 1 {
		t.Errorf("left over: %v", rec.Leftover)
	}
	src, ok := rec.SourceOf(incident.Ref{Kind: "Pod", Namespace: "shop", Name: "a"}, "/spec/containers/0/image")
	if !ok || src.Line != 9 || src.Form != recorded.FormDescription || src.File != "ticket.txt" {
		t.Errorf("source = %+v", src)
	}
}
