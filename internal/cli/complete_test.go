package cli

import (
	"bytes"
	"strings"
	"testing"
)

// as runs the program under another name.
func as(t *testing.T, program string, env map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = Run(t.Context(), append([]string{"/usr/local/bin/" + program}, args...), Streams{In: strings.NewReader(""), Out: &out, Err: &err}, func(name string) string { return env[name] })
	return code, out.String(), err.String()
}

func TestAsPluginOfKubectl(t *testing.T) {
	code, stdout, _ := as(t, "kubectl-kubernaut", nil, "analyze", "--help")
	if code != exitOK || !strings.Contains(stdout, "kubectl kubernaut analyze [TYPE/NAME | TYPE NAME]") {
		t.Errorf("help: got code %d:\n%s", code, stdout)
	}
	_, _, stderr := as(t, "kubectl-kubernaut", nil, "analyze", "deploy")
	if !strings.Contains(stderr, "Run 'kubectl kubernaut analyze --help'") {
		t.Errorf("a mistake: got %q", stderr)
	}
	code, stdout, _ = as(t, "kubectl_complete-kubernaut", emptyHome(t), "analyze", "statefuls")
	if code != exitOK || !strings.Contains(stdout, "statefulsets/\n") || !strings.Contains(stdout, ":6\n") {
		t.Errorf("completion: got code %d:\n%s", code, stdout)
	}
}

func TestCompleteWithoutCluster(t *testing.T) {
	env := sampleCluster().start(t)
	for _, row := range []struct {
		args []string
		want string
	}{
		{[]string{"analyze", "sts"}, "sts/"},
		{[]string{"analyze", "hp"}, "hpa/"},
		{[]string{"analyze", "--context", ""}, "c"},
		{[]string{"analyze", "-o", ""}, "markdown"},
	} {
		_, stdout, _ := run(t, env, append([]string{"__complete"}, row.args...)...)
		if !strings.Contains("\n"+stdout, "\n"+row.want+"\n") {
			t.Errorf("%q completes to %q, want %q among it", row.args, stdout, row.want)
		}
	}
	if code, stdout, _ := run(t, emptyHome(t), "__complete", "analyze", "deploy/"); code != exitOK || !strings.HasPrefix(stdout, ":") {
		t.Errorf("names without a cluster: got code %d, %q; want none", code, stdout)
	}
}
