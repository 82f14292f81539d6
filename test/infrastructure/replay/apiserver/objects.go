package apiserver

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"
)

// selected reports whether an object passes the selectors of a query.
func selected(r *http.Request, o object) bool {
	meta, _ := o["metadata"].(object)
	if text := r.URL.Query().Get("fieldSelector"); text != "" {
		selector, err := fields.ParseSelector(text)
		if err != nil {
			return false
		}
		name, _ := meta["name"].(string)
		namespace, _ := meta["namespace"].(string)
		if !selector.Matches(fields.Set{"metadata.name": name, "metadata.namespace": namespace}) {
			return false
		}
	}
	selector, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil {
		return false
	}
	set := labels.Set{}
	have, _ := meta["labels"].(object)
	for k, v := range have {
		set[k] = fmt.Sprint(v)
	}
	return selector.Matches(set)
}

// members are the objects of a collection; the caller holds the lock.
func (s *Server) members(r *http.Request, p path) []object {
	items := []object{}
	for _, at := range slices.Sorted(maps.Keys(s.objects)) {
		if p.holds(at) && selected(r, s.objects[at]) {
			items = append(items, s.objects[at])
		}
	}
	return items
}

func (s *Server) list(w http.ResponseWriter, r *http.Request, res resource, p path) {
	s.mu.Lock()
	items, serial := s.members(r, p), s.serial
	s.mu.Unlock()
	reply(w, object{"kind": res.kind + "List", "apiVersion": res.apiVersion(), "metadata": object{"resourceVersion": strconv.Itoa(serial)}, "items": items})
}

// watch streams what happens to a collection, if asked after what there is.
func (s *Server) watch(w http.ResponseWriter, r *http.Request, res resource, p path) {
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	send := func(kind string, o object) bool {
		if enc.Encode(object{"type": kind, "object": o}) != nil {
			return false
		}
		w.(http.Flusher).Flush()
		return true
	}
	s.mu.Lock()
	at := len(s.events)
	if since, err := strconv.Atoi(r.URL.Query().Get("resourceVersion")); err == nil && since > 0 {
		at = slices.IndexFunc(s.events, func(e event) bool { return e.serial > since })
		if at < 0 {
			at = len(s.events)
		}
	}
	var items []object
	initial := r.URL.Query().Get("sendInitialEvents") == "true"
	if initial {
		items, at = s.members(r, p), len(s.events)
	}
	serial := s.serial
	s.mu.Unlock()
	for _, o := range items {
		if !send("ADDED", o) {
			return
		}
	}
	if initial {
		mark := object{"kind": res.kind, "apiVersion": res.apiVersion(), "metadata": object{
			"resourceVersion": strconv.Itoa(serial), "annotations": object{"k8s.io/initial-events-end": "true"},
		}}
		if !send("BOOKMARK", mark) {
			return
		}
	}
	w.(http.Flusher).Flush()
	for {
		s.mu.Lock()
		fresh, changed := s.events[at:], s.changed
		at = len(s.events)
		s.mu.Unlock()
		for _, e := range fresh {
			if p.holds(e.path) && selected(r, e.object) && !send(e.kind, e.object) {
				return
			}
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		case <-s.closing:
			return
		}
	}
}

// change keeps what is applied, created or patched.
func (s *Server) change(w http.ResponseWriter, r *http.Request, p path, status int) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	var o object
	if err := yaml.Unmarshal(body, &o); err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	o = clone(o)
	if p.name == "" {
		p.name, _ = o["metadata"].(object)["name"].(string)
	}
	s.mu.Lock()
	old, there := s.objects[p.object()]
	s.mu.Unlock()
	if strings.Contains(r.Header.Get("Content-Type"), "merge-patch") || p.sub == "scale" {
		if !there {
			refuse(w, http.StatusNotFound, p.plural+" not found")
			return
		}
		merged := clone(old)
		merge(merged, o)
		o = merged
	} else if there && o["status"] == nil {
		o["status"] = old["status"]
	}
	meta := o["metadata"].(object)
	if p.namespace != "" {
		meta["namespace"] = p.namespace
	}
	if p.plural == "customresourcedefinitions" {
		o["status"] = object{"conditions": []any{object{"type": "Established", "status": "True"}}}
	}
	if p.plural == "persistentvolumeclaims" {
		s.provision(p, o)
	}
	o = s.put(p.object(), o)
	if p.plural == "deployments" {
		s.rollOut(p, o)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(o)
}

func merge(into, patch object) {
	for k, v := range patch {
		inner, ok := v.(object)
		have, both := into[k].(object)
		if ok && both {
			merge(have, inner)
		} else {
			into[k] = v
		}
	}
}

// provision gives a claim a volume, which is a directory of a node.
func (s *Server) provision(p path, claim object) {
	spec, _ := claim["spec"].(object)
	spec["volumeName"] = "volume-of-" + p.name
	s.put("/api/v1/persistentvolumes/volume-of-"+p.name, object{
		"apiVersion": "v1", "kind": "PersistentVolume", "metadata": object{"name": "volume-of-" + p.name},
		"spec": object{"hostPath": object{"path": "/var/replayed/" + p.name}},
	})
}

// heal makes pods well that somebody looks at again.
func (s *Server) heal() {
	s.mu.Lock()
	s.looks++
	again := s.looks > 1
	s.mu.Unlock()
	for name, pod := range s.pods {
		if !again || !pod.Heals {
			continue
		}
		*pod = Pod{}
		s.mu.Lock()
		var at path
		var deployment object
		for key, o := range s.objects {
			if _, found, ok := find(key); ok && found.plural == "deployments" && found.name == name {
				at, deployment = found, o
			}
		}
		s.mu.Unlock()
		s.rollOut(at, deployment)
	}
}

// rollOut is the controllers and the kubelet: a Deployment gets its pods.
func (s *Server) rollOut(p path, deployment object) {
	name := p.name
	spec, _ := deployment["spec"].(object)
	replicas := 1
	if n, ok := spec["replicas"].(float64); ok {
		replicas = int(n)
	}
	pod := s.pods[name]
	if pod == nil {
		pod = &Pod{}
	}
	revision := object{"deployment.kubernetes.io/revision": "1"}
	deployment = clone(deployment)
	meta := deployment["metadata"].(object)
	meta["annotations"] = revision
	available := replicas
	if pod.Reason != "" || pod.Event != "" {
		available = 0
	}
	deployment["status"] = object{
		"observedGeneration": 1, "replicas": replicas, "updatedReplicas": replicas, "readyReplicas": available, "availableReplicas": available,
	}
	deployment = s.put(p.object(), deployment)
	set := s.put(p.prefix+"/namespaces/"+p.namespace+"/replicasets/"+name+"-1", object{
		"apiVersion": "apps/v1", "kind": "ReplicaSet", "spec": object{"selector": spec["selector"]},
		"metadata": object{"name": name + "-1", "namespace": p.namespace, "annotations": revision, "ownerReferences": []any{owner(deployment, "apps/v1", "Deployment")}},
	})
	at := "/api/v1/namespaces/" + p.namespace + "/pods/" + name + "-1-a"
	if replicas == 0 {
		s.remove(at)
		return
	}
	template, _ := spec["template"].(object)
	podMeta, _ := clone(template)["metadata"].(object)
	if podMeta == nil {
		podMeta = object{}
	}
	podMeta["name"], podMeta["namespace"], podMeta["ownerReferences"] = name+"-1-a", p.namespace, []any{owner(set, "apps/v1", "ReplicaSet")}
	podSpec, _ := clone(template)["spec"].(object)
	podSpec["nodeName"] = s.nodes[len(s.nodes)-1]
	created := s.put(at, object{"apiVersion": "v1", "kind": "Pod", "metadata": podMeta, "spec": podSpec, "status": podStatus(podSpec, pod)})
	if pod.Event != "" {
		s.put("/api/v1/namespaces/"+p.namespace+"/events/"+name+"-1-a.1", object{
			"apiVersion": "v1", "kind": "Event", "metadata": object{"name": name + "-1-a.1", "namespace": p.namespace}, "type": "Warning",
			"reason": pod.EventReason, "message": pod.Event, "count": 3,
			"involvedObject": object{"kind": "Pod", "namespace": p.namespace, "name": name + "-1-a", "uid": created["metadata"].(object)["uid"]},
		})
	}
}

func owner(o object, apiVersion, kind string) object {
	meta := o["metadata"].(object)
	return object{"apiVersion": apiVersion, "kind": kind, "name": meta["name"], "uid": meta["uid"], "controller": true}
}

func podStatus(spec object, pod *Pod) object {
	containers, _ := spec["containers"].([]any)
	first, _ := containers[0].(object)
	image := first["image"]
	if pod.Image != "" {
		image = pod.Image
	}
	state := object{"running": object{}}
	phase, ready := "Running", "True"
	if pod.Reason != "" {
		state, ready = object{"waiting": object{"reason": pod.Reason, "message": pod.Message}}, "False"
	}
	if pod.Event != "" {
		phase, ready = "Pending", "False"
	}
	status := object{"name": first["name"], "image": image, "imageID": "", "ready": ready == "True", "restartCount": pod.Restarts, "state": state}
	if pod.ExitCode != 0 {
		status["lastState"] = object{"terminated": object{"exitCode": pod.ExitCode, "reason": pod.Ended}}
	}
	return object{
		"phase": phase, "containerStatuses": []any{status},
		"conditions": []any{object{"type": "Ready", "status": ready}, object{"type": "PodScheduled", "status": "True"}},
	}
}
