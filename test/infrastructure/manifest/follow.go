package manifest

import (
	"flag"
	"fmt"
	"net/url"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"kubernaut.ai/kubernaut/internal/approval"
	"kubernaut.ai/kubernaut/internal/catalog"
	"kubernaut.ai/kubernaut/internal/config"
)

func loadAIAnalysis(r *running, fs *flag.FlagSet) error {
	cfg, err := parse(r, fs, config.BindAIAnalysis(fs))
	if err != nil || r.root == "" {
		return err
	}
	r.warnings(cfg.Warnings)
	r.listens("controller.metrics_addr", cfg.Controller.MetricsAddr)
	r.listens("controller.health_probe_addr", cfg.Controller.HealthProbeAddr)
	r.calls("holmesgpt.url", cfg.HolmesGPT.URL)
	r.calls("datastorage.url", cfg.DataStorage.URL)
	r.writes("audit.dir", cfg.Audit.Dir)
	r.policy("rego.policy_path", cfg.Rego.PolicyPath)
	return nil
}

func loadHolmesGPTAPI(r *running, fs *flag.FlagSet) error {
	cfg, err := parse(r, fs, config.BindHolmesGPTAPI(fs))
	if err != nil || r.root == "" {
		return err
	}
	r.warnings(cfg.Warnings)
	r.listens("server.port", ":"+strconv.Itoa(cfg.Server.Port))
	r.calls("data_storage.url", cfg.DataStorage.URL)
	r.writes("audit.dir", cfg.Audit.Dir)
	r.writes("state.dir", cfg.State.Dir)
	return nil
}

func loadDataStorage(r *running, fs *flag.FlagSet) error {
	cfg, err := parse(r, fs, config.BindDataStorage(fs))
	if err != nil || r.root == "" {
		return err
	}
	r.warnings(cfg.Warnings)
	r.listens("server.port", ":"+strconv.Itoa(cfg.Server.Port))
	if cfg.Catalog.Dir != "" {
		r.workflows("catalog.dir", cfg.Catalog.Dir)
	}
	if cfg.Database.Driver == config.DriverSQLite {
		r.writes("database.path", path.Dir(cfg.Database.Path))
	} else {
		r.calls("database.host", fmt.Sprintf("postgres://%s:%d", cfg.Database.Host, cfg.Database.Port))
	}
	return nil
}

func (r *running) warnings(list []string) {
	if len(list) > 0 {
		r.addLines(rowStatic, "follow what it says", fmt.Sprintf("%s: the configuration that ships has warnings: %s", r.w, list[0]), list...)
	}
}

// listens reports an address that is no port of the container.
func (r *running) listens(key, addr string) {
	port, err := strconv.Atoi(addr[strings.LastIndex(addr, ":")+1:])
	if addr != "0" && (err != nil || !containerHasPort(r.c, intstr.FromInt(port))) {
		r.add(rowStatic, "make them the same", "%s: %s is %q, which is no port of container %s: %s", r.w, key, addr, r.c.Name, list(r.w.portNames()))
	}
}

// calls reports a URL that no Service of the namespace offers.
func (r *running) calls(key, at string) {
	u, err := url.Parse(at)
	if err != nil {
		r.add(rowStatic, "write a URL", "%s: %s: %v", r.w, key, err)
		return
	}
	svc, ok := Named[*corev1.Service](r.known, r.w.Namespace, u.Hostname())
	if !ok || !slices.ContainsFunc(svc.Spec.Ports, func(p corev1.ServicePort) bool { return strconv.Itoa(int(p.Port)) == u.Port() }) {
		r.add(rowStatic, "name a Service of the rendered set and one of its ports", "%s: %s is %s, which no Service of namespace %s offers", r.w, key, at, r.w.Namespace)
	}
}

// writes reports a directory that is on no writable volume: the root file system is read-only.
func (r *running) writes(key, dir string) {
	dir = r.original(dir)
	at, ok := r.w.mountAt(r.c, dir)
	if !ok || at.ReadOnly || at.Volume.ConfigMap != nil || at.Volume.Secret != nil {
		r.add(rowCrash, "mount a volume there, or name a directory that has one", "%s: %s is %s, which is on no writable volume of container %s", r.w, key, dir, r.c.Name)
	}
}

// mounted reports whether a file is in a ConfigMap or Secret that the container mounts, and adds a finding when not.
func (r *running) mounted(key, file, row string) bool {
	at, ok := r.w.mountAt(r.c, file)
	if !ok || at.Volume.ConfigMap == nil && at.Volume.Secret == nil {
		var dirs []string
		for _, m := range r.c.VolumeMounts {
			dirs = append(dirs, m.MountPath)
		}
		r.add(row, "correct the path, or mount the ConfigMap there", "%s: %s is %s, which lies in no ConfigMap that is mounted; volumes are at %s", r.w, key, file, list(dirs))
		return false
	}
	kind, name, items := "ConfigMap", "", []corev1.KeyToPath(nil)
	if v := at.Volume.ConfigMap; v != nil {
		name, items = v.Name, v.Items
	} else {
		kind, name, items = "Secret", at.Volume.Secret.SecretName, at.Volume.Secret.Items
	}
	data, ok := r.data(r.w.Namespace, kind, name)
	if !ok {
		return false // references has said so
	}
	files := project(data, items)
	if _, ok := files[at.Inside]; !ok {
		r.add(row, "correct the path, or add the key: it has "+list(sortedKeys(files)), "%s: %s is %s, and %s %q, which is mounted there, has no key %q", r.w, key, file, kind, name, at.Inside)
		return false
	}
	return true
}

// policy compiles and self-tests the approval policy.
func (r *running) policy(key, at string) {
	file := r.original(at)
	if !r.mounted(key, file, rowCrash) {
		return
	}
	if err := approval.Check(r.below(file)); err != nil {
		lines := strings.Split(r.original(err.Error()), "\n")
		r.addLines(rowCrash, "correct the policy", fmt.Sprintf("%s: the approval policy would be refused: %s", r.w, lines[0]), lines...)
	}
}

// workflows parses every workflow of the catalog.
func (r *running) workflows(key, at string) {
	dir := r.original(at)
	m, ok := r.w.mountAt(r.c, dir)
	if !ok || m.Volume.ConfigMap == nil {
		r.add(rowCrash, "mount the ConfigMap of the catalog there", "%s: %s is %s, which is no mounted ConfigMap", r.w, key, dir)
		return
	}
	if _, ok := r.data(r.w.Namespace, "ConfigMap", m.Volume.ConfigMap.Name); !ok {
		return // references has said so
	}
	loaded, err := catalog.Load(os.DirFS(r.below(dir)))
	if err == nil && len(loaded) == 0 {
		err = fmt.Errorf("ConfigMap %s holds no workflow", m.Volume.ConfigMap.Name)
	}
	if err != nil {
		lines := strings.Split(r.original(err.Error()), "\n")
		r.addLines(rowCrash, "correct the workflow documents", fmt.Sprintf("%s: the workflow catalog does not load: %s", r.w, lines[0]), lines...)
	}
}
