package diagnose

import (
	"time"

	"kubernaut.ai/kubernaut/internal/incident"
)

// container is one container of a Pod: its spec beside its status.
type container struct {
	name    string
	spec    Value
	status  Value
	init    bool // an init container; sidecars are not counted as such
	sidecar bool // an init container that keeps running
}

// containersOf returns a Pod's containers, init containers first, in the order of the spec.
func containersOf(pod *Object) []container {
	var out []container
	for _, list := range []struct{ spec, status string }{
		{"initContainers", "initContainerStatuses"}, {"containers", "containerStatuses"},
	} {
		statuses := map[string]Value{}
		for _, st := range pod.At("status", list.status).Items() {
			statuses[st.At("name").Str()] = st
		}
		for _, spec := range pod.At("spec", list.spec).Items() {
			c := container{name: spec.At("name").Str(), spec: spec}
			if st, ok := statuses[c.name]; ok {
				c.status = st
			} else {
				c.status = pod.At("status", list.status, c.name) // nowhere, with a path that says so
			}
			if list.spec == "initContainers" {
				c.sidecar = spec.At("restartPolicy").Str() == "Always"
				c.init = !c.sidecar
			}
			out = append(out, c)
		}
	}
	return out
}

// run is one finished run of a container.
type run struct {
	place    Value // …/state/terminated or …/lastState/terminated
	exitCode int64
	reason   string
	started  time.Time
	finished time.Time
}

// lasted is how long the run took; 0 when the times are not recorded. The runtime writes 1970
// when a program could not be started at all.
func (r run) lasted() time.Duration {
	if r.started.Year() < 2000 || r.finished.Before(r.started) {
		return 0
	}
	return r.finished.Sub(r.started)
}

// lost reports whether the runtime lost the container, as when its node was restarted: that says nothing of the program.
func (r run) lost() bool {
	return r.reason == "ContainerStatusUnknown" || r.reason == "Unknown" && r.exitCode == 255
}

func (r run) exists() bool { return r.place.Exists() }

// lastRun returns the most recent run that ended, which may be the current state.
func (c container) lastRun() run {
	for _, at := range []string{"state", "lastState"} {
		t := c.status.At(at, "terminated")
		if t.Exists() {
			return run{
				place: t, exitCode: t.At("exitCode").IntOr(0), reason: t.At("reason").Str(),
				started: t.At("startedAt").Time(), finished: t.At("finishedAt").Time(),
			}
		}
	}
	return run{place: c.status.At("lastState", "terminated")}
}

func (c container) restarts() int64 { return c.status.At("restartCount").IntOr(0) }

func (c container) waiting() (reason string, place Value) {
	w := c.status.At("state", "waiting")
	return w.At("reason").Str(), w
}

// runningSince is when the current run began; zero when it does not run.
func (c container) runningSince() time.Time {
	return c.status.At("state", "running", "startedAt").Time()
}

func (c container) running() bool { return c.status.At("state", "running").Exists() }

func (c container) ready() bool { return c.status.At("ready").Bool() }

// condition returns the condition of the given type, nowhere when the object has none.
func condition(o *Object, kind string) Value {
	conditions := o.At("status", "conditions")
	for _, c := range conditions.Items() {
		if c.At("type").Str() == kind {
			return c
		}
	}
	return conditions.At(kind)
}

// isReady reports whether the Pod counts as an endpoint of its Services.
func isReady(pod *Object) bool {
	return condition(pod, "Ready").At("status").Str() == "True" && !pod.Deleting()
}

// isDone reports whether the Pod has ended for good.
func isDone(pod *Object) bool {
	phase := pod.At("status", "phase").Str()
	return phase == "Succeeded" || phase == "Failed"
}

// workloadOf climbs from an object to the top of its owner chain as far as the snapshot or the
// references go, and returns the chain without the object itself.
func (s *Snapshot) ownersOf(o *Object) []incident.Ref {
	var chain []incident.Ref
	for range 10 { // an owner chain has at most a handful of links; a cycle has no end
		ref, ok := o.Owner()
		if !ok {
			break
		}
		owner := s.resolveOwner(ref)
		if owner == nil {
			chain = append(chain, ref)
			break
		}
		chain = append(chain, owner.ref)
		o = owner
	}
	return chain
}

// resolveOwner finds the object of an owner reference, which may be cluster-scoped.
func (s *Snapshot) resolveOwner(ref incident.Ref) *Object {
	if o := s.Object(ref); o != nil {
		return o
	}
	ref.Namespace = ""
	return s.Object(ref)
}

// workloadKinds are the kinds that run Pods.
var workloadKinds = map[string]bool{
	"Deployment": true, "ReplicaSet": true, "StatefulSet": true, "DaemonSet": true,
	"Job": true, "CronJob": true, "ReplicationController": true,
}

// topWorkload returns the highest built-in workload above an object, or the object itself.
func (s *Snapshot) topWorkload(o *Object) incident.Ref {
	top := o.ref
	for _, r := range s.ownersOf(o) {
		if !workloadKinds[r.Kind] {
			break
		}
		top = r
	}
	return top
}

// podsOf returns the Pods below an object over any number of owners, in the order of their names.
func (s *Snapshot) podsOf(ref incident.Ref) []*Object {
	var out []*Object
	var walk func(ref incident.Ref, depth int)
	walk = func(ref incident.Ref, depth int) {
		for _, child := range s.Children(ref) {
			if child.ref.Kind == "Pod" {
				out = append(out, child)
			} else if depth < 5 {
				walk(child.ref, depth+1)
			}
		}
	}
	walk(ref, 0)
	return out
}

// port is a port that a container declares.
type port struct {
	container string
	name      string
	number    int64
	protocol  string
	place     Value
}

func declaredPorts(spec Value) []port {
	var out []port
	for _, list := range []string{"initContainers", "containers"} {
		for _, c := range spec.At(list).Items() {
			if list == "initContainers" && c.At("restartPolicy").Str() != "Always" {
				continue
			}
			for _, p := range c.At("ports").Items() {
				protocol := p.At("protocol").Str()
				if protocol == "" {
					protocol = "TCP"
				}
				out = append(out, port{c.At("name").Str(), p.At("name").Str(), p.At("containerPort").IntOr(0), protocol, p})
			}
		}
	}
	return out
}
