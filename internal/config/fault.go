package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Fault is one thing that is wrong in a configuration.
type Fault struct {
	// File and Line say where the value was written: Line is 0 when the fault is of the file as a
	// whole, and File is empty when the value came from elsewhere.
	File string
	Line int
	// Source names an environment variable or a flag that gave the value, for example
	// "environment variable HOLMESGPT_API_URL". It is empty for values from the file and for
	// built-in values.
	Source string
	// Key is the dotted path of the key, for example "holmesgpt.url"; empty for faults of the file.
	Key string
	// Message says what is wrong and what is allowed.
	Message string
}

// Error returns "file:line: key: message", without the parts that are not known.
func (f Fault) Error() string {
	var b strings.Builder
	switch {
	case f.Source != "":
		b.WriteString(f.Source + ": ")
	case f.File != "" && f.Line > 0:
		fmt.Fprintf(&b, "%s:%d: ", f.File, f.Line)
	case f.File != "":
		b.WriteString(f.File + ": ")
	}
	if f.Key != "" {
		b.WriteString(f.Key + ": ")
	}
	b.WriteString(f.Message)
	return b.String()
}

// Error is everything that is wrong with a configuration: at least one fault, in the order of the
// file, then those that are not in the file.
type Error struct {
	Faults []Fault
}

// Error returns the only fault, or their number and all of them, one a line.
func (e *Error) Error() string {
	if len(e.Faults) == 1 {
		return "configuration: " + e.Faults[0].Error()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "configuration has %d faults:", len(e.Faults))
	for _, f := range e.Faults {
		b.WriteString("\n  " + f.Error())
	}
	return b.String()
}

// origin says where a value came from. The zero origin is a built-in value.
type origin struct {
	line   int
	source string
}

// report collects faults and warnings, and knows where each key's value came from.
type report struct {
	file     string
	origins  map[string]origin
	faults   []Fault
	warnings []string
}

// add records a fault of a key's value, at the place where the value was given.
func (r *report) add(key, format string, args ...any) {
	r.addAt(r.originOf(key), key, format, args...)
}

func (r *report) addAt(at origin, key, format string, args ...any) {
	f := Fault{Key: key, Line: at.line, Source: at.source, Message: fmt.Sprintf(format, args...)}
	if at.line > 0 {
		f.File = r.file
	}
	r.faults = append(r.faults, f)
}

// originOf returns where a key was given; for a key that was not, where its section was.
func (r *report) originOf(key string) origin {
	key, _, _ = strings.Cut(key, "[")
	for {
		if at, ok := r.origins[key]; ok {
			return at
		}
		dot := strings.LastIndexByte(key, '.')
		if dot < 0 {
			return origin{}
		}
		key = key[:dot]
	}
}

func (r *report) given(key string) bool {
	_, ok := r.origins[key]
	return ok
}

func (r *report) warn(key, message string) {
	where := ""
	if at := r.originOf(key); at.source != "" {
		where = at.source + ": "
	} else if at.line > 0 {
		where = fmt.Sprintf("%s:%d: ", r.file, at.line)
	}
	r.warnings = append(r.warnings, where+key+": "+message)
}

// err returns nil, or an *Error of all faults.
func (r *report) err() error {
	if len(r.faults) == 0 {
		return nil
	}
	faults := slices.Clone(r.faults)
	slices.SortStableFunc(faults, func(a, b Fault) int {
		if (a.Line == 0) != (b.Line == 0) {
			return cmp.Compare(b.Line, a.Line)
		}
		return cmp.Compare(a.Line, b.Line)
	})
	return &Error{Faults: faults}
}
