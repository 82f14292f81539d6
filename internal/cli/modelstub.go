package cli

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kubernaut.ai/kubernaut/internal/modelstub"
)

// stubShutdown is how long requests that are being answered may take once the server is asked to end; one that
// plays silence would take minutes.
const stubShutdown = time.Second

func (c *command) modelStub() *cobra.Command {
	var listen string
	var format output
	cmd := &cobra.Command{
		Use:   "model-stub",
		Short: "Play language models over HTTP, good ones and failing ones",
		Long: `Play language models over HTTP, by the protocols of OpenAI and Anthropic, until Ctrl-C or SIGTERM. The name of
the model that a request asks for chooses what is played: good looks around and agrees with the engine,
obedient does what any text of the cluster tells it, and others fail, each in its own way. The same
conversation gets the same answer. No key is needed.`,
		Example: `  kubernaut model-stub
  LLM_PROVIDER=openai LLM_MODEL=good LLM_ENDPOINT=http://127.0.0.1:8190/v1 holmesgpt-api`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.playModels(cmd.Context(), listen, format)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8190", "`address` to listen on; port 0 takes any that is free")
	bindOutput(cmd, &format, "text", "json")
	return cmd
}

// playModels serves until ctx ends, which is how it is meant to end.
func (c *command) playModels(ctx context.Context, listen string, format output) error {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", listen)
	if err != nil {
		return err
	}
	plays := modelstub.Plays()
	// A request outlives ctx by the time that Shutdown gives it, and no longer.
	requests, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	server := &http.Server{
		Handler: modelstub.New(plays).Handler(), ReadHeaderTimeout: 10 * time.Second,
		BaseContext: func(net.Listener) context.Context { return requests },
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	err = c.announcePlays(listener.Addr(), modelstub.Names(plays), format)
	if err == nil {
		select {
		case err = <-served:
			return err
		case <-ctx.Done():
		}
	}
	end, stop := context.WithTimeout(context.WithoutCancel(ctx), stubShutdown)
	defer stop()
	if server.Shutdown(end) != nil { // somebody still waits for an answer
		cancel()
		err = errors.Join(err, server.Close())
	}
	if failed := <-served; !errors.Is(failed, http.ErrServerClosed) {
		err = errors.Join(err, failed)
	}
	return err
}

// announcePlays says what is served, and where.
func (c *command) announcePlays(addr net.Addr, models []string, format output) error {
	base := "http://" + addr.String()
	if format == "json" {
		return printObject(c.Out, format, struct {
			OpenAI    string   `json:"openai"` // base addresses, as a configuration's endpoint
			Anthropic string   `json:"anthropic"`
			Models    []string `json:"models"`
		}{base + "/v1", base, models})
	}
	t := &table{paint: func(_, column int, cell string) string {
		if column == 0 {
			return c.out.dim(cell)
		}
		return cell
	}}
	t.add("OpenAI's protocol", base+"/v1")
	t.add("Anthropic's protocol", base)
	t.add("models", strings.Join(models, " "))
	return t.write(c.Out)
}
