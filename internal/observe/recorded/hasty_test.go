package recorded_test

import (
	"testing"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
)

// What people paste in a hurry is enough where it carries the cause.
func TestHastyPastes(t *testing.T) {
	for _, row := range []struct{ name, text, class, target string }{
		{"a table, a description, a log and Services", `$ kubectl get pods -n checkout
NAME                        READY   STATUS             RESTARTS        AGE
api-6c9f7d9b8c-4zq2k        0/1     CrashLoopBackOff   7 (2m31s ago)   14m
api-6c9f7d9b8c-9x8lp        0/1     CrashLoopBackOff   7 (2m10s ago)   14m
redis-0                     1/1     Running            0               12d
$ kubectl describe pod api-6c9f7d9b8c-4zq2k -n checkout
Name:             api-6c9f7d9b8c-4zq2k
Namespace:        checkout
Priority:         0
Service Account:  default
Node:             ip-10-0-3-7/10.0.3.7
Start Time:       Tue, 03 Mar 2026 10:00:00 +0000
Labels:           app=api
                  pod-template-hash=6c9f7d9b8c
Status:           Running
IP:               10.244.1.7
Controlled By:  ReplicaSet/api-6c9f7d9b8c
Containers:
  api:
    Container ID:   containerd://abc
    Image:          registry.example.com/api:2.4.1
    Port:           8080/TCP
    State:          Waiting
      Reason:       CrashLoopBackOff
    Last State:     Terminated
      Reason:       Error
      Exit Code:    1
      Started:      Tue, 03 Mar 2026 10:11:00 +0000
      Finished:     Tue, 03 Mar 2026 10:11:02 +0000
    Ready:          False
    Restart Count:  7
    Environment:
      REDIS_URL:  redis://redis-master:6379
    Mounts:
      /var/run/secrets/kubernetes.io/serviceaccount from kube-api-access-x (ro)
Conditions:
  Type              Status
  Initialized       True
  Ready             False
  ContainersReady   False
  PodScheduled      True
Events:
  Type     Reason     Age                  From               Message
  ----     ------     ----                 ----               -------
  Normal   Scheduled  14m                  default-scheduler  Successfully assigned checkout/api-6c9f7d9b8c-4zq2k to ip-10-0-3-7
  Warning  BackOff    2m (x40 over 13m)    kubelet            Back-off restarting failed container api in pod api-6c9f7d9b8c-4zq2k_checkout(u)
$ kubectl logs api-6c9f7d9b8c-4zq2k -n checkout
starting api 2.4.1
FATAL: cannot connect to redis: dial tcp: lookup redis-master on 10.96.0.10:53: no such host
$ kubectl get svc -n checkout
NAME    TYPE        CLUSTER-IP    EXTERNAL-IP   PORT(S)    AGE
redis   ClusterIP   10.96.33.7    <none>        6379/TCP   12d
api     ClusterIP   10.96.33.9    <none>        80/TCP     12d
`, "env-wrong", "Deployment checkout/api"},
		{"a table and an event", `NAME                        READY   STATUS             RESTARTS        AGE
api-6c9f7d9b8c-4zq2k        0/1     ImagePullBackOff   0               14m
api-6c9f7d9b8c-9x8lp        0/1     ErrImagePull       0               14m
api-5d8b7c6f9d-abcde        1/1     Running            0               12d

LAST SEEN   TYPE      REASON    OBJECT                          MESSAGE
2m          Warning   Failed    pod/api-6c9f7d9b8c-4zq2k        Failed to pull image "registry.example.com/api:2.5.0": rpc error: code = NotFound desc = failed to pull and unpack image "registry.example.com/api:2.5.0": failed to resolve reference "registry.example.com/api:2.5.0": registry.example.com/api:2.5.0: not found
`, "image-not-found", "Deployment default/api"},
		{"a table and the end of a description", `NAME                             READY   STATUS    RESTARTS   AGE
payments-7d4b9c8f6b-hkx2p        0/1     Pending   0          22m
payments-7d4b9c8f6b-w8zqn        1/1     Running   0          3d

Events:
  Type     Reason            Age                 From               Message
  ----     ------            ----                ----               -------
  Warning  FailedScheduling  2m (x5 over 22m)    default-scheduler  0/3 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, 2 Insufficient memory. preemption: 0/3 nodes are available: 1 Preemption is not helpful for scheduling, 2 No preemption victims found for incoming pod.
`, "insufficient-resources", "Deployment default/payments"},
		{"the kubelet's word about a Secret", `NAME                         READY   STATUS                       RESTARTS   AGE
billing-6d5f7c8b9f-qv4xz     0/1     CreateContainerConfigError   0          6m

Events:
  Type     Reason     Age                  From               Message
  ----     ------     ----                 ----               -------
  Normal   Scheduled  6m                   default-scheduler  Successfully assigned prod/billing-6d5f7c8b9f-qv4xz to n1
  Warning  Failed     30s (x25 over 6m)    kubelet            Error: secret "billing-db" not found
`, "secret-missing", "Deployment default/billing"},
		{"tables of nodes and Pods", `kubectl get nodes
NAME      STATUS     ROLES           AGE   VERSION
cp-0      Ready      control-plane   90d   v1.31.4
worker-1  NotReady   <none>          90d   v1.31.4
worker-2  Ready      <none>          90d   v1.31.4

kubectl get pods -A | grep -v Running
NAMESPACE   NAME                      READY   STATUS        RESTARTS   AGE
web         front-6f7d8c9b5d-2xk4p    1/1     Terminating   0          2d
web         front-6f7d8c9b5d-m9wzt    0/1     Pending       0          3m
`, "node-not-ready", "Node worker-1"},
	} {
		t.Run(row.name, func(t *testing.T) {
			rec := readText(t, row.text)
			r := diagnose.Run(rec.Snapshot, incident.Incident{Resource: diagnose.WholeCluster})
			if r.Cause == nil || string(r.Cause.Class) != row.class || r.Cause.Target.String() != row.target {
				t.Fatalf("got %s, %+v, want %s of %s", r.Summary, r.Cause, row.class, row.target)
			}
			if err := diagnose.Verify(rec.Snapshot, r.Evidence); err != nil {
				t.Error(err)
			}
			if len(rec.Leftover) > 0 {
				t.Errorf("left over: %v", rec.Leftover)
			}
		})
	}
}

// Events that name no object are nobody's when several Pods may be meant.
func TestLooseEventsOfSeveral(t *testing.T) {
	rec := readText(t, `NAME   READY   STATUS    RESTARTS   AGE
web-0  0/1     Pending   0          2m
db-0   0/1     Pending   0          2m

Events:
  Type     Reason            Age  From               Message
  ----     ------            ---  ----               -------
  Warning  FailedScheduling  2m   default-scheduler  0/1 nodes are available: 1 Insufficient cpu.
`)
	if n := len(rec.Snapshot.Contents().Events); n != 0 || len(rec.Leftover) != 1 {
		t.Errorf("%d events, left over %v, want none, and that said", n, rec.Leftover)
	}
}
