package recorded

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// hint is what a file's path says about its contents.
type hint struct {
	namespace string
	kinds     []resource
	listing   bool // the file holds all objects of its kinds
	log       bool
	previous  bool
	pod       string
	container string
	words     []string // of the path, for Pods to be found in
	unit      string   // of a node's journal
}

var podLogs = regexp.MustCompile(`(?:^|/)pods/([a-z0-9.-]+)_([a-z0-9.-]+)_[0-9a-f-]{8,}/([a-z0-9-]+)/\d+\.log`)

// hintOf reads a path: those of must-gather, of cluster-info dump, of /var/log/pods, and what people call their files.
func hintOf(file string) *hint {
	h := &hint{}
	lower := strings.ToLower(file)
	dirs := strings.Split(path.Dir(file), "/")
	base := path.Base(lower)
	ext := path.Ext(base)
	stem := strings.TrimSuffix(base, ext)
	for i, d := range dirs {
		if d == "namespaces" && i+1 < len(dirs) {
			h.namespace = dirs[i+1]
			h.inNamespace(dirs[i+2:])
		}
	}
	if m := podLogs.FindStringSubmatch(file); m != nil {
		h.namespace, h.pod, h.container, h.log = m[1], m[2], m[3], true
	}
	tokens := strings.FieldsFunc(stem, func(c rune) bool { return c == '_' || c == '.' || c == ' ' || c == '-' })
	h.previous = slices.Contains(tokens, "previous") || slices.Contains(tokens, "prev")
	described := slices.Contains(tokens, "describe") || slices.Contains(tokens, "described") || slices.Contains(tokens, "desc")
	if ext == ".log" || stem == "logs" || slices.Contains(tokens, "logs") && !described {
		h.log = true
	}
	for _, unit := range []string{"kubelet", "containerd", "crio", "docker"} {
		if slices.Contains(tokens, unit) && (h.log || slices.Contains(tokens, "journal") || slices.Contains(tokens, "systemctl") || slices.Contains(tokens, "status")) {
			h.unit, h.log = unit, false
		}
	}
	h.words = append(slices.Clone(dirs), stem)
	if h.log || h.unit != "" || described {
		return h
	}
	if res, ok := resourceOf(stem); ok && plural(stem) {
		h.kinds, h.listing = []resource{res}, ext == ".json" || ext == ".yaml" || ext == ".yml"
	} else {
		for _, t := range tokens {
			if res, ok := resourceOf(t); ok && len(t) > 2 && t != "app" && t != "apps" {
				h.kinds = append(h.kinds, res)
			}
		}
		if len(h.kinds) != 1 {
			h.kinds = nil
		}
		h.listing = h.listing && len(h.kinds) == 1
	}
	// cluster-info dump: <namespace>/pods.json
	if h.namespace == "" && ext == ".json" && h.listing && len(h.kinds) == 1 && h.kinds[0].namespaced && len(dirs) > 0 && dirs[len(dirs)-1] != "." {
		h.namespace = dirs[len(dirs)-1]
	}
	return h
}

func plural(stem string) bool { return strings.HasSuffix(stem, "s") || stem == "all" }

// inNamespace reads the rest of a must-gather path: core/pods.yaml, pods/<pod>/<container>/<container>/logs/current.log.
func (h *hint) inNamespace(dirs []string) {
	if len(dirs) < 2 || dirs[0] != "pods" {
		return
	}
	h.pod = dirs[1]
	if len(dirs) > 2 {
		h.container = dirs[2]
	}
}
