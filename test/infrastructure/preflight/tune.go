package preflight

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"kubernaut.ai/kubernaut/test/infrastructure/engine"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

// Values that are enough for any cluster of this harness, and that Kind's page of known issues recommends.
const (
	enoughInstances = 512
	enoughWatches   = 524288
)

// modules is a directory that Kind mounts into every node.
const modules = "/lib/modules"

// tune raises what is too low on this machine, if it may, and corrects the reading. Only settings that a check would
// stop for are changed.
func tune(o Options, place *engine.Place) (v verdict) {
	if !place.Here {
		return v
	}
	allowed := ""
	switch {
	case o.Getenv("E2E_TUNE_HOST") == "1":
		allowed = "E2E_TUNE_HOST=1"
	case o.Getenv("CI") == "true":
		allowed = "CI=true"
	}
	v.add(tuneModules(filepath.Join("/", o.Root, modules), allowed, *place))
	if allowed == "" {
		return v
	}
	settings := []struct {
		file   string
		enough int
		check  func() verdict
	}{
		{maxInstances, enoughInstances, func() verdict { return checkInstances(o.Nodes, nodeUser(o.User, o.Engine.Info(), *place), *place) }},
		{maxWatches, enoughWatches, func() verdict { return checkWatches(o.Nodes, *place) }},
	}
	for _, s := range settings {
		now, ok := number(place.Files[s.file])
		if !ok || now >= s.enough || len(s.check().findings) == 0 {
			continue
		}
		value := strconv.Itoa(s.enough)
		if err := os.WriteFile(filepath.Join("/", o.Root, s.file), []byte(value), 0o600); err != nil {
			v.note("%s asks for it, but %s cannot be raised: %v", allowed, s.file, err)
			continue
		}
		place.Files[s.file] = value
		v.note("raised %s from %d to %s, because %s", s.file, now, value, allowed)
	}
	return v
}

// tuneModules is about the directory of kernel modules, which a machine without modules lacks.
func tuneModules(dir, allowed string, place engine.Place) (v verdict) {
	if _, err := os.Stat(dir); err == nil {
		return v
	}
	if allowed != "" {
		if err := os.MkdirAll(dir, 0o755); err == nil { //nolint:gosec // as every system has it
			v.note("made %s, which Kind mounts, because %s", modules, allowed)
			return v
		}
	}
	v.stop(failure.Finding{
		Class: failure.Host, Summary: fmt.Sprintf("Kind mounts %s into every node, and it does not exist", modules), Fix: asRoot(place, "mkdir -p "+modules),
	})
	return v
}
