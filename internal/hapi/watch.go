package hapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"kubernaut.ai/kubernaut/internal/hapi/wire"
)

const (
	// sendTimeout is how long a reader may take for what was sent to it; it comes again and resumes.
	sendTimeout = 10 * time.Second
	// heartbeat keeps proxies from taking a quiet stream for a dead one.
	heartbeat = 15 * time.Second
	// reconnectMS is what a reader is asked to wait before it comes again.
	reconnectMS = 1000
)

// WatchInvestigation is GET /api/v1/investigations/{key}/events.
func (s *Server) WatchInvestigation(ctx context.Context, req wire.WatchInvestigationRequestObject) (wire.WatchInvestigationResponseObject, error) {
	c := s.o.Board.course(req.Key)
	if c == nil {
		return nil, errNoInvestigation
	}
	seen := 0
	if req.Params.LastEventID != nil {
		seen = *req.Params.LastEventID
	}
	return stream{ctx: ctx, board: s.o.Board, course: c, seen: seen}, nil
}

// errNoInvestigation says that nothing runs under a key.
var errNoInvestigation = errors.New("no investigation runs under this key, and none ended lately")

// stream sends the steps of an investigation as they come, until it ends or the reader goes away.
type stream struct {
	ctx    context.Context
	board  *Board
	course *course
	seen   int // number of the last step that the reader has
}

// VisitWatchInvestigationResponse implements wire.WatchInvestigationResponseObject.
func (s stream) VisitWatchInvestigationResponse(w http.ResponseWriter) error {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // proxies would hold it back
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	out := http.NewResponseController(w)
	send := func(text []byte) error {
		// The deadline of the server is for answers; a stream lasts as long as its investigation. Where there is none
		// to set, as in a recorder, writing does not block either.
		_ = out.SetWriteDeadline(time.Now().Add(sendTimeout))
		if _, err := w.Write(text); err != nil {
			return errCallerGone
		}
		if out.Flush() != nil {
			return errCallerGone
		}
		return nil
	}
	if err := send(fmt.Appendf(nil, "retry: %d\n\n", reconnectMS)); err != nil {
		return err
	}
	quiet := time.NewTicker(heartbeat)
	defer quiet.Stop()
	for {
		steps, ended, changed := s.board.after(s.course, s.seen)
		if len(steps) > 0 {
			var text bytes.Buffer
			for _, one := range steps {
				fmt.Fprintf(&text, "id: %d\nevent: %s\ndata: %s\n\n", one.number, one.name, one.data)
			}
			if err := send(text.Bytes()); err != nil {
				return err
			}
			s.seen = steps[len(steps)-1].number
		}
		if ended {
			return nil
		}
		select {
		case <-changed:
		case <-quiet.C:
			if err := send([]byte(": still running\n\n")); err != nil {
				return err
			}
		case <-s.ctx.Done():
			return errCallerGone
		}
	}
}
