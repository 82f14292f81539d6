package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"regexp"
	"sort"
	"strconv"
	"strings"
)

// Samples are the values of a scrape by series, such as name{a="1",b="2"} with sorted labels.
type Samples map[string]float64

var (
	sampleLine = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? ([^ ]+)(?: \d+)?$`)
	labelPair  = regexp.MustCompile(`([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"`)
)

// Scrape reads a metrics endpoint.
func (s *System) Scrape(ctx context.Context, url string) (Samples, error) {
	a, err := s.Get(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("scrape %s: %w", url, err)
	}
	if a.Status != http.StatusOK {
		return nil, fmt.Errorf("scrape %s: %s", url, a)
	}
	samples, err := parseSamples(a.Body)
	if err != nil {
		return nil, fmt.Errorf("scrape %s: %w", url, err)
	}
	return samples, nil
}

func parseSamples(text []byte) (Samples, error) {
	samples := Samples{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		m := sampleLine.FindStringSubmatch(line)
		if m == nil {
			return nil, fmt.Errorf("line %q is no sample", line)
		}
		value, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			return nil, fmt.Errorf("line %q: %w", line, err)
		}
		var labels []string
		for _, pair := range labelPair.FindAllStringSubmatch(m[2], -1) {
			labels = append(labels, pair[1], pair[2])
		}
		samples[series(m[1], labels)] = value
	}
	return samples, lines.Err()
}

// series is the name of a series; labels are names and values in turns.
func series(name string, labels []string) string {
	pairs := make([]string, 0, len(labels)/2)
	for i := 0; i+1 < len(labels); i += 2 {
		pairs = append(pairs, labels[i]+"="+strconv.Quote(labels[i+1]))
	}
	if len(pairs) == 0 {
		return name
	}
	sort.Strings(pairs)
	return name + "{" + strings.Join(pairs, ",") + "}"
}

// Value returns the value of a series; labels are names and values in turns. ok is false when there
// is none.
func (m Samples) Value(name string, labels ...string) (value float64, ok bool) {
	value, ok = m[series(name, labels)]
	return value, ok
}

// Delta returns by how much a series grew since an earlier scrape; one that was not there was 0.
func (m Samples) Delta(before Samples, name string, labels ...string) float64 {
	now, _ := m.Value(name, labels...)
	then, _ := before.Value(name, labels...)
	return now - then
}

// Names returns the names of all series that begin with a prefix, each once.
func (m Samples) Names(prefix string) map[string]bool {
	names := map[string]bool{}
	for s := range m {
		name, _, _ := strings.Cut(s, "{")
		if strings.HasPrefix(name, prefix) {
			names[name] = true
		}
	}
	return names
}
