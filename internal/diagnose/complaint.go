package diagnose

import (
	"slices"
	"strings"
)

// complaintKind is what a program says that it cannot do with something it depends on.
type complaintKind int

const (
	noComplaint complaintKind = iota
	unresolved                // its name has no address
	unreached                 // there is no answer
	refusesUs                 // it answers and refuses the program's credentials
	exhausted                 // it answers and has no connection left
)

// complaintWords are the wordings of resolvers, of the network, and of servers, per kind. A wording
// decides nothing: the objects that the line names do. The more particular kinds come first.
func complaintWords() []struct {
	kind  complaintKind
	words []string
} {
	return []struct {
		kind  complaintKind
		words []string
	}{
		{exhausted, []string{"too many connections", "too many clients", "connection slots", "max number of clients", "maximum number of connections", "max_connections", "connection limit exceeded"}},
		{refusesUs, []string{"authentication failed", "access denied", "invalid credentials", "incorrect password", "wrong password", "invalid password", "wrongpass", "noauth", "login failed", "401 unauthorized", "403 forbidden", "unauthenticated", "bad credentials", "invalid username", "auth failed", "not authorized", "authentication error", "access_refused"}},
		{unresolved, []string{"no such host", "name or service not known", "could not resolve", "couldn't resolve", "name resolution", "getaddrinfo", "enotfound", "unknownhost", "bad address", "nodename nor servname", "could not translate host", "name does not resolve", "can't resolve", "cannot resolve"}},
		{unreached, []string{"connection refused", "econnrefused", "timed out", "timeout", "no route to host", "deadline exceeded", "connection reset", "econnreset", "unreachable", "unavailable", "not connect", "failed to connect", "can't connect", "connection failed", "connect failed", "connection error", "waiting for", "not ready", "broken pipe", "unexpected eof", "bad gateway", "no available", "failed to dial", "dial tcp"}},
	}
}

func classifyComplaint(line string) complaintKind {
	line = strings.ToLower(line)
	if _, rest, ok := strings.Cut(line, "lookup "); ok {
		for _, w := range []string{":53:", "server misbehaving", ": i/o timeout"} {
			if strings.Contains(rest, w) {
				return unresolved // a resolver that does not get through to its name server
			}
		}
	}
	for _, c := range complaintWords() {
		for _, w := range c.words {
			if strings.Contains(line, w) {
				return c.kind
			}
		}
	}
	return noComplaint
}

// goesOn reports whether a line says itself that the program can do without: what is optional, has a default, or is
// left out is not why it ended.
func goesOn(line string) bool {
	line = strings.ToLower(line)
	for _, w := range []string{"default", "optional", "ignor", "skip", "fall back", "falling back", "fallback", "continu", "going on", "without", "disabl", "not required"} {
		if strings.Contains(line, w) {
			return true
		}
	}
	return false
}

// isMild reports whether a line's level, one of its first words, is below that of an error.
func isMild(line string) bool {
	words := strings.FieldsFunc(strings.ToLower(clip(line)), func(r rune) bool { return r > 127 || !isWordByte(byte(r)) })
	for i, w := range words {
		switch w {
		case "warn", "warning", "info", "debug", "trace", "notice", "wrn", "inf", "dbg":
			return true
		}
		if i == 12 {
			break
		}
	}
	return false
}

// isGrave reports whether a line says that something failed, whatever that is.
func isGrave(line string) bool {
	line = strings.ToLower(line)
	for _, w := range []string{"fatal", "panic", "error", "exception", "critical", "failed", "invalid"} {
		if strings.Contains(line, w) {
			return true
		}
	}
	return false
}

// spoken is a line that a container logged.
type spoken struct {
	text string
	cite cite
}

// lastLines is how many lines before its end are taken as what a program has to say about it.
const lastLines = 12

// tail returns the last lines that a container logged in the run that ended, or in the present one
// when it has not ended, the newest first.
func (q *inquiry) tail(s symptom) []spoken {
	if s.container == nil {
		return nil
	}
	order := []bool{true, false}
	switch s.kind {
	case containerNotReady:
		order = []bool{false, true}
	case callFails:
		order = []bool{false} // an earlier run does not speak for one that is well
	}
	for _, previous := range order {
		if out := q.linesOf(s.object, s.container.name, previous); len(out) > 0 {
			return out
		}
	}
	return nil
}

func (q *inquiry) linesOf(pod *Object, container string, previous bool) []spoken {
	l := q.snap.Log(pod.ref, container, previous)
	if l == nil {
		return nil
	}
	var out []spoken
	for i := len(l.Lines) - 1; i >= 0 && len(out) < lastLines; i-- {
		line := strings.TrimSpace(l.Lines[i])
		if line == "" || isLogExcuse(line) {
			continue
		}
		out = append(out, spoken{line, logLine(l, i)})
	}
	return out
}

// isLogExcuse reports whether a line is the kubelet's, about a log that is gone.
func isLogExcuse(line string) bool {
	return strings.HasPrefix(line, "unable to retrieve container logs") || strings.HasPrefix(line, "failed to try resolving symlinks in path")
}

// complaint is a line in which a program says what it cannot do with one of its dependencies.
type complaint struct {
	spoken
	kind complaintKind
	// named says that the line itself names the dependency; else the lines before it or the lack of any
	// other dependency do.
	named bool
	// overtaken says that the line is a mild one, and that the program last failed for something else.
	overtaken bool
}

// complaintAbout finds what a container last said about a dependency. Lines that complain and name none of
// its dependencies are about the one that was named last before them, else about the only one there is.
func complaintAbout(lines []spoken, d dependency, all []dependency) *complaint {
	for i, line := range lines {
		kind := classifyComplaint(line.text)
		if kind == noComplaint || goesOn(line.text) {
			continue
		}
		overtaken := isMild(line.text) && slices.ContainsFunc(lines[:i], func(l spoken) bool {
			return isGrave(l.text) && !isMild(l.text) && classifyComplaint(l.text) == noComplaint
		})
		if d.namedIn(line.text, all) {
			if slices.ContainsFunc(lines[:i], func(l spoken) bool {
				return d.namedIn(l.text, all) && classifyComplaint(l.text) == noComplaint && !isGrave(l.text)
			}) {
				return nil // it was overcome: the program speaks of the dependency again, and does not complain
			}
			return &complaint{line, kind, true, overtaken}
		}
		if namesAny(line.text, all) || kind == unreached || kind == unresolved {
			continue
		}
		about := false
		for _, before := range lines[i+1:] {
			if namesAny(before.text, all) {
				about = d.namedIn(before.text, all)
				break
			}
		}
		if about || soleService(all) && !anyNamed(lines[i+1:], all) {
			return &complaint{line, kind, false, overtaken}
		}
	}
	return nil
}

func namesAny(line string, all []dependency) bool {
	for _, d := range all {
		if d.namedIn(line, all) {
			return true
		}
	}
	return false
}

func anyNamed(lines []spoken, all []dependency) bool {
	for _, l := range lines {
		if namesAny(l.text, all) {
			return true
		}
	}
	return false
}

// soleService reports whether all dependencies are one Service.
func soleService(all []dependency) bool {
	for _, d := range all {
		if !d.ref.Same(all[0].ref) {
			return false
		}
	}
	return len(all) > 0
}
