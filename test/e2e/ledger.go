package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"time"
)

// Ledger is what a load has written and what of it was acknowledged. It does not change.
type Ledger struct {
	chains   []string
	requests []*writeRequest
}

// Events is how many events were acknowledged.
func (l *Ledger) Events() int {
	n := 0
	for _, r := range l.requests {
		if r.acknowledged {
			n += len(r.events)
		}
	}
	return n
}

// Check reads every trail of the load from a system and returns what does not hold of it: each acknowledged
// event is there once, with the content that was sent, after those that its writer had acknowledged before; a
// request that was given up is there whole or not at all; nothing else is there; the totals count what is
// there; the chain verifies, as Data Storage says and as computed again. heads are the heads of the chains.
func (l *Ledger) Check(ctx context.Context, s *System) (heads map[string]string, err error) {
	heads = make(map[string]string, len(l.chains))
	stored := make(map[string]Event)
	var faults []error
	for _, chain := range l.chains {
		trail, head, err := s.wholeTrail(ctx, chain)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		heads[chain] = head
		for _, e := range trail {
			if other, ok := stored[e.ID]; ok {
				faults = append(faults, fmt.Errorf("event %s is stored twice: as %d of %s and as %d of %s",
					e.ID, other.Sequence, other.CorrelationID, e.Sequence, e.CorrelationID))
			}
			stored[e.ID] = e
		}
	}
	if len(faults) > 0 {
		return heads, errors.Join(faults...)
	}
	return heads, l.compare(stored)
}

// wholeTrail reads a trail and checks it in itself. One of which nothing was stored is empty.
func (s *System) wholeTrail(ctx context.Context, chain string) (Trail, string, error) {
	a, err := s.Get(ctx, s.DataStorage+"/api/v1/audit/verify?correlation_id="+url.QueryEscape(chain))
	if err != nil {
		return nil, "", fmt.Errorf("verify the trail of %s: %w", chain, err)
	}
	if a.Status == http.StatusNotFound {
		return nil, "", nil
	}
	var report ChainReport
	if a.Status != http.StatusOK || a.JSON(&report) != nil || !report.Valid {
		return nil, "", fmt.Errorf("the trail of %s does not verify: %s", chain, a)
	}
	trail, err := s.Trail(ctx, chain)
	if err != nil {
		return nil, "", err
	}
	if len(trail) != report.Events {
		return nil, "", fmt.Errorf("the trail of %s has %d events, its report counts %d", chain, len(trail), report.Events)
	}
	if err := CheckChain(trail); err != nil {
		return nil, "", fmt.Errorf("the trail of %s: %w", chain, err)
	}
	if last := trail[len(trail)-1].Hash; last != report.Head {
		return nil, "", fmt.Errorf("the trail of %s ends in %s, its report says %s", chain, last, report.Head)
	}
	return trail, report.Head, nil
}

// compare checks what is stored against what was written.
func (l *Ledger) compare(stored map[string]Event) error {
	var faults []error
	known := 0
	type line struct {
		writer int
		chain  string
	}
	last := make(map[line]int64) // the latest place of what a writer had acknowledged
	for _, r := range l.requests {
		there := 0
		for _, e := range r.events {
			got, ok := stored[e.ID]
			if !ok {
				if r.acknowledged {
					faults = append(faults, fmt.Errorf("event %s of %s was acknowledged and is lost", e.ID, e.CorrelationID))
				}
				continue
			}
			there++
			if err := e.differs(got); err != nil {
				faults = append(faults, err)
			}
			at := line{r.writer, e.CorrelationID}
			if r.acknowledged && got.Sequence <= last[at] {
				faults = append(faults, fmt.Errorf("event %s is %d of %s, before one that its writer had acknowledged earlier", e.ID, got.Sequence, e.CorrelationID))
			}
			if r.acknowledged {
				last[at] = got.Sequence
			}
		}
		known += there
		if there != 0 && there != len(r.events) {
			faults = append(faults, fmt.Errorf("of a batch of %d events, %d are stored", len(r.events), there))
		}
	}
	if known != len(stored) {
		faults = append(faults, fmt.Errorf("%d events are stored, of which %d were sent", len(stored), known))
	}
	return errors.Join(faults...)
}

// differs returns in what a stored event is not the one that was sent.
func (e wireEvent) differs(got Event) error {
	at, err := time.Parse(time.RFC3339Nano, got.Timestamp)
	if err != nil || !at.Equal(e.Timestamp) {
		return fmt.Errorf("event %s: the time is %s, sent was %s", e.ID, got.Timestamp, e.Timestamp.Format(time.RFC3339Nano))
	}
	type facts struct {
		Version, Type, Category, Action, Outcome, CorrelationID, ParentID, Severity string
		Duration                                                                    int64
		Data                                                                        any
	}
	sent := facts{e.Version, e.Type, e.Category, e.Action, e.Outcome, e.CorrelationID, e.ParentID, e.Severity, -1, nil}
	if sent.Severity == "" {
		sent.Severity = "info" // by the contract
	}
	if e.DurationMS != nil {
		sent.Duration = *e.DurationMS
	}
	text, err := json.Marshal(e.Data)
	if err != nil {
		return err
	}
	have := facts{got.Version, got.Type, got.Category, got.Action, got.Outcome, got.CorrelationID, "", got.Severity, -1, nil}
	if got.ParentID != nil {
		have.ParentID = *got.ParentID
	}
	if got.DurationMS != nil {
		have.Duration = *got.DurationMS
	}
	if err := errors.Join(json.Unmarshal(text, &sent.Data), json.Unmarshal(got.Data, &have.Data)); err != nil {
		return fmt.Errorf("event %s: %w", e.ID, err)
	}
	if !reflect.DeepEqual(sent, have) {
		return fmt.Errorf("event %s: stored is %+v, sent was %+v", e.ID, have, sent)
	}
	return nil
}

// Resend sends every acknowledged event again, in batches of another size than before, and expects each to be
// acknowledged as before.
func (l *Ledger) Resend(ctx context.Context, s *System, patience time.Duration) error {
	const size = 100
	var all []wireEvent
	for _, r := range l.requests {
		if r.acknowledged {
			all = append(all, r.events...)
		}
	}
	for len(all) > 0 {
		batch := &writeRequest{events: all[:min(size, len(all))]}
		all = all[len(batch.events):]
		err := Until(ctx, "a batch that is sent again is acknowledged", func(ctx context.Context) string {
			failure, fault := s.writeOnce(ctx, batch, patience)
			if fault != nil {
				failure = fault.Error()
			}
			return failure
		})
		if err != nil {
			return err
		}
	}
	return nil
}
