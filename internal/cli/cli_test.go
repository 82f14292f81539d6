package cli

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares text with testdata/name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; go test -update rewrites it):\n%s", file, diff)
	}
}

// run executes a command line with an environment of its own.
func run(t *testing.T, env map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = Run(t.Context(), append([]string{"kubernaut"}, args...), Streams{In: strings.NewReader(""), Out: &out, Err: &err}, func(name string) string { return env[name] })
	return code, out.String(), err.String()
}

// emptyHome is an environment in which there is no cluster and nothing runs.
func emptyHome(t *testing.T) map[string]string {
	dir := t.TempDir()
	t.Setenv("HOME", dir) // where client libraries look by themselves
	return map[string]string{"HOME": dir, "XDG_DATA_HOME": filepath.Join(dir, "data")}
}

func TestCommandLine(t *testing.T) {
	for _, row := range []struct {
		name   string
		args   string
		code   int
		stdout string // must be contained
		stderr string
	}{
		{name: "nothing shows help", args: "", stdout: "kubernaut demo"},
		{name: "version", args: "version", stdout: "kubernaut "},
		{name: "unknown command", args: "dmeo", code: exitFailed, stderr: "demo"},
		{name: "unknown flag", args: "get --all-namespace", code: exitFailed, stderr: "did you mean --all-namespaces?"},
		{name: "unknown flag like none", args: "get --zzz", code: exitFailed, stderr: "Run 'kubernaut get --help' for usage."},
		{name: "output format", args: "get -o xml", code: exitFailed, stderr: "must be one of table, wide, json, yaml"},
		{name: "too many arguments", args: "get a b", code: exitFailed, stderr: "at most one NAME"},
		{name: "too few arguments", args: "explain", code: exitFailed, stderr: "one NAME"},
		{name: "argument where none is", args: "up there", code: exitFailed, stderr: "no arguments"},
		{name: "name with all namespaces", args: "get x -A", code: exitFailed, stderr: "leave -A out"},
		{name: "unknown scenario", args: "demo --only oom", code: exitFailed, stderr: "there are oom-kill, bad-rollout"},
		{name: "no cluster", args: "get", code: exitFailed, stderr: "Start one with kubernaut up"},
		{name: "kubeconfig that is not there", args: "get --kubeconfig /nonexistent/config", code: exitFailed, stderr: "/nonexistent/config"},
	} {
		t.Run(row.name, func(t *testing.T) {
			code, stdout, stderr := run(t, emptyHome(t), strings.Fields(row.args)...)
			if code != row.code || !strings.Contains(stdout, row.stdout) || !strings.Contains(stderr, row.stderr) {
				t.Errorf("kubernaut %s: got code %d, stdout %q, stderr %q; want code %d, %q in stdout, %q in stderr",
					row.args, code, stdout, stderr, row.code, row.stdout, row.stderr)
			}
		})
	}
}

func TestDistance(t *testing.T) {
	for _, row := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"abc", "abc", 0},
		{"abc", "", 3},
		{"", "ab", 2},
		{"kubeconfg", "kubeconfig", 1},
		{"namepsace", "namespace", 2},
		{"flaw", "lawn", 2},
	} {
		if got := distance(row.a, row.b); got != row.want {
			t.Errorf("distance(%q, %q) = %d, want %d", row.a, row.b, got, row.want)
		}
		if got := distance(row.b, row.a); got != row.want {
			t.Errorf("distance(%q, %q) = %d, want %d", row.b, row.a, got, row.want)
		}
	}
}

func TestClean(t *testing.T) {
	for _, row := range []struct{ name, in, want string }{
		{"plain", "Back-off pulling image", "Back-off pulling image"},
		{"lines", "a\nb\r\n\tc", "a b   c"},
		{"escape sequence", "\x1b[31mred\x1b[0m\x07", "[31mred[0m"},
		{"C1 control", "a\u009b31mb", "a31mb"},
		{"bidirectional override", "safe\u202egnp.exe", "safegnp.exe"},
		{"zero width", "ad\u200bmin\ufeff", "admin"},
		{"other scripts stay", "größer 日本", "größer 日本"},
	} {
		if got := clean(row.in); got != row.want {
			t.Errorf("%s: clean(%q) = %q, want %q", row.name, row.in, got, row.want)
		}
	}
}

func TestWrap(t *testing.T) {
	for _, row := range []struct {
		name, in string
		n        int
		want     []string
	}{
		{"nothing", "  ", 10, nil},
		{"no limit", "a b  c", 0, []string{"a b c"}},
		{"fits", "a b c", 5, []string{"a b c"}},
		{"breaks", "one two three", 7, []string{"one two", "three"}},
		{"long word stays whole", "x abcdefghijk y", 5, []string{"x", "abcdefghijk", "y"}},
		{"counts characters, not bytes", "äöü äöü", 7, []string{"äöü äöü"}},
	} {
		if diff := cmp.Diff(row.want, wrap(row.in, row.n)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", row.name, diff)
		}
	}
	if got := cut("abcdef", 4); got != "abc…" {
		t.Errorf(`cut("abcdef", 4) = %q, want "abc…"`, got)
	}
}

func TestTableAlignsWhatShows(t *testing.T) {
	tb := &table{paint: func(row, column int, cell string) string {
		if row == 1 && column == 0 {
			return "\x1b[31m" + cell + "\x1b[0m"
		}
		return cell
	}}
	tb.add("A", "LONGER", "END")
	tb.add("größe", "x", "y")
	var b bytes.Buffer
	if err := tb.write(&b); err != nil {
		t.Fatal(err)
	}
	want := "A      LONGER  END\n\x1b[31mgröße\x1b[0m  x       y\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSeconds(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0ms", 340 * time.Millisecond: "340ms", 1250 * time.Millisecond: "1.2s", 75 * time.Second: "1m15s",
	} {
		if got := seconds(d); got != want {
			t.Errorf("seconds(%s) = %q, want %q", d, got, want)
		}
	}
}
