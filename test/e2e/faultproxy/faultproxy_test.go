package faultproxy

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const answer = "this is the answer of the service"

// stage is a service, a proxy in front of it, and the client of its control endpoint.
type stage struct {
	t       *testing.T
	asked   atomic.Int32
	url     string
	control *Client
}

func newStage(t *testing.T) *stage {
	s := &stage{t: t}
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		if r.Header.Get("Idempotency-Key") == "again" {
			w.Header().Set("Idempotency-Replayed", "true")
		}
		w.Header().Set("X-Service", "yes")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(service.Close)
	p := New(slog.New(slog.DiscardHandler))
	route, err := p.Route("hapi", service.URL)
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(route)
	t.Cleanup(front.Close)
	control := httptest.NewServer(p.Control())
	t.Cleanup(control.Close)
	s.url, s.control = front.URL, NewClient(control.URL, control.Client())
	return s
}

func (s *stage) put(r Rule) {
	s.t.Helper()
	if err := s.control.Put(s.t.Context(), r); err != nil {
		s.t.Fatal(err)
	}
}

// post sends a request and returns status and body of the answer.
func (s *stage) post(body string) (int, string, error) {
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url+"/api/v1/x", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Idempotency-Key", body)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(content), err
}

func TestPassesThrough(t *testing.T) {
	s := newStage(t)
	status, body, err := s.post("again")
	if status != http.StatusCreated || body != answer || err != nil {
		t.Errorf("got %d %q, %v; want %d %q", status, body, err, http.StatusCreated, answer)
	}
	got, err := s.control.Requests(t.Context(), Query{Route: "hapi", Contains: "again", AtLeast: 1, Done: true})
	if err != nil || len(got) != 1 {
		t.Fatalf("got %+v, %v; want one request", got, err)
	}
	want := Request{
		Seq: 1, At: got[0].At, Route: "hapi", Method: "POST", Path: "/api/v1/x", Key: "again", Forwarded: true,
		UpstreamStatus: 201, Replayed: true, Status: 201, Done: true, Body: "again",
	}
	if got[0] != want {
		t.Errorf("got %+v, want %+v", got[0], want)
	}
}

func TestFaults(t *testing.T) {
	for _, row := range []struct {
		name   string
		rule   Rule
		status int
		body   string
		err    error
		asked  int32 // requests that reach the service
	}{
		{"respond", Rule{Kind: Respond, Status: 429, Headers: map[string]string{"Retry-After": "1"}, Body: "slow down"}, 429, "slow down", nil, 0},
		{"reset", Rule{Kind: Reset}, 0, "", syscall.ECONNRESET, 0},
		{"reset after", Rule{Kind: Reset, After: true}, 0, "", syscall.ECONNRESET, 1},
		{"truncate", Rule{Kind: Truncate}, 201, answer[:len(answer)/2], io.ErrUnexpectedEOF, 1},
		{"delay", Rule{Kind: Delay, Delay: Duration(time.Millisecond)}, 201, answer, nil, 1},
		{"other body", Rule{Kind: Reset, Contains: "something else"}, 201, answer, nil, 1},
		{"other method", Rule{Kind: Reset, Method: "GET"}, 201, answer, nil, 1},
		{"other path", Rule{Kind: Reset, Path: "/api/v2"}, 201, answer, nil, 1},
		{"other route", Rule{Kind: Reset, Route: "datastorage"}, 201, answer, nil, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newStage(t)
			row.rule.ID = "r"
			s.put(row.rule)
			status, body, err := s.post("one remediation")
			if status != row.status || body != row.body || !errors.Is(err, row.err) {
				t.Errorf("got %d %q, %v; want %d %q, %v", status, body, err, row.status, row.body, row.err)
			}
			if got := s.asked.Load(); got != row.asked {
				t.Errorf("the service was asked %d times, want %d", got, row.asked)
			}
		})
	}
}

func TestRedirect(t *testing.T) {
	s := newStage(t)
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "other "+r.URL.Path)
	}))
	defer other.Close()
	s.put(Rule{ID: "r", Kind: Redirect, Upstream: other.URL})
	if status, body, err := s.post(""); status != 200 || body != "other /api/v1/x" || err != nil {
		t.Errorf("got %d %q, %v", status, body, err)
	}
}

func TestSkipAndTimes(t *testing.T) {
	s := newStage(t)
	s.put(Rule{ID: "r", Kind: Respond, Status: 503, Skip: 1, Times: 2})
	var got []int
	for range 4 {
		status, _, err := s.post("")
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, status)
	}
	for i, want := range []int{201, 503, 503, 201} {
		if got[i] != want {
			t.Errorf("request %d: got %d, want %d (all: %v)", i, got[i], want, got)
		}
	}
	if n, err := s.control.Hits(t.Context(), "r", 2); n != 2 || err != nil {
		t.Errorf("hits: got %d, %v; want 2", n, err)
	}
}

// A request that is held reaches the service when the rule ends, and is answered then; with After the
// service has been asked before.
func TestHold(t *testing.T) {
	for _, after := range []bool{false, true} {
		s := newStage(t)
		s.put(Rule{ID: "r", Kind: Hold, After: after})
		answered := make(chan string, 1)
		go func() {
			_, body, err := s.post("")
			if err != nil {
				body = err.Error()
			}
			answered <- body
		}()
		if _, err := s.control.Hits(t.Context(), "r", 1); err != nil {
			t.Fatal(err)
		}
		if after { // the answer is there and held
			for s.asked.Load() == 0 {
				if _, err := s.control.Requests(t.Context(), Query{AtLeast: 1}); err != nil {
					t.Fatal(err)
				}
			}
		} else if n := s.asked.Load(); n != 0 {
			t.Errorf("the service was asked %d times while the request was held", n)
		}
		select {
		case body := <-answered:
			t.Errorf("after=%v: answered %q while held", after, body)
		default:
		}
		if err := s.control.Delete(t.Context(), "r"); err != nil {
			t.Fatal(err)
		}
		if body := <-answered; body != answer {
			t.Errorf("after=%v: got %q, want %q", after, body, answer)
		}
	}
}

func TestControlRefuses(t *testing.T) {
	s := newStage(t)
	for _, row := range []struct {
		name string
		rule Rule
		want string
	}{
		{"no id", Rule{Kind: Reset}, "id"},
		{"no kind", Rule{ID: "r"}, "kind"},
		{"no status", Rule{ID: "r", Kind: Respond}, "status"},
		{"no upstream", Rule{ID: "r", Kind: Redirect}, "upstream"},
		{"no delay", Rule{ID: "r", Kind: Delay}, "delay"},
	} {
		if err := s.control.Put(t.Context(), row.rule); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: got %v, want one with %q", row.name, err, row.want)
		}
	}
	if err := s.control.Delete(t.Context(), "none"); err == nil {
		t.Error("the deletion of a rule that is not there succeeds")
	}
	if _, err := decodeRule([]byte(`{"id":"r","kind":"reset","kinds":1}`)); err == nil {
		t.Error("an unknown key of a rule is taken")
	}
}

func TestServiceDown(t *testing.T) {
	s := newStage(t)
	s.put(Rule{ID: "r", Kind: Redirect, Upstream: "http://127.0.0.1:1"})
	if _, _, err := s.post(""); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want a connection that is reset", err)
	}
}
