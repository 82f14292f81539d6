package preflight

import (
	_ "embed"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"

	"kubernaut.ai/kubernaut/test/infrastructure/engine"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

//go:embed matrix.yaml
var matrixYAML []byte

// badCombination is an entry of matrix.yaml.
type badCombination struct {
	ID          string `json:"id"`
	Row         string `json:"row"`
	Program     string `json:"program"`
	Engine      string `json:"engine"`
	Kind        string `json:"kind"`
	RuntimeName string `json:"runtimeName"`
	Runtime     string `json:"runtime"`
	Cgroup      int    `json:"cgroup"`
	Node        string `json:"node"`
	NodeImage   string `json:"nodeImage"`
	Stop        bool   `json:"stop"`
	Why         string `json:"why"`
	Fix         string `json:"fix"`
	Source      string `json:"source"`
}

// parts are what is put together on this host.
type parts struct {
	program     string
	engine      string
	kind        string
	runtimeName string
	runtimePath string
	runtime     string
	cgroup      int
	nodeImage   string
	node        string // version of Kubernetes
}

// known returns the entries of the matrix. A test reads it, so that it cannot be malformed here.
func known() []badCombination {
	entries, err := parseMatrix(matrixYAML)
	if err != nil {
		panic(err)
	}
	return entries
}

func parseMatrix(content []byte) ([]badCombination, error) {
	var entries []badCombination
	if err := yaml.UnmarshalStrict(content, &entries); err != nil {
		return nil, fmt.Errorf("matrix of known bad combinations: %w", err)
	}
	for _, e := range entries {
		if e.ID == "" || e.Why == "" || e.Fix == "" || e.Source == "" {
			return nil, fmt.Errorf("matrix of known bad combinations: entry %q: id, why, fix and source must be given", e.ID)
		}
		for _, c := range []string{e.Engine, e.Kind, e.Runtime, e.Node} {
			if _, _, err := comparison(c); err != nil {
				return nil, fmt.Errorf("matrix of known bad combinations: entry %s: %w", e.ID, err)
			}
		}
		if _, err := regexp.Compile(e.NodeImage); err != nil {
			return nil, fmt.Errorf("matrix of known bad combinations: entry %s: %w", e.ID, err)
		}
	}
	return entries, nil
}

func combination(o Options, r readings, info engine.Info) parts {
	p := parts{
		program: string(o.Engine.Kind()), engine: info.Version, kind: r.kind,
		runtimeName: info.Runtime.Name, runtimePath: info.Runtime.Path, runtime: info.Runtime.Version,
		cgroup: info.CgroupVersion, nodeImage: o.NodeImage,
	}
	if tag := regexp.MustCompile(`:v(\d+\.\d+\.\d+)`).FindStringSubmatch(o.NodeImage); tag != nil {
		p.node = tag[1]
	}
	return p
}

// checkMatrix compares what is put together here with what is known not to work together.
func checkMatrix(entries []badCombination, p parts) (v verdict) {
	line := fmt.Sprintf("%s %s, %s %s (%s), cgroup v%d, Kind %s", p.program, p.engine, orUnknown(p.runtimeName), orUnknown(p.runtime), orUnknown(p.runtimePath), p.cgroup, p.kind)
	if p.nodeImage != "" {
		line += ", node image " + p.nodeImage
	}
	v.note("versions: %s", line)
	for _, e := range entries {
		if !e.fits(p) {
			continue
		}
		if !e.Stop {
			v.note("known trouble (%s): %s; %s", e.ID, e.Why, e.Fix)
			continue
		}
		v.stop(failure.Finding{Row: e.Row, Class: failure.Host, Summary: e.Why, Fix: e.Fix, Lines: []string{line, "seen in " + e.Source}})
	}
	return v
}

func (e badCombination) fits(p parts) bool {
	return (e.Program == "" || e.Program == p.program) &&
		(e.RuntimeName == "" || e.RuntimeName == p.runtimeName) &&
		(e.Cgroup == 0 || e.Cgroup == p.cgroup) &&
		(e.NodeImage == "" || p.nodeImage != "" && regexp.MustCompile(e.NodeImage).MatchString(p.nodeImage)) &&
		satisfies(p.engine, e.Engine) && satisfies(p.kind, e.Kind) && satisfies(p.runtime, e.Runtime) && satisfies(p.node, e.Node)
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

// comparison splits a condition into its operator and the version.
func comparison(condition string) (operator string, version []int, err error) {
	if condition == "" {
		return "", nil, nil
	}
	for _, operator := range []string{"<=", ">=", "<", ">", "="} {
		if rest, ok := strings.CutPrefix(condition, operator); ok {
			if version = numbers(rest); version == nil {
				break
			}
			return operator, version, nil
		}
	}
	return "", nil, fmt.Errorf("%q is no comparison with a version, such as <1.2.3", condition)
}

// satisfies reports whether a version meets a condition. An empty condition is met; a version that is not known meets no other.
func satisfies(version, condition string) bool {
	operator, want, err := comparison(condition)
	if err != nil || operator == "" {
		return err == nil
	}
	have := numbers(version)
	if have == nil {
		return false
	}
	c := 0
	for i := 0; i < max(len(have), len(want)) && c == 0; i++ {
		c = at(have, i) - at(want, i)
	}
	switch operator {
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	case ">=":
		return c >= 0
	}
	return c == 0
}

func at(version []int, i int) int {
	if i < len(version) {
		return version[i]
	}
	return 0
}

// numbers reads a version; what follows its numbers (a pre-release, a distribution's suffix) does not count. Nil if it has none.
func numbers(version string) []int {
	version = strings.TrimPrefix(strings.TrimSpace(version), "v")
	if end := strings.IndexFunc(version, func(r rune) bool { return r != '.' && (r < '0' || r > '9') }); end >= 0 {
		version = version[:end]
	}
	var all []int
	for part := range strings.SplitSeq(strings.Trim(version, "."), ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			return nil
		}
		all = append(all, n)
	}
	return all
}
