package nodeimage

import (
	"bufio"
	"bytes"
	"io/fs"
	"slices"
	"strings"
)

// aptMirror returns where this machine's apt gets the packages of a suite from, else those of any suite of Debian's main
// archive, else nothing. fsys is apt's configuration directory.
func aptMirror(fsys fs.FS, suite string) (string, error) {
	files := []string{"sources.list"}
	for _, pattern := range []string{"sources.list.d/*.list", "sources.list.d/*.sources"} {
		found, err := fs.Glob(fsys, pattern)
		if err != nil {
			return "", err
		}
		files = append(files, found...)
	}
	var other string
	for _, name := range files {
		content, err := fs.ReadFile(fsys, name)
		if err != nil {
			continue // not there, or not for us
		}
		parse := oneLineSources
		if strings.HasSuffix(name, ".sources") {
			parse = deb822Sources
		}
		for _, s := range parse(content) {
			switch {
			case !slices.Contains(s.components, "main"):
			case slices.Contains(s.suites, suite):
				return s.uri, nil
			case other == "" && strings.HasSuffix(strings.TrimSuffix(s.uri, "/"), "/debian"):
				other = s.uri
			}
		}
	}
	return other, nil
}

type aptSource struct {
	uri                string
	suites, components []string
}

// oneLineSources reads lines such as "deb [signed-by=…] URI SUITE COMPONENT…".
func oneLineSources(content []byte) []aptSource {
	var found []aptSource
	for line := range strings.Lines(string(content)) {
		line, _, _ = strings.Cut(line, "#")
		if before, rest, ok := strings.Cut(line, "["); ok {
			if _, after, ok := strings.Cut(rest, "]"); ok {
				line = before + after
			}
		}
		if f := strings.Fields(line); len(f) >= 4 && f[0] == "deb" {
			found = append(found, aptSource{uri: f[1], suites: f[2:3], components: f[3:]})
		}
	}
	return found
}

// deb822Sources reads paragraphs of fields.
func deb822Sources(content []byte) []aptSource {
	var found []aptSource
	fields := make(map[string][]string)
	flush := func() {
		disabled := slices.Contains(fields["enabled"], "no")
		if slices.Contains(fields["types"], "deb") && len(fields["uris"]) > 0 && !disabled {
			found = append(found, aptSource{uri: fields["uris"][0], suites: fields["suites"], components: fields["components"]})
		}
		clear(fields)
	}
	var last string
	for sc := bufio.NewScanner(bytes.NewReader(content)); sc.Scan(); {
		line := sc.Text()
		name, value, ok := strings.Cut(line, ":")
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.TrimSpace(line) == "":
			flush()
		case strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t"):
			fields[last] = append(fields[last], strings.Fields(line)...)
		case ok:
			last = strings.ToLower(name)
			fields[last] = strings.Fields(value)
		}
	}
	flush()
	return found
}
