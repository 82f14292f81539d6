package failure

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestLedger(t *testing.T) {
	eof := Finding{Class: Transient, Retries: 3, Fingerprint: "eof"}
	for _, c := range []struct {
		name    string
		budget  int
		before  []Finding // admitted or not, they were met
		f       Finding
		retries int
		why     string // of a refusal; empty: admitted
	}{
		{"transient", 5, nil, eof, 0, ""},
		{"another one", 5, []Finding{eof}, Finding{Class: Transient, Retries: 3, Fingerprint: "timeout"}, 1, ""},
		{"the same again", 5, []Finding{eof}, eof, 1, "very same"},
		{"used up", 5, nil, eof, 3, "3×"},
		{"host", 5, nil, Finding{Class: Host, Fingerprint: "h"}, 0, "(host)"},
		{"unknown", 5, nil, Finding{Class: Unknown, Fingerprint: "u"}, 0, "(unknown)"},
		{"waiting repeats", 5, []Finding{{Retries: 8, Waits: true, Fingerprint: "w"}}, Finding{Class: Transient, Retries: 8, Waits: true, Fingerprint: "w"}, 1, ""},
		{"waited for before", 5, []Finding{{Retries: 8, Waits: true, Fingerprint: "w"}}, Finding{Class: Transient, Retries: 8, Waits: true, Fingerprint: "w"}, 0, "very same"},
		{"no budget", 0, nil, eof, 0, "budget of 0"},
		{"budget used up", 1, []Finding{{Class: Stale, Retries: 1, Fingerprint: "s"}}, eof, 0, "budget of 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := NewLedger(c.budget)
			for _, f := range c.before {
				l.Admit(f, 0)
			}
			ok, why := l.Admit(c.f, c.retries)
			if ok != (c.why == "") || !strings.Contains(why, c.why) {
				t.Errorf("got %v, %q, want %q", ok, why, c.why)
			}
		})
	}
}

func TestRefund(t *testing.T) {
	l := NewLedger(1)
	f := func(of string) Finding { return Finding{Class: Stale, Retries: 1, Fingerprint: of} }
	l.Admit(f("a"), 0)
	l.Refund()
	if ok, why := l.Admit(f("b"), 0); !ok || l.Spent() != 1 {
		t.Errorf("got %v (%s) and %d spent, want the refunded retry", ok, why, l.Spent())
	}
}

func TestLedgerNeverExceeds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		budget := rapid.IntRange(0, 4).Draw(t, "budget")
		l := NewLedger(budget)
		admitted := 0
		met := make(map[string]bool)
		for range rapid.IntRange(0, 30).Draw(t, "failures") {
			f := Finding{
				Class:       rapid.SampledFrom([]Class{Transient, Stale, Resource, Host, Permanent, Unknown}).Draw(t, "class"),
				Fingerprint: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "fingerprint"),
				Waits:       rapid.Bool().Draw(t, "waits"),
			}
			f.Retries = f.Class.Retries()
			retries := rapid.IntRange(0, 4).Draw(t, "retries")
			ok, why := l.Admit(f, retries)
			if ok {
				admitted++
			} else if why == "" {
				t.Fatalf("%+v: refused without a reason", f)
			}
			if ok && (retries >= f.Class.Retries() || met[f.Fingerprint] && !f.Waits) {
				t.Fatalf("%+v was admitted after %d retries", f, retries)
			}
			met[f.Fingerprint] = true
		}
		if admitted > budget || l.Spent() != admitted {
			t.Fatalf("%d admitted, %d charged, of %d", admitted, l.Spent(), budget)
		}
	})
}

func TestPause(t *testing.T) {
	for retries, want := range []time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 30 * time.Second, 30 * time.Second} {
		for range 50 {
			if got := Pause(Transient, retries); got < want*3/4 || got > want*5/4 {
				t.Errorf("after %d retries: got %s, want %s, a quarter more or less", retries, got, want)
			}
		}
	}
	if got := Pause(Stale, 0); got > time.Second {
		t.Errorf("after a cleanup: got %s", got)
	}
}
