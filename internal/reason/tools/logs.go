package tools

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/reason"
)

// Bounds of a search in a log.
const (
	maxPattern = 200
	maxLines   = 60
)

func logs() (reason.Tool, error) {
	type in struct {
		Pod       string `json:"pod"`
		Namespace string `json:"namespace,omitempty" jsonschema:"default: that of the incident"`
		Container string `json:"container,omitempty" jsonschema:"default: every one whose log was read"`
		Previous  bool   `json:"previous,omitempty" jsonschema:"the run before"`
		Contains  string `json:"contains,omitempty" jsonschema:"only lines with this text"`
		Regex     string `json:"regex,omitempty" jsonschema:"only lines that match (RE2)"`
		Every     bool   `json:"every,omitempty" jsonschema:"each line; default: alike lines once, with their number"`
		Lines     int    `json:"lines,omitempty" jsonschema:"at most so many, the latest; default 20, most 60"`
	}
	return reason.NewTool("logs", "Lines of a container's log.", func(ctx context.Context, v *reason.View, in in) (reason.Output, error) {
		var out reason.Output
		match, err := matcher(in.Contains, in.Regex)
		if err != nil {
			return out, err
		}
		most := min(max(in.Lines, 0), maxLines)
		if most == 0 {
			most = 20
		}
		pod := object{"Pod", in.Namespace, in.Pod}.ref(v)
		pod.APIVersion = "v1"
		found := excerpts(v.Now(), pod, in.Container, in.Previous)
		if len(found) == 0 && in.Container != "" {
			if v.Ask(ctx, reason.Question{Ref: pod, Log: &diagnose.LogNeed{Pod: pod, Container: in.Container, Previous: in.Previous}}) {
				found = excerpts(v.Now(), pod, in.Container, in.Previous)
			}
		}
		if len(found) == 0 {
			out.Note("that log was not read")
			available(v.Now(), pod.Namespace, &out)
			return out, nil
		}
		for _, l := range found {
			show(v.Now(), l, match, in.Every, most, &out)
		}
		return out, nil
	})
}

// matcher returns which lines are asked for.
func matcher(contains, pattern string) (func(string) bool, error) {
	if len(contains) > maxPattern || len(pattern) > maxPattern {
		return nil, incident.Errorf(incident.KindInvalid, "search a log", "a pattern has at most %d bytes", maxPattern)
	}
	if pattern == "" {
		return func(line string) bool { return strings.Contains(line, contains) }, nil
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, incident.Errorf(incident.KindInvalid, "search a log", "regex: %w", err)
	}
	return func(line string) bool { return strings.Contains(line, contains) && re.MatchString(line) }, nil
}

func excerpts(snap *diagnose.Snapshot, pod incident.Ref, container string, previous bool) []*diagnose.Log {
	if container != "" {
		if l := snap.Log(pod, container, previous); l != nil {
			return []*diagnose.Log{l}
		}
		return nil
	}
	var out []*diagnose.Log
	for _, l := range snap.Contents().Logs {
		if l.Pod.Same(pod) && l.Previous == previous {
			out = append(out, snap.Log(pod, l.Container, previous))
		}
	}
	return out
}

func available(snap *diagnose.Snapshot, namespace string, out *reason.Output) {
	for _, l := range snap.Contents().Logs {
		if l.Pod.Namespace != namespace || len(out.Notes) > 10 {
			continue
		}
		run := "current"
		if l.Previous {
			run = "previous"
		}
		out.Note("read was: %s, container %s, %s run", l.Pod, l.Container, run)
	}
}

// show cites the lines that match, alike ones by the latest of them.
func show(snap *diagnose.Snapshot, l *diagnose.Log, match func(string) bool, every bool, most int, out *reason.Output) {
	var groups []*group
	lines := 0
	for i, line := range l.Lines {
		if strings.TrimSpace(line) == "" || !match(line) {
			continue
		}
		lines++
		if every {
			groups = append(groups, &group{line: i, times: 1})
		} else {
			groups = cluster(groups, line, i)
		}
	}
	slices.SortFunc(groups, func(a, b *group) int { return a.line - b.line })
	if n := len(groups) - most; n > 0 {
		groups = groups[n:]
		out.Omitted += n
	}
	for _, g := range groups {
		out.Facts[out.Fact(snap.CiteLine(l, g.line))].Times = g.times
	}
	out.Note("container %s: %d of %d lines match", l.Container, lines, len(l.Lines))
	if l.Truncated {
		out.Note("container %s: earlier lines were not read", l.Container)
	}
}

// group is lines that are alike.
type group struct {
	tokens []string // what they have in common; "" where they differ
	line   int      // the latest
	times  int
}

// alike is the share of words that lines of a group have in common.
const alike = 0.6

// maxGroups bounds how many groups a line is held against.
const maxGroups = 200

// cluster puts a line into the first group that it is like, or into a new one: as many words, and most of
// them the same once what varies by itself is left out.
func cluster(groups []*group, line string, at int) []*group {
	tokens := strings.Fields(template(line))
	for _, g := range groups[max(0, len(groups)-maxGroups):] {
		if len(g.tokens) != len(tokens) {
			continue
		}
		same := 0
		for i, t := range tokens {
			if g.tokens[i] == t {
				same++
			}
		}
		if float64(same) < alike*float64(len(tokens)) {
			continue
		}
		for i, t := range tokens {
			if g.tokens[i] != t {
				g.tokens[i] = ""
			}
		}
		g.line, g.times = at, g.times+1
		return groups
	}
	return append(groups, &group{tokens: tokens, line: at, times: 1})
}

// varying is what differs between lines that say the same: times, addresses, ids, numbers.
var varying = regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.,\d]*(Z|[+-]\d\d:?\d\d)?|[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}|\d{1,3}(\.\d{1,3}){3}(:\d+)?|0x[0-9a-fA-F]+|\b[0-9a-f]{12,}\b|\d+(\.\d+)?`)

func template(line string) string {
	const most = 2000
	if len(line) > most {
		line = line[:most]
	}
	return varying.ReplaceAllString(line, "*")
}
