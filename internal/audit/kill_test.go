package audit

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"kubernaut.ai/kubernaut/internal/dsapi"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/store"
)

// TestKill kills a process that records events, and a process that stores them, at random moments, and
// then looks whether the store has each event that was confirmed: once, in order, in a chain that
// verifies. Both are real processes; between them is the protocol of Data Storage, with its real server and
// store.
func TestKill(t *testing.T) {
	w := newWorld(t, time.Hour) // each process finds what the one before it left
	kills := killsWanted(120)
	w.startStore()
	p := w.startWriter()
	restart := func() {
		w.killWriter(p)
		p = w.startWriter()
	}
	for w.kills < kills {
		w.live(p)
		switch w.random.IntN(8) {
		case 0:
			w.killStore()
			restart()
			w.live(p)
			w.startStore()
		case 1, 2, 3:
			w.killStore()
			w.startStore()
		case 4: // the store stays away for a while
			w.killStore()
			w.live(p)
			restart()
			w.live(p)
			w.startStore()
		default:
			restart()
		}
	}
	w.killWriter(p)
	w.drain()
	last := make(map[string]int)
	w.check(func(trail string, run, _ int) {
		if run < last[trail] {
			t.Errorf("%s: an event of run %d comes after one of run %d", trail, run, last[trail])
		}
		last[trail] = run
	})
}

// TestKillOneOfSeveral is TestKill of processes that share the directory and adopt from each other what
// a killed one left. The order holds for each.
func TestKillOneOfSeveral(t *testing.T) {
	w := newWorld(t, 20*time.Millisecond)
	kills := killsWanted(60)
	w.startStore()
	writers := []*writerProcess{w.startWriter(), w.startWriter(), nil}
	end := func(i int) {
		if p := writers[i]; p != nil {
			w.killWriter(p)
			writers[i] = nil
		}
	}
	for w.kills < kills {
		for _, p := range writers {
			if p != nil {
				w.live(p)
			}
		}
		away := w.random.IntN(2) == 0
		if away {
			w.killStore()
		}
		for i := range writers {
			if w.random.IntN(2) == 0 {
				end(i)
			}
			if writers[i] == nil && (i == 0 || w.random.IntN(2) == 0) {
				writers[i] = w.startWriter()
			}
		}
		w.live(writers[0])
		if away {
			w.startStore()
		}
	}
	for i := range writers {
		end(i)
	}
	w.drain()
	w.check(func(string, int, int) {})
}

func killsWanted(unlessToldOtherwise int) int {
	if n, err := strconv.Atoi(os.Getenv("AUDIT_TEST_KILLS")); err == nil {
		return n
	}
	return unlessToldOtherwise
}

// killed identifies an event: number i of the goroutine of the writer's run.
type killed struct {
	trail  string
	run, i int
}

func (k killed) event() incident.AuditEvent {
	s := Subject{Actor: ActorController, ResourceID: "a", CorrelationID: k.trail, Key: k.trail}
	return New(s, testTime, InvestigationCall{Attempt: k.i, Status: 200, RequestHash: strconv.Itoa(k.run), Duration: time.Duration(k.run) * time.Millisecond})
}

// id is that of event, but depends on the run as well.
func (k killed) id() string { return EventID(k.trail, strconv.Itoa(k.run), strconv.Itoa(k.i)) }

// world is the processes, and what the writers said that they recorded.
type world struct {
	t      *testing.T
	random *rand.Rand
	dir    string
	look   time.Duration // between looks at what other writers left
	run    int
	kills  int
	store  *exec.Cmd

	mu        sync.Mutex
	confirmed map[killed]bool
}

func newWorld(t *testing.T, look time.Duration) *world {
	if testing.Short() {
		t.Skip("starts and kills hundreds of processes")
	}
	seed := uint64(time.Now().UnixNano())
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	})
	return &world{t: t, random: rand.New(rand.NewPCG(seed, 0)), dir: t.TempDir(), look: look, confirmed: make(map[killed]bool)}
}

type writerProcess struct {
	*exec.Cmd
	run   int
	lines chan struct{} // one for each line read
	done  chan struct{} // closed when all lines are read
}

func (w *world) spoolDir() string { return filepath.Join(w.dir, "spool") }
func (w *world) socket() string   { return filepath.Join(w.dir, "s") }
func (w *world) database() string { return filepath.Join(w.dir, "store.db") }

// live lets a writer confirm a random number of events, or wait for the store, and then goes on for
// a random moment, so that the kill that follows comes at any point of recording and delivering.
func (w *world) live(p *writerProcess) {
	enough := time.After(200 * time.Millisecond)
	for range 1 + w.random.IntN(1<<w.random.IntN(9)) {
		select {
		case <-p.lines:
			continue
		case <-p.done:
			w.t.Fatalf("run %d of the writer ended by itself", p.run)
		case <-enough:
		}
		break
	}
	<-time.After(time.Duration(w.random.Int64N(int64(10 * time.Millisecond))))
}

func (w *world) killStore() {
	w.kill(w.store)
	_ = w.store.Wait()
}

// killWriter returns when all is read that the writer said.
func (w *world) killWriter(p *writerProcess) {
	w.kill(p.Cmd)
	<-p.done
	_ = p.Wait()
}

func (w *world) kill(p *exec.Cmd) {
	if err := p.Process.Kill(); err != nil {
		w.t.Fatal(err)
	}
	w.kills++
}

func (w *world) startStore() {
	w.store = child(w.t, "store", w.database(), w.socket())
	stdout, err := w.store.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.store.Start(); err != nil {
		w.t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		w.t.Fatalf("the store says %q, %v", line, err)
	}
}

func (w *world) startWriter() *writerProcess {
	w.run++
	p := &writerProcess{
		run:   w.run,
		Cmd:   child(w.t, "writer", w.spoolDir(), w.socket(), strconv.Itoa(w.run), w.look.String()),
		lines: make(chan struct{}, 1<<20),
		done:  make(chan struct{}),
	}
	stdout, err := p.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		for r := bufio.NewReader(stdout); ; {
			line, err := r.ReadString('\n')
			if err != nil {
				return // with half a line, which confirms nothing
			}
			var k killed
			if n, _ := fmt.Sscan(line, &k.trail, &k.run, &k.i); n != 3 {
				w.t.Errorf("the writer says %q", line)
				return
			}
			w.mu.Lock()
			w.confirmed[k] = true
			w.mu.Unlock()
			p.lines <- struct{}{}
		}
	}()
	return p
}

// drain delivers what is left, and ends the store.
func (w *world) drain() {
	if out, err := child(w.t, "drain", w.spoolDir(), w.socket()).Output(); err != nil {
		w.t.Fatalf("the last writer: %v\n%s", err, out)
	}
	w.killStore()
	if got := tree(w.t, w.spoolDir(), 0); len(slices.DeleteFunc(got, func(name string) bool { return strings.Contains(name, "/") })) != 2 {
		w.t.Errorf("the guard and one process's directory should be left, not %v", got)
	}
}

// check reads the store, after everybody is dead, and calls visit for each event of a trail in order.
func (w *world) check(visit func(trail string, run, number int)) {
	s, err := store.Open(background, store.Options{Driver: store.SQLite, Path: w.database()})
	if err != nil {
		w.t.Fatal(err)
	}
	defer s.Close()
	stored, extra := make(map[string]bool), 0
	for _, trail := range killTrails {
		report, err := s.VerifyChain(background, trail)
		if err != nil || !report.Valid {
			w.t.Errorf("chain of %s: %+v, %v", trail, report, err)
		}
		var events []incident.StoredEvent
		for {
			page, err := s.Events(background, incident.EventQuery{CorrelationID: trail, Limit: 1000, Offset: len(events)})
			if err != nil {
				w.t.Fatal(err)
			}
			events = append(events, page.Events...)
			if !page.HasMore() {
				break
			}
		}
		if int64(len(events)) != report.Events {
			w.t.Errorf("%s: %d events read, %d in the chain", trail, len(events), report.Events)
		}
		slices.SortFunc(events, func(a, b incident.StoredEvent) int { return cmp.Compare(a.Sequence, b.Sequence) })
		last := make(map[int]int) // number, by run
		for _, e := range events {
			if stored[e.ID] {
				w.t.Errorf("event %s is there twice", e.ID)
			}
			stored[e.ID] = true
			var data struct {
				Number int    `json:"attempt"`
				Run    string `json:"request_hash"`
			}
			if err := json.Unmarshal(e.Data, &data); err != nil {
				w.t.Fatal(err)
			}
			run, _ := strconv.Atoi(data.Run)
			if !w.confirmed[killed{trail, run, data.Number}] {
				extra++
			}
			if data.Number <= last[run] {
				w.t.Errorf("%s: number %d of run %d comes after %d", trail, data.Number, run, last[run])
			}
			last[run] = data.Number
			visit(trail, run, data.Number)
		}
	}
	for k := range w.confirmed {
		if !stored[k.id()] {
			w.t.Errorf("lost: %+v", k)
		}
	}
	if _, err := os.Stat(filepath.Join(w.spoolDir(), rejectedName)); !errors.Is(err, os.ErrNotExist) {
		w.t.Errorf("events were rejected: %v", err)
	}
	if len(w.confirmed) < 5*w.kills {
		w.t.Errorf("only %d events were confirmed in %d runs", len(w.confirmed), w.run)
	}
	w.t.Logf("%d kills in %d runs; %d events confirmed, %d stored, of which %d were not confirmed",
		w.kills, w.run, len(w.confirmed), len(stored), extra)
}

var killTrails = []string{"t0", "t1", "t2", "t3", "t4", "t5"}

// writeUntilKilled is the role "writer": it records events, some alone, some together, some again, and
// says which are confirmed.
func writeUntilKilled() int {
	run, _ := strconv.Atoi(os.Args[3])
	look, _ := time.ParseDuration(os.Args[4])
	c, err := Open(Options{
		Dir: os.Args[1], Sink: newStoreClient(os.Args[2]), Service: "test", SegmentBytes: 20_000,
		MaxBackoff: 200 * time.Millisecond, MaxEvents: 3000, LookInterval: look,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var wg sync.WaitGroup
	for _, trail := range killTrails {
		wg.Go(func() {
			for i := 1; ; {
				var events []incident.AuditEvent
				var lines []byte
				for range 1 + rand.IntN(3) {
					k := killed{trail, run, i}
					e := k.event()
					e.ID = k.id()
					events = append(events, e)
					lines = fmt.Appendf(lines, "%s %d %d\n", trail, run, i)
					i++
				}
				if rand.IntN(10) == 0 { // a caller that does not know whether it did this already
					events = append(events, events[len(events)-1])
				}
				if err := c.RecordAll(background, events...); err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				_, _ = os.Stdout.Write(lines)
				if rand.IntN(5) == 0 {
					_ = c.Delivered(background, trail)
				}
			}
		})
	}
	wg.Wait()
	return 0
}

// drain is the role "drain": it delivers what is left.
func drain() int {
	c, err := Open(Options{Dir: os.Args[1], Sink: newStoreClient(os.Args[2]), Service: "test"})
	if err == nil {
		ctx, cancel := context.WithTimeout(background, time.Minute)
		defer cancel()
		err = errors.Join(c.Flush(ctx), c.Close(ctx))
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// serveStore is the role "store".
func serveStore() int {
	s, err := store.Open(background, store.Options{Driver: store.SQLite, Path: os.Args[1]})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	_ = os.Remove(os.Args[2])
	l, err := net.Listen("unix", os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	api, err := dsapi.NewServer(dsapi.Options{Store: s})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("ready")
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: api}
	fmt.Fprintln(os.Stderr, server.Serve(l))
	return 1
}

// newStoreClient returns a client of the store that listens on a socket.
func newStoreClient(socket string) *dsapi.Client {
	var d net.Dialer
	c, err := dsapi.NewClient("http://store", &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", socket) },
	}})
	if err != nil {
		panic(err) // the URL above is wrong
	}
	return c
}
