package failure

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// Ledger is a run's account of failures and of the retries that they cost. It is safe for concurrent use.
type Ledger struct {
	mu     sync.Mutex
	budget int
	spent  int
	seen   map[string]int
}

// NewLedger returns the account of a run that may retry budget times in all.
func NewLedger(budget int) *Ledger {
	return &Ledger{budget: budget, seen: make(map[string]int)}
}

// Admit decides whether a unit may be tried again after a failure, given how often it was tried again before, and says why
// not. It charges the retry to the budget. It admits none where the finding allows no more, where the same failure was met
// before in this run (what repeats is not transient on this host; a finding that Waits repeats while it waits), and where
// the budget is used up.
func (l *Ledger) Admit(f Finding, retries int) (ok bool, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen[f.Fingerprint]++
	switch {
	case f.Retries <= 0:
		return false, fmt.Sprintf("not retried: a failure like this (%s) never is", f.Class)
	case retries >= f.Retries:
		return false, fmt.Sprintf("not retried again: this kind of failure is retried %d× at most", f.Retries)
	case l.seen[f.Fingerprint] > 1 && (!f.Waits || retries == 0):
		return false, "not retried again: the very same failure was met before in this run, so it does not pass by itself"
	case l.spent >= l.budget:
		return false, fmt.Sprintf("not retried: the run's budget of %d retries is used up", l.budget)
	}
	l.spent++
	return true, ""
}

// Refund takes back a charge for a retry that did not come about.
func (l *Ledger) Refund() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.spent--
}

// Spent is how many retries were charged.
func (l *Ledger) Spent() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.spent
}

// Pause is how long to wait before a retry, given how many there were before: 2 s, 4 s, 8 s and so on up to 30 s for what
// passes by itself, a quarter more or less by chance so that several do not come back at once, and half a second for what
// was cleaned up.
func Pause(class Class, retries int) time.Duration {
	if class != Transient {
		return 500 * time.Millisecond
	}
	pause := min(2*time.Second<<min(retries, 10), 30*time.Second)
	return pause*3/4 + rand.N(pause/2)
}
