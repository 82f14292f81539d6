package coverage

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// block is a piece of a file without branches, as profiles have it: "line.column,line.column" and its number of statements.
type block struct {
	at         string
	statements int
}

// profile is how often blocks were executed, by file.
type profile struct {
	// set says that it only tells whether they were.
	set   bool
	files map[string]map[block]uint64
}

// parseProfile reads a profile in the format of go test -coverprofile, which go tool covdata textfmt also writes.
func parseProfile(r io.Reader) (*profile, error) {
	p := &profile{files: make(map[string]map[block]uint64)}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if mode, ok := strings.CutPrefix(line, "mode: "); ok {
			p.set = p.set || mode == "set"
			continue
		}
		if line == "" {
			continue
		}
		file, b, count, err := parseLine(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if p.files[file] == nil {
			p.files[file] = make(map[block]uint64)
		}
		p.files[file][b] += count
	}
	return p, lines.Err()
}

// parseLine reads "file.go:1.2,3.4 5 6".
func parseLine(line string) (file string, b block, count uint64, err error) {
	bad := fmt.Errorf("%q: want FILE:LINE.COLUMN,LINE.COLUMN STATEMENTS COUNT", line)
	colon := strings.LastIndexByte(line, ':')
	if colon < 1 {
		return "", block{}, 0, bad
	}
	fields := strings.Fields(line[colon+1:])
	if len(fields) != 3 || !strings.Contains(fields[0], ",") {
		return "", block{}, 0, bad
	}
	b.at = fields[0]
	var errs [2]error
	b.statements, errs[0] = strconv.Atoi(fields[1])
	count, errs[1] = strconv.ParseUint(fields[2], 10, 64)
	if cmp.Or(errs[0], errs[1]) != nil {
		return "", block{}, 0, bad
	}
	return line[:colon], b, count, nil
}

// readProfile reads a profile from a file.
func readProfile(file string) (*profile, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p, err := parseProfile(f)
	if err != nil {
		return nil, fmt.Errorf("profile %s: %w", file, err)
	}
	return p, nil
}

// add adds the counts of another profile, and returns the files that it left out: those that both have and that are not
// made of the same blocks, since the other profile is of other sources.
func (p *profile) add(other *profile) (differ []string) {
	p.set = p.set || other.set
	for _, file := range slices.Sorted(maps.Keys(other.files)) {
		theirs := other.files[file]
		ours, both := p.files[file]
		if !both {
			p.files[file] = maps.Clone(theirs)
			continue
		}
		if !sameBlocks(ours, theirs) {
			differ = append(differ, file)
			continue
		}
		for b, n := range theirs {
			ours[b] += n
		}
	}
	return differ
}

func sameBlocks(a, b map[block]uint64) bool {
	if len(a) != len(b) {
		return false
	}
	for k := range a {
		if _, ok := b[k]; !ok {
			return false
		}
	}
	return true
}

// write writes the profile, in a fixed order.
func (p *profile) write(file string) error {
	var text strings.Builder
	mode := "atomic"
	if p.set {
		mode = "set"
	}
	fmt.Fprintf(&text, "mode: %s\n", mode)
	for _, name := range slices.Sorted(maps.Keys(p.files)) {
		blocks := slices.SortedFunc(maps.Keys(p.files[name]), func(a, b block) int { return cmp.Compare(a.at, b.at) })
		for _, b := range blocks {
			count := p.files[name][b]
			if p.set {
				count = min(count, 1)
			}
			fmt.Fprintf(&text, "%s:%s %d %d\n", name, b.at, b.statements, count)
		}
	}
	return os.WriteFile(file, []byte(text.String()), 0o644) //nolint:gosec // a report
}

// Share is how much of something was executed.
type Share struct {
	Covered int `json:"covered"` // statements
	Total   int `json:"total"`
}

// Percent is 0 where there is nothing.
func (s Share) Percent() float64 {
	if s.Total == 0 {
		return 0
	}
	return 100 * float64(s.Covered) / float64(s.Total)
}

func (s Share) plus(o Share) Share { return Share{s.Covered + o.Covered, s.Total + o.Total} }

// packages are the shares of a profile by package.
func (p *profile) packages() map[string]Share {
	shares := make(map[string]Share)
	for file, blocks := range p.files {
		var s Share
		for b, n := range blocks {
			s.Total += b.statements
			if n > 0 {
				s.Covered += b.statements
			}
		}
		shares[path.Dir(file)] = shares[path.Dir(file)].plus(s)
	}
	return shares
}

// total is the share of the whole profile.
func (p *profile) total() Share {
	var sum Share
	for _, s := range p.packages() {
		sum = sum.plus(s)
	}
	return sum
}
