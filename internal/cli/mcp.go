package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"kubernaut.ai/kubernaut/internal/catalog"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/investigate"
	"kubernaut.ai/kubernaut/internal/mcp"
	"kubernaut.ai/kubernaut/internal/reason"
	"kubernaut.ai/kubernaut/internal/reason/tools"
)

// mcpFlags say what is served, and how.
type mcpFlags struct {
	cluster     clusterFlags
	bundle      string
	collectedAt string
	prometheus  string
	http        string
	tokenFile   string
	hosts       []string
}

func (c *command) mcp() *cobra.Command {
	var f mcpFlags
	cmd := &cobra.Command{
		Use:   "mcp",
		Short: "Let any agent ask: serve analyze and read-only tools over the Model Context Protocol",
		Long: `Let any agent ask: serve analyze and read-only tools over the Model Context Protocol.

It reads a cluster with the rights of your kubeconfig, or a recording (--bundle), and changes nothing. Every
call of analyze reads the cluster anew; the other tools read what the last one saw. Results are bounded and
redacted, and each value has an evidence id.

It speaks on standard input and output, as agents expect that start it, and logs to standard error; with
--http over streamable HTTP at /mcp. An address that other machines can reach needs a --token-file.`,
		Example: `  kubernaut mcp
  kubernaut mcp --context production -n shop
  kubernaut mcp --bundle must-gather/
  kubernaut mcp --http 127.0.0.1:8765`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.serveTools(cmd.Context(), f) },
	}
	flags := cmd.Flags()
	f.cluster.bind(flags)
	c.completeFlags(cmd, &f.cluster)
	flags.StringVar(&f.bundle, "bundle", "", "serve a recording instead of a cluster: a `path`")
	flags.StringVar(&f.collectedAt, "collected-at", "", "the `time` of a recording whose text does not tell it (2026-03-02T12:00:00Z)")
	flags.StringVar(&f.prometheus, "prometheus", "", "the `URL` of a Prometheus, to be asked about the Pods that are not well")
	flags.StringVar(&f.http, "http", "", "serve HTTP at this `address` instead of standard input and output")
	flags.StringVar(&f.tokenFile, "token-file", "", "`file` with the token that HTTP clients must bear")
	flags.StringSliceVar(&f.hosts, "host", nil, "a `name` by which HTTP clients may call this server, beside localhost and addresses")
	return cmd
}

func (c *command) serveTools(ctx context.Context, f mcpFlags) error {
	access, err := f.access()
	if err != nil {
		return err
	}
	shelf, err := builtinWorkflows()
	if err != nil {
		return err
	}
	source, err := c.newCaseSource(f, shelf)
	if err != nil {
		return err
	}
	registry, err := tools.All()
	if err != nil {
		return err
	}
	server, err := mcp.New(mcp.Options{
		Registry: registry, Source: source, Catalog: shelf, Version: buildVersion(),
		Logger: slog.New(slog.NewTextHandler(c.Err, nil)),
	})
	if err != nil {
		return err
	}
	if f.http == "" {
		return server.Serve(ctx, c.In, c.Out)
	}
	return server.ListenAndServe(ctx, f.http, access, func(at net.Addr) {
		fmt.Fprintf(c.Out, "serving http://%s%s\n", at, mcp.Path)
	})
}

// access is who may come in over HTTP.
func (f mcpFlags) access() (mcp.Access, error) {
	a := mcp.Access{Hosts: f.hosts}
	switch {
	case f.http == "" && (f.tokenFile != "" || len(f.hosts) > 0):
		return a, &usageError{err: errors.New("--token-file and --host are for HTTP: give --http as well")}
	case f.bundle == "-":
		return a, &usageError{err: errors.New("--bundle takes a path here: standard input is the client's")}
	case f.bundle == "" && f.collectedAt != "":
		return a, &usageError{err: errors.New("--collected-at is for recordings: give --bundle as well")}
	case f.bundle != "" && f.prometheus != "":
		return a, &usageError{err: errors.New("--prometheus is for clusters: leave it or --bundle out")}
	case f.tokenFile == "":
		return a, nil
	}
	text, err := os.ReadFile(f.tokenFile)
	if err != nil {
		return a, fmt.Errorf("--token-file: %w", err)
	}
	if a.Token = strings.TrimSpace(string(text)); a.Token == "" {
		return a, &usageError{err: fmt.Errorf("--token-file %s is empty", f.tokenFile)}
	}
	return a, nil
}

// caseSource reads cases for mcp as analyze does.
type caseSource struct {
	c         *command // it says nothing: what there is to say is in the result
	f         mcpFlags
	shelf     *catalog.Shelf
	recording *reading // nil for a cluster
}

// newCaseSource errs when the recording cannot be read, or when there is no cluster to be found.
func (c *command) newCaseSource(f mcpFlags, shelf *catalog.Shelf) (*caseSource, error) {
	quiet := *c
	quiet.Err, quiet.err = io.Discard, look{}
	s := &caseSource{c: &quiet, f: f, shelf: shelf}
	if f.bundle == "" {
		_, err := quiet.cluster(f.cluster)
		return s, err
	}
	r, err := quiet.readBundle(f.subject(mcp.Question{}))
	s.recording = r
	return s, err
}

// subject is what the command line of analyze would be for a question.
func (f mcpFlags) subject(q mcp.Question) subjectFlags {
	out := subjectFlags{
		cluster: f.cluster, all: q.AllNamespaces, bundle: f.bundle, collectedAt: f.collectedAt, prometheus: f.prometheus,
		asked: asked{alert: q.Alert, signal: q.Signal, environment: q.Environment},
	}
	if q.Namespace != "" || q.AllNamespaces {
		out.cluster.namespace = q.Namespace
	}
	return out
}

// Read answers a question of a client.
func (s *caseSource) Read(ctx context.Context, q mcp.Question) (mcp.Reading, error) {
	f := s.f.subject(q)
	var args []string
	if q.Target != "" {
		args = []string{q.Target}
	}
	r, err := s.open(ctx, f, args)
	if usage, ok := errors.AsType[*usageError](err); ok {
		return mcp.Reading{}, incident.Errorf(incident.KindInvalid, "analyze", "%w", usage)
	}
	if err != nil {
		return mcp.Reading{}, err
	}
	in := r.incident
	result, err := investigate.Diagnose(r.snapshot, in)
	if err != nil {
		return mcp.Reading{}, err
	}
	choice, err := investigate.Choose(ctx, s.shelf, r.snapshot, result, &in, r.snapshot.ObservedAt())
	if err != nil {
		return mcp.Reading{}, err
	}
	out := mcp.Reading{
		Case:   reason.Case{Incident: in, Snapshot: r.snapshot, Result: result, Candidates: choice.Candidates},
		Digest: r.digest, ManagedBy: managedBy(in),
	}
	for _, o := range choice.Options {
		out.Case.Options = append(out.Case.Options, reason.Option{Workflow: o.Selected, Risk: o.Risk, MadeFor: o.MadeFor})
	}
	if near := nearNames(r.snapshot, in.Resource); len(near) > 0 {
		out.Notes = append(out.Notes, fmt.Sprintf("There is no %s; perhaps %s is meant.", in.Resource, strings.Join(near, " or ")))
	}
	return out, nil
}

// open reads the cluster, or takes another look at the recording.
func (s *caseSource) open(ctx context.Context, f subjectFlags, args []string) (*reading, error) {
	if s.recording == nil {
		return s.c.read(ctx, f, args)
	}
	subject, err := parseSubject(args, f.cluster.namespace, f.all)
	if err != nil {
		return nil, &usageError{err: err}
	}
	again := *s.recording
	if err := again.ask(subject); err != nil {
		return nil, err
	}
	f.apply(&again.incident)
	return &again, nil
}
