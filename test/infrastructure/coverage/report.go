package coverage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

// module is that of the repository.
const module = "kubernaut.ai/kubernaut"

// Source is coverage from elsewhere: a directory of counters, as go test -cover ./... -args -test.gocoverdir=DIR fills it, or
// a profile, as go test -coverprofile writes it.
type Source struct {
	Name string
	Path string
}

// Inputs are what a report is made of.
type Inputs struct {
	// Root is the root of the repository, whose sources the counters are of.
	Root string
	// Services are directories of counters by the names of services.
	Services map[string]string
	// Packages are the directories of the services' programs in the module, by the same names.
	Packages map[string]string
	// Others are added to the report.
	Others []Source
	// Out is a directory for the report; it is made.
	Out string
}

// Summary is a report in short.
type Summary struct {
	// Services are the shares of all that each service is built from.
	Services map[string]Share `json:"services"`
	// Sources are the totals by source: "e2e" and the names of the others. All is that of all of them together.
	Sources map[string]Share `json:"sources"`
	All     Share            `json:"all"`
	// Packages are the shares by package, each by source, with "all".
	Packages map[string]map[string]Share `json:"packages"`
	// Differ are the files of each other source that are left out, because it is of other sources than what was tested.
	Differ map[string][]string `json:"differ,omitempty"`
	// HTML, Table and Profile are files.
	HTML    string `json:"html"`
	Table   string `json:"table"`
	Profile string `json:"profile"`
}

const (
	endToEnd = "e2e"
	together = "all"
)

// Report merges counters, and writes coverage.html, coverage.txt (a table by package), coverage.json and the merged profiles
// into in.Out. A service without counters, or whose program's own package has none, is a permanent failure that names
// it.
func Report(ctx context.Context, run command.Runner, in Inputs) (Summary, error) {
	r := &reporter{run: run, in: in}
	s, err := r.report(ctx)
	if err != nil {
		return Summary{}, fmt.Errorf("report coverage: %w", err)
	}
	return s, nil
}

type reporter struct {
	run command.Runner
	in  Inputs
}

func (r *reporter) report(ctx context.Context) (Summary, error) {
	s := Summary{
		Services: make(map[string]Share), Sources: make(map[string]Share), Packages: make(map[string]map[string]Share), Differ: make(map[string][]string),
		HTML: filepath.Join(r.in.Out, "coverage.html"), Table: filepath.Join(r.in.Out, "coverage.txt"), Profile: filepath.Join(r.in.Out, "all.profile"),
	}
	if err := os.MkdirAll(r.in.Out, 0o755); err != nil { //nolint:gosec // a report
		return s, err
	}
	names := slices.Sorted(maps.Keys(r.in.Services))
	if err := r.service(ctx, names, s.Services); err != nil {
		return s, err
	}
	dirs := make([]string, len(names))
	for i, n := range names {
		dirs[i] = r.in.Services[n]
	}
	merged := filepath.Join(r.in.Out, "counters")
	if err := r.merge(ctx, dirs, merged); err != nil {
		return s, err
	}
	all := &profile{files: make(map[string]map[block]uint64)}
	for _, source := range append([]Source{{endToEnd, merged}}, r.in.Others...) {
		p, err := r.profile(ctx, source)
		if err != nil {
			return s, err
		}
		differ := append(r.dropMissing(p), all.add(p)...)
		if len(differ) > 0 {
			slices.Sort(differ)
			s.Differ[source.Name] = differ
		}
		s.Sources[source.Name] = p.total()
		s.put(source.Name, p)
	}
	s.All = all.total()
	s.put(together, all)
	if err := all.write(s.Profile); err != nil {
		return s, err
	}
	if _, err := r.goTool(ctx, "cover", "-html="+s.Profile, "-o", s.HTML); err != nil {
		return s, err
	}
	if err := os.WriteFile(s.Table, []byte(s.table()), 0o644); err != nil { //nolint:gosec // a report
		return s, err
	}
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return s, err
	}
	return s, os.WriteFile(filepath.Join(r.in.Out, "coverage.json"), append(text, '\n'), 0o644) //nolint:gosec // a report
}

// service checks the counters of each service.
func (r *reporter) service(ctx context.Context, names []string, shares map[string]Share) error {
	var lacking []string
	for _, name := range names {
		dir := r.in.Services[name]
		meta, counters, err := count(dir)
		switch {
		case err != nil:
			return err
		case meta == 0:
			lacking = append(lacking, fmt.Sprintf("%s: no covmeta: no process of it was built with counters and started with a directory that it may write to", name))
			continue
		case counters == 0:
			lacking = append(lacking, fmt.Sprintf("%s: covmeta without covcounters: its process did not return from main within the grace period, or was killed", name))
			continue
		}
		p, err := r.profile(ctx, Source{name, dir})
		if err != nil {
			return err
		}
		shares[name] = p.total()
		if own := p.packages()[module+"/"+r.in.Packages[name]]; own.Covered == 0 {
			lacking = append(lacking, fmt.Sprintf("%s: all counters of package %s are zero: these are not of its process", name, r.in.Packages[name]))
		}
	}
	if len(lacking) == 0 && len(names) > 0 {
		return nil
	}
	return failure.New(failure.Permanent, "F42", fmt.Sprintf("%d of %d services have no counters", len(lacking), len(names)),
		"look at how its process ended: it must get SIGTERM as process 1 and return from main before the grace period ends", lacking...)
}

// count counts the files of counters in a directory.
func count(dir string) (meta, counters int, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0, nil
	}
	for _, e := range entries {
		switch {
		case strings.HasPrefix(e.Name(), "covmeta."):
			meta++
		case strings.HasPrefix(e.Name(), "covcounters."):
			counters++
		}
	}
	return meta, counters, err
}

// merge merges directories of counters into one, which is made anew.
func (r *reporter) merge(ctx context.Context, dirs []string, into string) error {
	if err := os.RemoveAll(into); err != nil {
		return err
	}
	if err := os.MkdirAll(into, 0o755); err != nil { //nolint:gosec // a report
		return err
	}
	_, err := r.goTool(ctx, "covdata", "merge", "-i="+strings.Join(dirs, ","), "-o="+into)
	return err
}

// profile reads a source, and keeps its profile in the report's directory.
func (r *reporter) profile(ctx context.Context, s Source) (*profile, error) {
	info, err := os.Stat(s.Path)
	if err != nil {
		return nil, fmt.Errorf("coverage of %s: %w", s.Name, err)
	}
	file := s.Path
	if info.IsDir() {
		file = filepath.Join(r.in.Out, s.Name+".profile")
		if _, err := r.goTool(ctx, "covdata", "textfmt", "-i="+s.Path, "-o="+file); err != nil {
			return nil, err
		}
	}
	p, err := readProfile(file)
	if err != nil {
		return nil, fmt.Errorf("coverage of %s: %w", s.Name, err)
	}
	maps.DeleteFunc(p.files, func(name string, _ map[block]uint64) bool {
		return !strings.HasPrefix(name, module+"/") || strings.HasPrefix(name, module+"/test/") // tools of the tests are not what is tested
	})
	return p, nil
}

// dropMissing removes the files from a profile that the repository does not have any more, and returns them.
func (r *reporter) dropMissing(p *profile) (missing []string) {
	for name := range p.files {
		if _, err := os.Stat(filepath.Join(r.in.Root, filepath.FromSlash(strings.TrimPrefix(name, module)))); err != nil {
			missing = append(missing, name)
			delete(p.files, name)
		}
	}
	return missing
}

func (r *reporter) goTool(ctx context.Context, args ...string) ([]byte, error) {
	return r.run.Run(ctx, command.Cmd{Name: "go", Args: append([]string{"tool"}, args...), Dir: r.in.Root, Deadline: 5 * time.Minute, Quiet: true})
}

// put adds the packages of a source.
func (s *Summary) put(source string, p *profile) {
	for pkg, share := range p.packages() {
		if s.Packages[pkg] == nil {
			s.Packages[pkg] = make(map[string]Share)
		}
		s.Packages[pkg][source] = share
	}
}

// table is the report for people: a line for each package, a column for each source.
func (s *Summary) table() string {
	columns := []string{endToEnd}
	for _, name := range slices.Sorted(maps.Keys(s.Sources)) {
		if name != endToEnd {
			columns = append(columns, name)
		}
	}
	columns = append(columns, together)
	packages := slices.Sorted(maps.Keys(s.Packages))
	width := len("package")
	for _, p := range packages {
		width = max(width, len(strings.TrimPrefix(p, module+"/")))
	}
	var b strings.Builder
	line := func(first string, cell func(column string) string) {
		fmt.Fprintf(&b, "%-*s", width, first)
		for _, c := range columns {
			fmt.Fprintf(&b, "  %*s", max(len(c), len("100.0%")), cell(c))
		}
		b.WriteByte('\n')
	}
	percent := func(share Share, ok bool) string {
		if !ok {
			return "-"
		}
		return fmt.Sprintf("%.1f%%", share.Percent())
	}
	line("package", func(c string) string { return c })
	for _, p := range packages {
		line(strings.TrimPrefix(p, module+"/"), func(c string) string {
			share, ok := s.Packages[p][c]
			return percent(share, ok)
		})
	}
	line("total", func(c string) string {
		if c == together {
			return percent(s.All, true)
		}
		share, ok := s.Sources[c]
		return percent(share, ok)
	})
	return b.String()
}

// String says it in one line.
func (s *Summary) String() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(s.Services)) {
		parts = append(parts, fmt.Sprintf("%s %.1f%%", name, s.Services[name].Percent()))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Sources)) {
		parts = append(parts, fmt.Sprintf("%s %.1f%%", name, s.Sources[name].Percent()))
	}
	return fmt.Sprintf("%s; together %.1f%% of %d statements", strings.Join(parts, ", "), s.All.Percent(), s.All.Total)
}
