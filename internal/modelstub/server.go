package modelstub

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/internal/reason"
)

// Conversation is what a client sent, whichever protocol it speaks.
type Conversation struct {
	Model    string
	System   string
	Messages []reason.Message
	Tools    []reason.Definition
	// Only is the one tool that must be called; empty when the model is free.
	Only      string
	MaxOutput int
}

// Turn counts the answers that the conversation holds already, and one.
func (c Conversation) Turn() int {
	n := 1
	for _, m := range c.Messages {
		if m.Role == reason.RoleModel {
			n++
		}
	}
	return n
}

// Reply is what a play answers: text and calls, or a fault.
type Reply struct {
	Text  string        `json:"text,omitempty"`
	Calls []reason.Call `json:"calls,omitempty"`
	// Delay passes before the answer; it ends when the client goes away.
	Delay time.Duration `json:"delay,omitempty"`
	// Status other than 0 and 200 is an error of the vendor's kind, with RetryAfter if that is not 0.
	Status     int           `json:"status,omitempty"`
	RetryAfter time.Duration `json:"retryAfter,omitempty"`
	// Raw is sent instead of an answer in the protocol's form.
	Raw string `json:"raw,omitempty"`
	// CutAfter ends the connection after so many bytes of the answer; 0 sends all of it.
	CutAfter int `json:"cutAfter,omitempty"`
	// Refuses marks the answer as a refusal.
	Refuses bool `json:"refuses,omitempty"`
	// Uncounted leaves the usage out.
	Uncounted bool `json:"uncounted,omitempty"`
}

// Play is a model.
type Play func(c Conversation) Reply

// Server plays models. It is safe for concurrent use.
type Server struct {
	plays map[string]Play
}

// New makes a Server of plays by model name.
func New(plays map[string]Play) *Server { return &Server{plays} }

// Handler serves POST …/chat/completions, POST …/messages, GET …/models and GET /healthz.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/chat/completions", s.openai)
	mux.HandleFunc("POST /openai/deployments/{deployment}/chat/completions", s.openai)
	mux.HandleFunc("POST /v1/messages", s.anthropic)
	mux.HandleFunc("GET /v1/models", s.models)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	return mux
}

// maxRequest bounds a request, in bytes.
const maxRequest = 16 << 20

// protocol is how one vendor writes requests, answers and errors.
type protocol interface {
	read(body []byte) (Conversation, error)
	answer(c Conversation, r Reply) any
	fault(status int, message string) any
}

func (s *Server) openai(w http.ResponseWriter, r *http.Request)    { s.serve(w, r, openaiWire{}) }
func (s *Server) anthropic(w http.ResponseWriter, r *http.Request) { s.serve(w, r, anthropicWire{}) }

func (s *Server) serve(w http.ResponseWriter, r *http.Request, p protocol) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		send(w, http.StatusRequestEntityTooLarge, p.fault(http.StatusRequestEntityTooLarge, err.Error()), 0)
		return
	}
	c, err := p.read(body)
	if err != nil {
		send(w, http.StatusBadRequest, p.fault(http.StatusBadRequest, err.Error()), 0)
		return
	}
	if d := r.PathValue("deployment"); d != "" {
		c.Model = d
	}
	play, ok := s.plays[c.Model]
	if !ok {
		send(w, http.StatusNotFound, p.fault(http.StatusNotFound, "model "+strconv.Quote(c.Model)+" is not played here; GET /v1/models lists those that are"), 0)
		return
	}
	reply := play(c)
	if !pause(r.Context(), reply.Delay) {
		return
	}
	switch {
	case reply.Status != 0 && reply.Status != http.StatusOK:
		if reply.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.FormatFloat(reply.RetryAfter.Seconds(), 'f', -1, 64))
		}
		send(w, reply.Status, p.fault(reply.Status, "played fault"), 0)
	case reply.Raw != "":
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, reply.Raw) // the client may be gone
	default:
		send(w, http.StatusOK, p.answer(c, reply), reply.CutAfter)
	}
}

// pause waits, and reports whether the client is still there.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// send writes JSON. cut other than 0 promises all of it and ends the connection after so many bytes.
func send(w http.ResponseWriter, status int, value any, cut int) {
	text, err := json.Marshal(value)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	if cut > 0 && cut < len(text) {
		_, _ = w.Write(text[:cut])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(text) // the client may be gone
}

func (s *Server) models(w http.ResponseWriter, _ *http.Request) {
	type entry struct {
		ID     string `json:"id"`
		Object string `json:"object"`
	}
	list := []entry{}
	for _, name := range Names(s.plays) {
		list = append(list, entry{name, "model"})
	}
	send(w, http.StatusOK, map[string]any{"object": "list", "data": list}, 0)
}

// usage counts a conversation and a reply.
func usage(c Conversation, r Reply) (input, output int) {
	var b strings.Builder
	b.WriteString(c.System)
	for _, t := range c.Tools {
		b.WriteString(t.Name + " " + t.Description + string(t.Schema))
	}
	for _, m := range c.Messages {
		b.WriteString(m.Text)
		for _, k := range m.Calls {
			b.WriteString(k.Name + string(k.Arguments))
		}
		for _, k := range m.Results {
			b.WriteString(k.Content)
		}
	}
	var said strings.Builder
	said.WriteString(r.Text)
	for _, k := range r.Calls {
		said.WriteString(" " + k.Name + string(k.Arguments))
	}
	return reason.CountTokens(b.String()), reason.CountTokens(said.String())
}
