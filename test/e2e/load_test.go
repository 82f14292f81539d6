package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"kubernaut.ai/kubernaut/internal/app/datastorage"
	"kubernaut.ai/kubernaut/internal/config"
	"kubernaut.ai/kubernaut/internal/pgtest"
)

var postgres pgtest.Server

// dataStorage runs Data Storage and returns its URL.
func dataStorage(t *testing.T, change func(*config.DataStorage)) string {
	t.Helper()
	cfg := config.DefaultDataStorage()
	cfg.Server.Host, cfg.Server.Port = "127.0.0.1", 0
	cfg.Database.Path = filepath.Join(t.TempDir(), "data.db")
	cfg.Catalog.Dir = ""
	change(&cfg)
	ctx, cancel := context.WithCancel(t.Context())
	addresses, done := make(chan net.Addr, 1), make(chan error, 1)
	go func() {
		done <- datastorage.Run(ctx, cfg, datastorage.Options{Ready: func(a net.Addr) { addresses <- a }})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Data Storage: %v", err)
		}
	})
	select {
	case a := <-addresses:
		return "http://" + a.String()
	case err := <-done:
		done <- nil
		t.Fatalf("Data Storage: %v", err)
		return ""
	}
}

func at(url string) *System {
	return &System{Target: Target{DataStorage: url}, http: &http.Client{Timeout: time.Minute}}
}

// between answers for the service at a URL, by way of a handler that may do otherwise.
func between(t *testing.T, how func(w http.ResponseWriter, r *http.Request, next http.Handler), services ...string) string {
	t.Helper()
	var next []http.Handler
	for _, s := range services {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		next = append(next, httputil.NewSingleHostReverseProxy(u))
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		how(w, r, next[rand.IntN(len(next))])
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func straight(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(w, r) }

// unreliable loses requests before and answers after they had their effect.
func unreliable(w http.ResponseWriter, r *http.Request, next http.Handler) {
	const chances = 12
	switch rand.IntN(chances) {
	case 0:
		panic(http.ErrAbortHandler)
	case 1:
		http.Error(w, "not now", http.StatusServiceUnavailable)
	case 2, 3:
		next.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	default:
		next.ServeHTTP(w, r)
	}
}

var brisk = Load{Chains: 4, Writers: 4, Every: 2 * time.Millisecond, Most: 1500, Patience: 10 * time.Second}

func TestLoadSurvivesWhatServicesDo(t *testing.T) {
	shared := onDatabase(t, postgres.Database(t))
	replicas := []string{dataStorage(t, shared), dataStorage(t, shared)}
	for _, giveUp := range []int{0, 3} {
		load := brisk
		load.GiveUp = giveUp
		w := at(between(t, unreliable, replicas...)).StartWriting(t.Context(), load)
		if err := w.Progress(t.Context(), 400); err != nil {
			t.Fatal(err)
		}
		ledger, err := w.Stop(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		tally := w.Tally()
		t.Log(tally)
		if len(tally.Failures) < 2 || (tally.GivenUp == 0) != (giveUp == 0) || tally.Gap == 0 || tally.Events != ledger.Events() {
			t.Errorf("with GiveUp %d the load met: %s", giveUp, tally)
		}
		var heads map[string]string
		for _, round := range []string{"written", "sent again"} {
			for _, replica := range replicas {
				got, err := ledger.Check(t.Context(), at(replica))
				if err != nil {
					t.Errorf("%s, at %s: %v", round, replica, err)
				}
				if len(got) != load.Chains || heads != nil && !maps.Equal(got, heads) {
					t.Errorf("%s, at %s: the heads are %v, before they were %v", round, replica, got, heads)
				}
				heads = got
			}
			if err := ledger.Resend(t.Context(), at(between(t, unreliable, replicas...)), load.Patience); err != nil {
				t.Errorf("send everything again: %v", err)
			}
		}
	}
}

// edit lets a handler see and change the events of a write.
func edit(how func(events []map[string]any, w http.ResponseWriter, send func(...map[string]any) *httptest.ResponseRecorder)) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/batch") {
			next.ServeHTTP(w, r)
			return
		}
		var events []map[string]any
		if err := json.NewDecoder(r.Body).Decode(&events); err != nil {
			panic(err)
		}
		how(events, w, func(events ...map[string]any) *httptest.ResponseRecorder {
			text, err := json.Marshal(events)
			if err != nil {
				panic(err)
			}
			again := r.Clone(r.Context())
			again.Body, again.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
			rec := httptest.NewRecorder()
			next.ServeHTTP(rec, again)
			return rec
		})
	}
}

func pass(w http.ResponseWriter, rec *httptest.ResponseRecorder) {
	w.WriteHeader(rec.Code)
	_, _ = w.Write(rec.Body.Bytes())
}

type events = []map[string]any

type sender = func(...map[string]any) *httptest.ResponseRecorder

// Each row is a service that breaks one promise, and the words in which that must be found.
func TestLoadFindsBrokenPromises(t *testing.T) {
	for name, tt := range map[string]struct {
		giveUp int
		how    func(http.ResponseWriter, *http.Request, http.Handler)
		want   string
	}{
		"acknowledged and not stored": {0, edit(func(all events, w http.ResponseWriter, send sender) {
			rec := send(all[1:]...)
			var got answerOf
			_ = json.Unmarshal(rec.Body.Bytes(), &got)
			got.IDs = append([]string{all[0]["event_id"].(string)}, got.IDs...)
			w.WriteHeader(rec.Code)
			_ = json.NewEncoder(w).Encode(map[string]any{"event_ids": got.IDs})
		}), "was acknowledged and is lost"},
		"stored twice, under another id": {0, edit(func(all events, w http.ResponseWriter, send sender) {
			pass(w, send(all...))
			twin := maps.Clone(all[0])
			twin["event_id"] = uuid.NewString()
			send(twin)
		}), "of which"},
		"a batch stored in part": {1, edit(func(all events, _ http.ResponseWriter, send sender) {
			send(all[0])
			panic(http.ErrAbortHandler)
		}), "of a batch of"},
		"other content": {0, edit(func(all events, w http.ResponseWriter, send sender) {
			all[0]["event_data"] = map[string]any{"writer": "somebody"}
			pass(w, send(all...))
		}), "sent was"},
		"another time": {0, edit(func(all events, w http.ResponseWriter, send sender) {
			all[0]["event_timestamp"] = time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
			pass(w, send(all...))
		}), "the time is"},
		"stored in another order": {0, edit(func(all events, w http.ResponseWriter, send sender) {
			ids := make([]string, len(all))
			for i, e := range all {
				ids[i] = e["event_id"].(string)
				defer send(e) // the last one first
			}
			w.WriteHeader(http.StatusCreated)
			_ = json.NewEncoder(w).Encode(map[string]any{"event_ids": ids})
		}), "before one that its writer had acknowledged earlier"},
		"an acknowledgement of something else": {0, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write([]byte(`{"event_ids": ["x"]}`))
		}, "acknowledged"},
		"a refusal": {0, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			http.Error(w, "no", http.StatusBadRequest)
		}, "a write was refused: 400 no"},
		"a total that does not count": {0, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, "/events") {
				next.ServeHTTP(w, r)
				return
			}
			rec := httptest.NewRecorder()
			next.ServeHTTP(rec, r)
			var page map[string]any
			_ = json.Unmarshal(rec.Body.Bytes(), &page)
			data := page["data"].([]any)
			page["data"] = data[:len(data)-1]
			page["pagination"].(map[string]any)["total"] = len(data) - 1
			_ = json.NewEncoder(w).Encode(page)
		}, "its report counts"},
		"a chain that does not verify": {0, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if strings.HasSuffix(r.URL.Path, "/verify") {
				_, _ = w.Write([]byte(`{"events": 1, "valid": false, "problem": "event 1 does not have the hash that is recorded for it"}`))
				return
			}
			next.ServeHTTP(w, r)
		}, "does not verify"},
	} {
		t.Run(name, func(t *testing.T) {
			service := at(between(t, tt.how, dataStorage(t, func(*config.DataStorage) {})))
			load := brisk
			load.GiveUp, load.Most = tt.giveUp, 120
			w := service.StartWriting(t.Context(), load)
			_ = Until(t.Context(), "the load ends", func(context.Context) string {
				if _, err := w.state(); err != nil {
					return ""
				}
				return "it goes on"
			})
			ledger, err := w.Stop(t.Context())
			if err == nil {
				_, err = ledger.Check(t.Context(), service)
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("found was %v, want %q", err, tt.want)
			}
		})
	}
}

func TestLoadEnds(t *testing.T) {
	never := at(between(t, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.WriteHeader(http.StatusServiceUnavailable)
	}, "http://127.0.0.1:1"))
	w := never.StartWriting(t.Context(), brisk)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := w.Progress(ctx, 1); err == nil || !strings.Contains(err.Error(), "status 503") {
		t.Errorf("Progress without an acknowledgement = %v", err)
	}
	if _, err := w.Stop(ctx); err == nil || !strings.Contains(err.Error(), "not acknowledged") {
		t.Errorf("Stop without an acknowledgement = %v", err)
	}
	bounded := at(between(t, straight, dataStorage(t, func(*config.DataStorage) {}))).StartWriting(t.Context(), brisk)
	if err := bounded.Progress(t.Context(), brisk.Most+1); err == nil || !strings.Contains(err.Error(), "bound of 1500 events") {
		t.Errorf("Progress beyond the bound = %v", err)
	}
	if ledger, err := bounded.Stop(t.Context()); err != nil || ledger.Events() > brisk.Most || ledger.Events() < brisk.Most-50 {
		t.Errorf("Stop at the bound = %v, %v", ledger, err)
	}
}
