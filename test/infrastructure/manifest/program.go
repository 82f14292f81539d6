package manifest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"kubernaut.ai/kubernaut/internal/config"
)

// pathVariables name a program's configuration file in its environment.
var pathVariables = map[string]bool{"CONFIG_PATH": true, "CONFIG_FILE": true}

// runtimeVariables are read by every Go program, whatever its code says.
var runtimeVariables = []string{"GOCOVERDIR", "GODEBUG", "GOGC", "GOMAXPROCS", "GOMEMLIMIT", "GOTRACEBACK", "TZ"}

// loader reads a program's command line, environment and configuration as the program does, and then follows what the
// configuration names. The error is the loader's.
type loader func(r *running, fs *flag.FlagSet) error

// programs are those of our images, by what follows kubernaut- in the image's name.
var programs = map[string]struct {
	load  loader
	reads []string // variables that main reads beside the configuration
}{
	"aianalysis":    {loadAIAnalysis, []string{"POD_NAMESPACE"}},
	"holmesgpt-api": {loadHolmesGPTAPI, nil},
	"datastorage":   {loadDataStorage, nil},
}

// programs checks every container that runs one of our images.
func (c *checker) programs() {
	for _, w := range c.Workloads() {
		for i, container := range w.containers() {
			service, ours := strings.CutPrefix(baseName(container.Image), "kubernaut-")
			p, known := programs[service]
			if !ours || !known {
				continue
			}
			root := filepath.Join(c.dir, w.Kind+"-"+w.Name, fmt.Sprint(i))
			r := &running{checker: c, w: w, c: container, root: root, env: environment(container), asked: map[string]bool{}}
			c.entrypoint(r, service)
			if err := r.lay(); err != nil {
				c.err = fmt.Errorf("static check of %s: %w", w, err)
				return
			}
			r.run(p.load, p.reads)
		}
	}
}

// entrypoint compares what a container starts with what its image has.
func (c *checker) entrypoint(r *running, service string) {
	file := service + ".Dockerfile"
	text, err := fs.ReadFile(c.expect.Dockerfiles, file)
	if err != nil {
		c.add(rowStatic, "add it, or correct the image's name", "%s: %s, from which its image is built, cannot be read: %v", r.w, file, err)
		return
	}
	entry, copied := dockerfile(text)
	switch {
	case len(entry) == 0:
		c.add(rowCrash, `write ENTRYPOINT ["/usr/local/bin/`+service+`"]`, "%s has no ENTRYPOINT in its JSON form: without a shell no other would start", file)
	case !slices.Contains(copied, entry[0]):
		c.add(rowCrash, "copy it, or correct ENTRYPOINT", "%s: its entry point %s is not a file that it copies: %s", file, entry[0], list(copied))
	case len(r.c.Command) > 0 && r.c.Command[0] != entry[0]:
		c.add(rowCrash, "remove command: the image has an entry point", "%s: container %s starts %q, which is not in its image; %s is", r.w, r.c.Name, r.c.Command[0], entry[0])
	case len(r.c.Args) > 0 && (r.c.Args[0] == entry[0] || r.c.Args[0] == path.Base(entry[0])):
		c.add(rowCrash, "leave it out: the entry point is there already", "%s: the args of container %s begin with %q, the program's own name", r.w, r.c.Name, r.c.Args[0])
		r.c.Args = r.c.Args[1:]
	}
}

// dockerfile returns the entry point that a Dockerfile gives in its JSON form, and what its last stage copies.
func dockerfile(text []byte) (entrypoint, copied []string) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		word, rest, _ := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		switch strings.ToUpper(word) {
		case "FROM":
			entrypoint, copied = nil, nil
		case "ENTRYPOINT":
			if json.Unmarshal([]byte(rest), &entrypoint) != nil {
				entrypoint = nil
			}
		case "COPY":
			if fields := strings.Fields(rest); len(fields) > 0 {
				copied = append(copied, fields[len(fields)-1])
			}
		}
	}
	return entrypoint, copied
}

// running is a container of ours as it would run: the volumes that have known contents lie below root.
type running struct {
	*checker
	w     Workload
	c     corev1.Container
	root  string
	env   map[string]string
	asked map[string]bool // variables that the loader asked for
}

// lay writes the ConfigMaps and Secrets that the container mounts. Where they name each other's paths, they name those
// below root.
func (r *running) lay() error {
	for _, m := range r.c.VolumeMounts {
		v, _ := r.w.volume(m.Name)
		var data map[string]string
		var items []corev1.KeyToPath
		switch {
		case v.ConfigMap != nil:
			data, _ = r.data(r.w.Namespace, "ConfigMap", v.ConfigMap.Name)
			items = v.ConfigMap.Items
		case v.Secret != nil:
			data, _ = r.data(r.w.Namespace, "Secret", v.Secret.SecretName)
			items = v.Secret.Items
		}
		for file, text := range project(data, items) {
			at := r.below(path.Join(m.MountPath, file))
			if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
				return err
			}
			if err := os.WriteFile(at, []byte(r.translate(text)), 0o600); err != nil {
				return err
			}
		}
	}
	return nil
}

// project returns the files that a volume has of some data.
func project(data map[string]string, items []corev1.KeyToPath) map[string]string {
	if len(items) == 0 {
		return data
	}
	files := map[string]string{}
	for _, i := range items {
		if text, ok := data[i.Key]; ok {
			files[i.Path] = text
		}
	}
	return files
}

func (r *running) below(file string) string { return filepath.Join(r.root, filepath.FromSlash(file)) }

// translate makes paths below mounts with known contents those of this machine; original undoes it.
func (r *running) translate(text string) string {
	for _, m := range r.c.VolumeMounts {
		if v, _ := r.w.volume(m.Name); v.ConfigMap != nil || v.Secret != nil {
			dir := strings.TrimSuffix(m.MountPath, "/") + "/"
			text = strings.ReplaceAll(text, dir, r.below(dir)+"/")
		}
	}
	return text
}

func (r *running) original(text string) string { return strings.ReplaceAll(text, r.root, "") }

// run hands the container's arguments and environment to the loader and reports what does not fit.
func (r *running) run(load loader, reads []string) {
	if err := load(&running{env: map[string]string{}, asked: r.asked, checker: &checker{}}, flag.NewFlagSet("", flag.ContinueOnError)); err != nil {
		r.err = fmt.Errorf("static check of %s: the built-in configuration does not load: %w", r.w, err)
		return
	}
	known := slices.Concat(runtimeVariables, reads, slices.Collect(maps.Keys(r.asked)))
	slices.Sort(known)
	for _, e := range r.c.Env {
		if !slices.Contains(known, e.Name) {
			r.add(rowStatic, "remove it, or name one that the program reads: "+list(known), "%s: container %s sets %s, which its program does not read", r.w, r.c.Name, e.Name)
		}
	}
	fs := flag.NewFlagSet(r.c.Name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	if !r.configured() {
		return
	}
	if err := load(r, fs); err != nil {
		lines := strings.Split(r.original(err.Error()), "\n")
		r.addLines(rowCrash, "correct what the program says", fmt.Sprintf("%s: the program of container %s would not start: %s", r.w, r.c.Name, lines[0]), lines...)
	}
}

// configured reports whether the file that CONFIG_PATH names is there, and adds a finding when it is not.
func (r *running) configured() bool {
	for _, name := range slices.Sorted(maps.Keys(r.env)) {
		if !pathVariables[name] || r.env[name] == "" {
			continue
		}
		if !r.mounted(name+" of container "+r.c.Name, r.env[name], rowReference) {
			return false
		}
	}
	return true
}

// getenv is the container's environment, for a loader.
func (r *running) getenv(name string) string {
	r.asked[name] = true
	return r.translate(r.env[name])
}

// args are the container's arguments with variables put in, as the kubelet does.
func (r *running) args() []string {
	var args []string
	for _, a := range slices.Concat(r.c.Command[min(1, len(r.c.Command)):], r.c.Args) {
		for name, value := range r.env {
			a = strings.ReplaceAll(a, "$("+name+")", value)
		}
		args = append(args, r.translate(a))
	}
	return args
}

// parse reads the container's arguments as the program does.
func parse[C any](r *running, fs *flag.FlagSet, flags *config.Flags[C]) (C, error) {
	var none C
	if err := fs.Parse(r.args()); err != nil {
		return none, fmt.Errorf("args %q: %w", r.c.Args, err)
	}
	if fs.NArg() > 0 {
		return none, fmt.Errorf("args %q: %q is no flag and would be ignored, with all that follows", r.c.Args, fs.Arg(0))
	}
	return flags.Load(r.getenv)
}
