package cli

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kubernaut.ai/kubernaut/internal/cli/stage"
	"kubernaut.ai/kubernaut/internal/controlplane"
	"kubernaut.ai/kubernaut/internal/controlplane/controlplanetest"
)

// TestLive stages faults on a real API server and asks about them with nothing but a kubeconfig.
func TestLive(t *testing.T) {
	for _, name := range []string{controlplane.EnvAssets, controlplane.EnvKubeconfig} {
		if os.Getenv(name) != "" {
			t.Skipf("needs a control plane with controllers and without kubelet and scheduler, and %s names another one", name)
		}
	}
	cfg := controlplanetest.Config(t)
	env := emptyHome(t)
	env["KUBECONFIG"] = controlplanetest.Kubeconfig(t)
	c, err := stage.New(cfg, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	all, err := stage.Scenarios()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if slices.Contains([]string{"oom-kill", "quota-exceeded", "healthy"}, s.Name) {
			if err := c.Stage(ctx, s); err != nil {
				t.Fatal(err)
			}
		}
	}
	healthy := all[slices.IndexFunc(all, func(s stage.Scenario) bool { return s.Name == "healthy" })]

	for _, row := range []struct {
		name   string
		args   string
		code   int
		stdout string
		stderr string
	}{
		{name: "a workload", args: "deploy/cart -n shop", code: exitCause, stdout: "Class       oom-limit"},
		{name: "a type of another group", args: "resourcequota team -n batch", code: exitCause, stdout: "Class       quota-exceeded"},
		{name: "a namespace", args: "-n batch", code: exitCause, stdout: "Act on      ResourceQuota batch/team"},
		{name: "a healthy one", args: "deploy/" + healthy.Target.Name + " -n " + healthy.Namespace, code: exitOK, stdout: "Healthy     Nothing is wrong now"},
		{name: "everything", args: "-A", code: exitCause, stdout: "Also wrong"},
		{name: "a resource of the cluster's own", args: "apiservices.apiregistration.k8s.io/v1.apps", code: exitOK, stdout: "APIService v1.apps"},
		{name: "a type that is not served", args: "frobs/x -n shop", code: exitFailed, stderr: `no resource type "frobs"`},
		{name: "a name that is not there", args: "deploy/crat -n shop", code: exitUndecided, stderr: "did you mean cart?"},
	} {
		t.Run(row.name, func(t *testing.T) {
			code, stdout, stderr := run(t, env, append([]string{"analyze"}, strings.Fields(row.args)...)...)
			if code != row.code || !strings.Contains(stdout, row.stdout) || !strings.Contains(stderr, row.stderr) || row.stderr == "" && stderr != "" {
				t.Errorf("analyze %s: got code %d, stdout:\n%s\nstderr: %s\nwant code %d, %q in stdout, %q in stderr", row.args, code, stdout, stderr, row.code, row.stdout, row.stderr)
			}
		})
	}
	t.Run("collected and replayed", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "cart.tgz")
		if code, _, stderr := run(t, env, "collect", "deploy/cart", "-n", "shop", "-o", path); code != exitOK || stderr != "" {
			t.Fatalf("collect: got code %d, stderr %q", code, stderr)
		}
		if code, stdout, stderr := run(t, env, "replay", path); code != exitOK || !strings.Contains(stdout, "the same verdict") {
			t.Errorf("replay: got code %d, stdout %q, stderr %q", code, stdout, stderr)
		}
		_, stdout, _ := run(t, nil, "analyze", "--bundle", path, "-o", "json")
		var d diagnosis
		if err := json.Unmarshal([]byte(stdout), &d); err != nil || d.Cause == nil || d.Cause.Class != "oom-limit" || d.Read.Cluster == "" {
			t.Errorf("analyze of what was collected: %v, %s", err, stdout)
		}
	})
	t.Run("over MCP", func(t *testing.T) {
		ask := serveCluster(t, env)
		if text, failed := ask("analyze", `{"target":"deploy/cart","namespace":"shop"}`); failed || !strings.Contains(text, `"class":"oom-limit"`) {
			t.Errorf("analyze says %s", text)
		}
		if text, failed := ask("list", `{"kind":"Pod","namespace":"shop"}`); failed || !strings.Contains(text, `"analysis":"a1"`) || !strings.Contains(text, "Pod shop/cart-") {
			t.Errorf("list of what was read says %s", text)
		}
		if text, failed := ask("describe", `{"kind":"ResourceQuota","namespace":"batch","name":"team"}`); failed || !strings.Contains(text, `"analysis":"a2"`) || !strings.Contains(text, `["e`) {
			t.Errorf("describe in a namespace that was not read says %s", text)
		}
		if text, failed := ask("analyze", `{"target":"frobs/x"}`); !failed || !strings.Contains(text, "no resource type") {
			t.Errorf("analyze of a type that is not served says %s", text)
		}
	})
	t.Run("completion", func(t *testing.T) {
		for _, row := range []struct {
			args []string
			want string
		}{
			{[]string{"analyze", "-n", "shop", "deploy/"}, "deploy/cart"},
			{[]string{"analyze", "-n", "shop", "deploy/ca"}, "deploy/cart"},
			{[]string{"analyze", "-n", "shop", "deployment", "c"}, "cart"},
			{[]string{"analyze", "namespaces/sh"}, "namespaces/shop"},
			{[]string{"collect", "-n", "sh"}, "shop"},
			{[]string{"explain", "-n", "bat"}, "batch"},
		} {
			_, stdout, _ := run(t, env, append([]string{"__complete"}, row.args...)...)
			if !slices.Contains(strings.Split(stdout, "\n"), row.want) {
				t.Errorf("%q completes to %q, want %q among it", row.args, stdout, row.want)
			}
		}
	})
}
