package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

// stub is what a running model-stub says of itself.
type stub struct {
	OpenAI, Anthropic string
	Models            []string
}

// startStub runs the command until the returned function is called, which returns its exit code.
func startStub(t *testing.T) (stub, func() int) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	code := make(chan int, 1)
	var stderr bytes.Buffer
	r, w := io.Pipe()
	go func() {
		code <- Run(ctx, []string{"kubernaut", "model-stub", "--listen", "127.0.0.1:0", "-o", "json"}, Streams{Out: w, Err: &stderr}, func(string) string { return "" })
		w.Close()
	}()
	var s stub
	if err := json.NewDecoder(r).Decode(&s); err != nil {
		stop()
		t.Fatalf("what it announced: %v; code %d, stderr:\n%s", err, <-code, stderr.String())
	}
	go io.Copy(io.Discard, r)
	return s, func() int {
		stop()
		return <-code
	}
}

func TestModelStub(t *testing.T) {
	s, end := startStub(t)
	resp, err := http.Get(s.OpenAI + "/models")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("GET /models: %s, %v", resp.Status, err)
	}
	for _, name := range []string{"good", "obedient", "garbage"} {
		if !slices.Contains(s.Models, name) || !bytes.Contains(body, []byte(`"`+name+`"`)) {
			t.Errorf("%s is not played: announced %v, served %s", name, s.Models, body)
		}
	}
	// An answer that would come in ten minutes does not hold the end up.
	answered := make(chan error, 1)
	sent := make(chan struct{})
	go func() {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.OpenAI+"/chat/completions", told{strings.NewReader(`{"model":"silent","messages":[{"role":"user","content":"hello"}]}`), sync.OnceFunc(func() { close(sent) })})
		if err != nil {
			answered <- err
			return
		}
		resp, err := http.DefaultClient.Do(r)
		if err == nil {
			resp.Body.Close()
		}
		answered <- err
	}()
	<-sent
	if code := end(); code != exitOK {
		t.Errorf("at the end: code %d, want %d", code, exitOK)
	}
	<-answered // with which error depends on how far the request had come
}

// told says when all of it was read.
type told struct {
	io.Reader
	done func()
}

func (r told) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err == io.EOF {
		r.done()
	}
	return n, err
}
