package audit

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// roles are what this binary does instead of testing when the variable names one of them, as a child
// of a test.
var roles = map[string]func() int{
	"hold":   holdEvents,
	"writer": writeUntilKilled,
	"store":  serveStore,
	"drain":  drain,
}

const roleVariable = "AUDIT_TEST_ROLE"

func TestMain(m *testing.M) {
	if role := roles[os.Getenv(roleVariable)]; role != nil {
		os.Exit(role())
	}
	goleak.VerifyTestMain(m)
}
