package recorded

import (
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
	for w := range strings.FieldsSeq(b.command) {
		if !strings.HasPrefix(w, "-") || w == "-p" {
			words = append(words, w)
		}
	}
	return words, len(words) > 1 && words[1] == "logs"
}

// file is how an engineer names the file that the output goes into, in a directory for each namespace.
func (b block) file(n int) string {
	words, log := b.words()
	if file, ok := logFile(b.command); ok && log {
		return file
	}
	dir := ""
	if ns := flagValue(strings.Fields(b.command), "-n"); ns != "" {
		dir = "namespaces/" + ns + "/"
		words = slices.DeleteFunc(words, func(w string) bool { return w == ns })
	}
	words = slices.DeleteFunc(words, func(w string) bool { return w == "wide" || w == "yaml" })
	name := strings.NewReplacer("/", "-", ",", "-", "=", "-").Replace(strings.Join(words[1:], "-"))
	return fmt.Sprintf("%s%02d-%s.txt", dir, n, name)
}

// flagValue is the word after a flag.
func flagValue(fields []string, flag string) string {
	if i := slices.Index(fields, flag); i >= 0 && i+1 < len(fields) {
		return fields[i+1]
	}
	return ""
}

// logFile names the file of a log for what the command asks: kubectl logs POD -c CONTAINER -n NAMESPACE [--previous]. It is
// false for a command that does not say so much.
func logFile(command string) (string, bool) {
	fields := strings.Fields(command)
	ns, container := flagValue(fields, "-n"), flagValue(fields, "-c")
	if ns == "" || container == "" || strings.HasPrefix(fields[2], "-") {
		return "", false
	}
	kind := "current"
	if slices.Contains(fields, "--previous") {
		kind = "previous"
	}
	return fmt.Sprintf("namespaces/%s/pods/%s/%s/%s/logs/%s.log", ns, fields[2], container, container, kind), true
}

// FileMark is how a line begins that names the file of the YAML that follows.
const FileMark = "# file: "

// files are the objects and the logs, as files.
func (c *Case) files(expired bool) fstest.MapFS {
	files := fstest.MapFS{}
	for part := range strings.SplitSeq("\n"+string(c.objects), "\n"+FileMark) {
		name, text, ok := strings.Cut(part, "\n")
		if !ok || expired && strings.HasSuffix(name, "/events.yaml") {
			continue
		}
		files[name] = &fstest.MapFile{Data: []byte(text)}
	}
	for _, b := range c.blocks() {
		if _, log := b.words(); log {
			if file, ok := logFile(b.command); ok {
				files[file] = &fstest.MapFile{Data: []byte(b.output)}
			}
		}
	}
	return files
}
