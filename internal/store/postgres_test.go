package store

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/store/storetest"
)

// wire is the way to a PostgreSQL server. A client that sends the words at which it is cut is cut off.
type wire struct {
	net.Listener
	cut atomic.Pointer[string]
}

// newWire returns a wire to a database, and the connection string by way of it.
func newWire(t *testing.T, dsn string) (*wire, string) {
	t.Helper()
	c, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	w := &wire{Listener: l}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("unix", fmt.Sprintf("%s/.s.PGSQL.%d", c.Host, c.Port))
			if err != nil {
				_ = client.Close()
				continue
			}
			go func() { _, _ = io.Copy(client, server); _ = client.Close() }()
			go w.carry(server, client)
		}
	}()
	at := l.Addr().(*net.TCPAddr)
	return w, fmt.Sprintf("host=%s port=%d user=%s dbname=%s sslmode=disable", at.IP, at.Port, c.User, c.Database)
}

func (w *wire) carry(server, client net.Conn) {
	defer server.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if at := w.cut.Load(); err != nil || at != nil && bytes.Contains(buf[:n], []byte(*at)) {
			return
		}
		if _, err := server.Write(buf[:n]); err != nil {
			return
		}
	}
}

func TestDatabaseThatGoesAwayIsUnavailable(t *testing.T) {
	w, dsn := newWire(t, postgres.Database(t))
	s := openTest(t, Options{Driver: Postgres, DSN: dsn})
	const trail = "the-trail-that-is-written"
	event := storetest.Event(trail, time.Now())
	for _, at := range []string{"", "begin", trail, "commit"} {
		w.cut.Store(&at)
		for name, err := range map[string]error{
			"AppendEvents": func() error { _, err := s.AppendEvents(t.Context(), []incident.AuditEvent{event}); return err }(),
			"Events":       func() error { _, err := s.Events(t.Context(), incident.EventQuery{CorrelationID: trail}); return err }(),
		} {
			if got := incident.KindOf(err); got != incident.KindUnavailable {
				t.Errorf("%s of a client that is cut off at %q = %v of kind %q, want %q", name, at, err, got, incident.KindUnavailable)
			}
		}
		w.cut.Store(nil)
		if _, err := s.AppendEvents(t.Context(), []incident.AuditEvent{event}); err != nil {
			t.Errorf("AppendEvents after clients were cut off at %q = %v", at, err)
		}
	}
	if report, err := s.VerifyChain(t.Context(), trail); err != nil || !report.Valid || report.Events != 1 {
		t.Errorf("VerifyChain = %+v, %v, want the one event", report, err)
	}
}
