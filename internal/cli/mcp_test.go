package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"kubernaut.ai/kubernaut/internal/diagnose/scenario"
)

// agent calls a tool and returns the result's text.
type agent func(tool, arguments string) (text string, failed bool)

// connect is a client of the Model Context Protocol.
func connect(t *testing.T, over sdk.Transport) agent {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	session, err := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, nil).Connect(ctx, over, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := session.Close(); err != nil {
			t.Errorf("close the session: %v", err)
		}
	})
	return func(tool, arguments string) (string, bool) {
		t.Helper()
		res, err := session.CallTool(ctx, &sdk.CallToolParams{Name: tool, Arguments: json.RawMessage(arguments)})
		if err != nil {
			t.Fatalf("%s %s: %v", tool, arguments, err)
		}
		return res.Content[0].(*sdk.TextContent).Text, res.IsError
	}
}

// TestServeToolsOverPipes talks to the built command as agents do.
func TestServeToolsOverPipes(t *testing.T) {
	program := filepath.Join(t.TempDir(), "kubernaut")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "kubernaut.ai/kubernaut/cmd/kubernaut").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	bundle := bundleOf(t, "oom-limit", scenario.Variant{})

	t.Run("a session", func(t *testing.T) {
		cmd := exec.CommandContext(context.WithoutCancel(t.Context()), program, "mcp", "--bundle", bundle) // it outlives the test until the session is closed
		ask := connect(t, &sdk.CommandTransport{Command: cmd})
		want := scenarioNamed(t, "oom-limit").Input().Resource
		text, failed := ask("analyze", `{}`)
		if failed || !strings.Contains(text, `"class":"oom-limit"`) || !strings.Contains(text, `"workflow":{"id"`) || !strings.Contains(text, `"bundle":"sha256:`) {
			t.Errorf("analyze of what was collected says %s", text)
		}
		if text, failed := ask("analyze", `{"target":"`+strings.ToLower(want.Kind)+"/"+want.Name+`","namespace":"`+want.Namespace+`"}`); failed || !strings.Contains(text, `"class":"oom-limit"`) {
			t.Errorf("analyze of its target says %s", text)
		}
		if text, failed := ask("list", `{"kind":"Pod","namespace":"`+want.Namespace+`"}`); failed || !strings.Contains(text, `"analysis":"a2"`) || !strings.Contains(text, `["e`) {
			t.Errorf("list says %s", text)
		}
		if text, failed := ask("workflows", `{}`); failed || !strings.Contains(text, "Raise the memory limit of a container): For") {
			t.Errorf("workflows says %s", text)
		}
		for _, target := range []string{"x", "frob/x"} {
			if text, failed := ask("analyze", `{"target":"`+target+`"}`); !failed || !strings.Contains(text, `"kind":"Invalid"`) {
				t.Errorf("analyze of %s says %s", target, text)
			}
		}
	})
	t.Run("asked to stop", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, program, "mcp", "--bundle", bundle)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(in, `{"jsonrpc":"2.0","id":1,"method":"ping"}`+"\n"); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.Contains(line, `"id":1`) {
			t.Fatalf("ping: %q, %v", line, err)
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil { // in is still open
			t.Errorf("the command ended with %v", err)
		}
	})
}

func TestServeToolsOverHTTP(t *testing.T) {
	bundle := bundleOf(t, "oom-limit", scenario.Variant{})
	ctx, stop := context.WithCancel(t.Context())
	r, w := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- Run(ctx, []string{"kubernaut", "mcp", "--bundle", bundle, "--http", "127.0.0.1:0"}, Streams{In: strings.NewReader(""), Out: w, Err: io.Discard}, func(string) string { return "" })
		_ = w.Close()
	}()
	line, err := bufio.NewReader(r).ReadString('\n')
	endpoint, ok := strings.CutPrefix(strings.TrimSpace(line), "serving ")
	if err != nil || !ok {
		t.Fatalf("it says %q, %v", line, err)
	}
	t.Cleanup(func() { // after the session's end
		stop()
		if got := <-code; got != exitOK {
			t.Errorf("exit code %d, want %d", got, exitOK)
		}
	})
	ask := connect(t, &sdk.StreamableClientTransport{Endpoint: endpoint, MaxRetries: -1})
	if text, failed := ask("analyze", `{"environment":"production"}`); failed || !strings.Contains(text, `"class":"oom-limit"`) || !strings.Contains(text, `"environment":"production"`) {
		t.Errorf("analyze says %s", text)
	}
}

func TestWhatIsNotServed(t *testing.T) {
	bundle := bundleOf(t, "healthy", scenario.Variant{})
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte(" \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ name, args, stderr string }{
		{"an address that others reach", "--bundle " + bundle + " --http 0.0.0.0:0", "a token is needed"},
		{"an address that is none", "--bundle " + bundle + " --http nowhere", "nowhere"},
		{"an empty token", "--bundle " + bundle + " --http 0.0.0.0:0 --token-file " + empty, "is empty"},
		{"a token that is not there", "--bundle " + bundle + " --http 0.0.0.0:0 --token-file /nonexistent", "/nonexistent"},
		{"a token without HTTP", "--bundle " + bundle + " --token-file " + empty, "give --http as well"},
		{"standard input twice", "--bundle -", "takes a path"},
		{"a recording that is not there", "--bundle /nonexistent", "/nonexistent"},
		{"a Prometheus of a recording", "--bundle " + bundle + " --prometheus http://localhost:9090", "leave it or --bundle out"},
		{"no cluster", "", "no cluster"},
		{"a word", "there", "no arguments"},
	} {
		t.Run(row.name, func(t *testing.T) {
			code, stdout, stderr := run(t, emptyHome(t), append([]string{"mcp"}, strings.Fields(row.args)...)...)
			if code != exitFailed || stdout != "" || !strings.Contains(stderr, row.stderr) {
				t.Errorf("mcp %s: got code %d, stdout %q, stderr %q; want code %d, %q in stderr", row.args, code, stdout, stderr, exitFailed, row.stderr)
			}
		})
	}
}

// serveCluster is an agent of the command in this process, which reads the cluster of env.
func serveCluster(t *testing.T, env map[string]string) agent {
	t.Helper()
	toServer, fromClient := io.Pipe()
	toClient, fromServer := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- Run(t.Context(), []string{"kubernaut", "mcp"}, Streams{In: toServer, Out: fromServer, Err: io.Discard}, func(name string) string { return env[name] })
	}()
	t.Cleanup(func() {
		_ = fromClient.Close()
		if got := <-code; got != exitOK {
			t.Errorf("exit code %d, want %d", got, exitOK)
		}
	})
	return connect(t, &sdk.IOTransport{Reader: toClient, Writer: fromClient})
}
