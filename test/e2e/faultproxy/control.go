package faultproxy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxWait bounds how long the control endpoint holds a question back.
const maxWait = 5 * time.Minute

// Control returns the handler of the control endpoint:
//
//	GET    /healthz
//	PUT    /rules/{id}                 brings a rule into force
//	DELETE /rules/{id}                 ends it, and releases what it holds
//	GET    /rules/{id}/hits?min=N      how many requests it was applied to; waits until there are N
//	GET    /requests?route=&contains=  the requests that came in; waits until there are min=N of them,
//	                                   with done=true only those that have been dealt with count
func (p *Proxy) Control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("PUT /rules/{id}", p.putRule)
	mux.HandleFunc("DELETE /rules/{id}", func(w http.ResponseWriter, r *http.Request) {
		if !p.remove(r.PathValue("id")) {
			http.Error(w, "no such rule", http.StatusNotFound)
		}
	})
	mux.HandleFunc("GET /rules/{id}/hits", p.getHits)
	mux.HandleFunc("GET /requests", p.getRequests)
	return mux
}

func (p *Proxy) putRule(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	rule, err := decodeRule(body)
	if err == nil && rule.ID != r.PathValue("id") {
		err = fmt.Errorf("id %q is not that of the path", rule.ID)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p.put(rule)
	p.log.Info("rule put", "id", rule.ID, "kind", rule.Kind)
}

// wait has the question of a request held back until ok. It answers itself, and reports false, when
// the question is wrong or the time is up.
func (p *Proxy) wait(w http.ResponseWriter, r *http.Request, count func() int) (int, bool) {
	least := 0
	if text := r.URL.Query().Get("min"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			http.Error(w, "min is not a number", http.StatusBadRequest)
			return 0, false
		}
		least = n
	}
	ctx, cancel := context.WithTimeout(r.Context(), maxWait)
	defer cancel()
	var n int
	if err := p.await(ctx, func() bool { n = count(); return n >= least }); err != nil {
		http.Error(w, err.Error(), http.StatusGatewayTimeout)
		return 0, false
	}
	return n, true
}

func (p *Proxy) getHits(w http.ResponseWriter, r *http.Request) {
	n, ok := p.wait(w, r, func() int {
		for _, a := range p.rules {
			if a.ID == r.PathValue("id") {
				return a.hits
			}
		}
		return 0
	})
	if ok {
		reply(w, n)
	}
}

func (p *Proxy) getRequests(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	var found []Request
	_, ok := p.wait(w, r, func() int {
		found = found[:0]
		for _, req := range p.requests {
			if q.Get("route") != "" && req.Route != q.Get("route") || !strings.Contains(req.Body, q.Get("contains")) ||
				!strings.HasPrefix(req.Path, q.Get("path")) || q.Get("done") == "true" && !req.Done {
				continue
			}
			found = append(found, *req)
		}
		return len(found)
	})
	if ok {
		reply(w, found)
	}
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}
