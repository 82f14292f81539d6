package recorded

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing/fstest"
)

// block is the output of one command.
type block struct{ command, output string }

// blocks are those of the text.
func (c *Case) blocks() []block {
	var out []block
	for line := range strings.Lines(string(c.text)) {
		if command, ok := strings.CutPrefix(line, commandStart); ok {
			out = append(out, block{command: strings.TrimSpace(command)})
			continue
		}
		if len(out) > 0 {
			out[len(out)-1].output += line
		}
	}
	return out
}

// words are those of the command that are no flags, and log tells whether it is one of logs.
func (b block) words() (words []string, log bool) {
	for _, w := range strings.Fields(b.command) {
		if !strings.HasPrefix(w, "-") || w == "-p" {
			words = append(words, w)
		}
	}
	return words, len(words) > 1 && words[1] == "logs"
}

// file is how an engineer names the file that the output goes into.
func (b block) file(n int) string {
	words, log := b.words()
	if log {
		return logFile(b.command)
	}
	name := strings.NewReplacer("/", "-", ",", "-", "=", "-").Replace(strings.Join(words[1:], "-"))
	return fmt.Sprintf("%02d-%s.txt", n, name)
}

// logFile names the file of a log for what the command asks: kubectl logs POD -c CONTAINER -n NAMESPACE [--previous].
func logFile(command string) string {
	fields := strings.Fields(command)
	value := func(flag string) string {
		if i := slices.Index(fields, flag); i >= 0 && i+1 < len(fields) {
			return fields[i+1]
		}
		return ""
	}
	kind := "current"
	if slices.Contains(fields, "--previous") {
		kind = "previous"
	}
	return fmt.Sprintf("namespaces/%s/pods/%s/%s/%s/logs/%s.log", value("-n"), fields[2], value("-c"), value("-c"), kind)
}

// files are the objects and the logs, as files.
func (c *Case) files(expired bool) fstest.MapFS {
	objects := c.objects
	if expired {
		var kept [][]byte
		for _, d := range bytes.Split(objects, []byte("\n---\n")) {
			if !bytes.Contains(d, []byte("\nkind: Event\n")) {
				kept = append(kept, d)
			}
		}
		objects = bytes.Join(kept, []byte("\n---\n"))
	}
	files := fstest.MapFS{"objects.yaml": &fstest.MapFile{Data: objects}}
	for _, b := range c.blocks() {
		if _, log := b.words(); log {
			files[logFile(b.command)] = &fstest.MapFile{Data: []byte(b.output)}
		}
	}
	return files
}
