package infrastructure_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
	"kubernaut.ai/kubernaut/test/infrastructure/faults"
)

func TestSoakTable(t *testing.T) {
	runs := []infrastructure.Soaked{
		{Fault: faults.Fault{Name: "a port is taken", Phase: "preflight"}, Verdict: faults.Stopped, Duration: 3 * time.Second},
		{Fault: faults.Fault{Name: "a node is killed", Phase: "deploy"}, Verdict: faults.Healed, Duration: 70 * time.Second},
	}
	var page bytes.Buffer
	code, err := infrastructure.Table(&page, runs)
	if err != nil || code != failure.ExitOK || !strings.Contains(page.String(), "stopped with the right diagnosis") || !strings.Contains(page.String(), "1m10s") {
		t.Errorf("exit code %d, %v\n%s", code, err, &page)
	}
	page.Reset()
	code, err = infrastructure.Table(&page, append(runs, infrastructure.Soaked{Verdict: faults.Wrong, Why: "exit code 1, want 4"}))
	if err != nil || code != failure.ExitHarness || !strings.Contains(page.String(), "wrong: exit code 1, want 4") {
		t.Errorf("exit code %d, %v\n%s", code, err, &page)
	}
}
