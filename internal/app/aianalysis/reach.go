package aianalysis

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"k8s.io/client-go/rest"
)

// How long a start waits for a way to the API server, which the startup probe that ships bears with, and how long from one attempt to
// the next.
const (
	reachPatience = 40 * time.Second
	reachPause    = 250 * time.Millisecond
)

// awaitServer waits until a connection to the API server is made, at most for patience; any other failure, and whatever
// the server says, is for the first call to report. After a restart of its node a pod runs before the way to Services is
// there, and a process that ends for it is started again much later.
func awaitServer(ctx context.Context, c *rest.Config, patience time.Duration, log *slog.Logger) error {
	client, err := rest.HTTPClientFor(c)
	if err != nil {
		return err
	}
	server, _, err := rest.DefaultServerUrlFor(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	pause := time.NewTicker(reachPause)
	defer pause.Stop()
	var last error
	for {
		err := connect(ctx, client, server.String())
		if ctx.Err() != nil {
			return errors.Join(context.Cause(ctx), last)
		}
		var dial *net.OpError
		if !errors.As(err, &dial) || dial.Op != "dial" {
			return nil
		}
		if last == nil {
			log.Warn("the API server cannot be reached yet", "server", server.String(), "error", err)
		}
		last = err
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
	}
}

// connect asks a server for something small.
func connect(ctx context.Context, client *http.Client, server string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, server+"/version", http.NoBody)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
