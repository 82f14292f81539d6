package hapi_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"kubernaut.ai/kubernaut/internal/hapi"
	"kubernaut.ai/kubernaut/internal/incident"
)

// event is a server-sent event.
type event struct{ id, name, data string }

// reader reads the events of an investigation.
type reader struct {
	t    *testing.T
	resp *http.Response
	scan *bufio.Scanner
}

// watch asks for the events under a key, behind the last one that it has, if that is not "".
func (s *service) watch(t *testing.T, key, last string) *reader {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/api/v1/investigations/"+url.PathEscape(key)+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = resp.Body.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	return &reader{t, resp, bufio.NewScanner(resp.Body)}
}

// next returns the next event; ok is false at the end of the stream.
func (r *reader) next() (e event, ok bool) {
	r.t.Helper()
	for r.scan.Scan() {
		field, value, _ := strings.Cut(r.scan.Text(), ": ")
		switch field {
		case "id":
			e.id = value
		case "event":
			e.name = value
		case "data":
			e.data = value
		case "":
			if e.name != "" {
				return e, true
			}
		}
	}
	if err := r.scan.Err(); err != nil {
		r.t.Fatal(err)
	}
	return e, false
}

func (r *reader) all() (out []event) {
	for e, ok := r.next(); ok; e, ok = r.next() {
		out = append(out, e)
	}
	return out
}

// An investigation can be watched while it runs, by several readers, and read again when it has ended.
func TestWatch(t *testing.T) {
	const k = "6f0c/1/0+x%"
	board, started, release := hapi.NewBoard(), make(chan struct{}), make(chan struct{})
	s := serve(t, hapi.Options{Board: board, Investigator: &fake{answer: func(ctx context.Context, in incident.Incident) (incident.Investigation, error) {
		board.Post(ctx, "observed", map[string]int{"objects": 3})
		close(started)
		<-release
		board.Post(ctx, "diagnosed", map[string]string{"verdict": "a\nb"})
		return finding(in), nil
	}}})
	done := make(chan error, 1)
	go func() {
		_, err := s.client.Investigate(context.Background(), k, oomKill())
		done <- err
	}()
	<-started
	live := s.watch(t, k, "")
	if got := live.resp.Header.Get("Content-Type"); got != "text/event-stream" || live.resp.StatusCode != http.StatusOK {
		t.Errorf("status %s, type %q", live.resp.Status, got)
	}
	for _, want := range []event{{"1", "started", "{}"}, {"2", "observed", `{"objects":3}`}} {
		if got, _ := live.next(); got != want {
			t.Errorf("while it runs: got %+v, want %+v", got, want)
		}
	}
	close(release)
	rest := []event{{"3", "diagnosed", `{"verdict":"a\nb"}`}, {"4", "finished", `{"status":"succeeded"}`}}
	if got := live.all(); fmt.Sprint(got) != fmt.Sprint(rest) {
		t.Errorf("to the end: got %+v, want %+v", got, rest)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := s.watch(t, k, "2").all(); fmt.Sprint(got) != fmt.Sprint(rest) {
		t.Errorf("resumed behind 2: got %+v, want %+v", got, rest)
	}
	if got := s.watch(t, k, "4").all(); len(got) != 0 {
		t.Errorf("resumed behind the end: got %+v", got)
	}
	if got := s.watch(t, k, "99").all(); len(got) != 4 {
		t.Errorf("with the id of an earlier investigation: got %+v, want all 4", got)
	}
}

func TestWatchOfWhatIsNotThere(t *testing.T) {
	s := serve(t, hapi.Options{})
	for _, row := range []struct {
		name, key, last string
		status          int
	}{
		{"nothing runs", "k", "", http.StatusNotFound},
		{"no key can be this", strings.Repeat("k", 201), "", http.StatusBadRequest},
		{"no id", "k", "x", http.StatusBadRequest},
	} {
		r := s.watch(t, row.key, row.last)
		body, err := io.ReadAll(r.resp.Body)
		if err != nil || r.resp.StatusCode != row.status || r.resp.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %s, %v, want %d\n%s", row.name, r.resp.Status, err, row.status, body)
		}
	}
}

// How an investigation failed is its last event, without the text of the error.
func TestWatchOfFailure(t *testing.T) {
	s := serve(t, hapi.Options{Investigator: &fake{answer: func(context.Context, incident.Incident) (incident.Investigation, error) {
		return incident.Investigation{}, incident.Errorf(incident.KindUnavailable, "observe", "secret place")
	}}})
	if _, err := s.client.Investigate(t.Context(), "k", oomKill()); err == nil {
		t.Fatal("it did not fail")
	}
	got := s.watch(t, "k", "").all()
	if want := []event{{"1", "started", "{}"}, {"2", "finished", `{"status":"failed","problem":"service-unavailable"}`}}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// A reader who does not read, and one who went away, hold nothing up; what is kept is bounded, and says by its ids
// what is missing.
func TestWatchIsBounded(t *testing.T) {
	const posts = 3000
	board, watched, begun := hapi.NewBoard(), make(chan struct{}), make(chan struct{})
	s := serve(t, hapi.Options{Board: board, Investigator: &fake{answer: func(ctx context.Context, in incident.Incident) (incident.Investigation, error) {
		if incident.RequestOf(ctx).Key != "k" {
			return finding(in), nil
		}
		close(begun)
		<-watched
		for range posts {
			board.Post(ctx, "model", strings.Repeat("x", 4000))
		}
		board.Post(ctx, "model", strings.Repeat("x", 5000))
		return finding(in), nil
	}}})
	done := make(chan error, 1)
	go func() {
		_, err := s.client.Investigate(context.Background(), "k", oomKill())
		done <- err
	}()
	<-begun
	_ = s.watch(t, "k", "") // and does not read
	gone := s.watch(t, "k", "")
	_ = gone.resp.Body.Close()
	close(watched)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	got := s.watch(t, "k", "").all()
	if len(got) != 512 || got[0].id != strconv.Itoa(posts+3-511) || got[510].data != "{}" || got[511].name != "finished" {
		t.Errorf("got %d events, the first %s, the last but one %.20q", len(got), got[0].id, got[len(got)-2].data)
	}
	// The longest ended are forgotten.
	for i := range 64 {
		if _, err := s.client.Investigate(t.Context(), fmt.Sprint("other-", i), oomKill()); err != nil {
			t.Fatal(err)
		}
		if i == 62 && s.watch(t, "k", "3002").resp.StatusCode != http.StatusOK {
			t.Error("it is forgotten too early")
		}
	}
	if got := s.watch(t, "k", "").resp.StatusCode; got != http.StatusNotFound {
		t.Errorf("status %d, want 404", got)
	}
}
