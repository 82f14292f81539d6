package engine

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
)

// realPodman is an engine on the Podman of this machine, with a state directory of its own. Without Podman the test is
// left out.
func realPodman(t *testing.T) *Engine {
	t.Helper()
	if testing.Short() {
		t.Skip("runs containers")
	}
	if _, err := exec.LookPath("podman"); err != nil {
		t.Skip("podman is not installed")
	}
	state, err := StateDir(os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	h := Host{StateDir: t.TempDir(), Getenv: func(name string) string {
		switch name {
		case "E2E_RUNTIME":
			return string(Podman)
		case "CONTAINERS_CONF": // of a run that this test is part of
			if v := os.Getenv(name); !strings.HasPrefix(v, state) {
				return v
			}
			return ""
		}
		return os.Getenv(name)
	}}
	e, err := Detect(t.Context(), command.Runner{}, h)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestRoundTrip(t *testing.T) {
	e := realPodman(t)
	for _, n := range e.Notes() {
		t.Log(n)
	}
	for range 2 {
		trip, err := e.RoundTrip(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%+v", trip)
	}
}
