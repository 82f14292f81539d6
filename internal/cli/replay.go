package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"kubernaut.ai/kubernaut/internal/catalog"
	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/dsapi"
	"kubernaut.ai/kubernaut/internal/observe"
	"kubernaut.ai/kubernaut/internal/observe/recorded"
)

// replayFlags say what to replay, and against what.
type replayFlags struct {
	from      string // a Data Storage
	about     string
	namespace string
	asked     asked
	verdict   string // a file
	digest    string // of the verdict
}

func (c *command) replay() *cobra.Command {
	var f replayFlags
	cmd := &cobra.Command{
		Use:   "replay BUNDLE...",
		Short: "Check that a bundle still gives its verdict, and that its evidence holds",
		Long: `Check that a bundle still gives its verdict, byte for byte, and that its evidence holds.

A BUNDLE is what kubernaut collect wrote: its verdict is in it. Of a bundle alone, as Data Storage keeps
it, say what was asked (--about, -n, --signal, --environment), and give the verdict as a file (--verdict) or its digest
(--expect); with neither only the evidence is checked, and the digest of the verdict is printed.

Every piece of evidence is read again from the bundle. The exit code is 1 when anything differs, and the
difference is shown.`,
		Example: `  kubernaut replay checkout.tgz
  kubernaut replay incidents/*.tgz
  kubernaut replay --from http://localhost:8091 sha256:4f76… --about deploy/checkout -n shop`,
		Args: arguments(1, 1<<20, "one BUNDLE or more"),
		RunE: func(cmd *cobra.Command, args []string) error {
			shelf, err := builtinWorkflows()
			if err != nil {
				return err
			}
			failed := false
			for _, arg := range args {
				err := c.replayOne(cmd.Context(), shelf, f, arg)
				var usage *usageError
				switch {
				case errors.As(err, &usage), cmd.Context().Err() != nil:
					return err
				case err != nil:
					failed = true
					fmt.Fprintf(c.Err, "kubernaut: %s: %v\n", arg, err)
				}
			}
			if failed {
				return errReported
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.from, "from", "", "`URL` of a Data Storage to take the bundles from, by their digests")
	flags.StringVar(&f.verdict, "verdict", "", "`file` with the verdict to compare with, as of analyze -o json")
	flags.StringVar(&f.digest, "expect", "", "`digest` of the verdict to compare with, sha256:…")
	flags.StringVar(&f.about, "about", "", "`TYPE/NAME` that was asked about, when the bundle does not say it")
	flags.StringVarP(&f.namespace, "namespace", "n", "", "its `namespace`")
	f.asked.bind(flags)
	cmd.MarkFlagsMutuallyExclusive("verdict", "expect")
	return cmd
}

// replayOne replays one bundle.
func (c *command) replayOne(ctx context.Context, shelf *catalog.Shelf, f replayFlags, arg string) error {
	r, err := c.openReplay(ctx, f, arg)
	if err != nil {
		return err
	}
	doc, err := diagnosed(ctx, shelf, r)
	if err != nil {
		return err
	}
	if err := diagnose.Verify(r.snapshot, doc.Evidence); err != nil {
		return fmt.Errorf("the evidence does not hold: %w", err)
	}
	got, err := encodeJSON(doc)
	if err != nil {
		return err
	}
	digest := observe.Digest(got)
	what := "evidence holds"
	var want []byte
	switch {
	case f.verdict != "":
		if want, err = readFile(f.verdict); err != nil {
			return err
		}
	case f.digest != "":
		if f.digest != digest {
			return fmt.Errorf("the verdict differs: its digest is %s, not %s", digest, f.digest)
		}
		what = "the same verdict, " + what
	case r.stored != nil:
		want = r.stored.verdict
	}
	if want != nil {
		if !bytes.Equal(want, got) {
			return fmt.Errorf("the verdict differs (- as stored, + now):\n%s", lineDiff(string(want), string(got)))
		}
		what = "the same verdict, " + what
	}
	_, err = fmt.Fprintf(c.Out, "%s %s: %s (%s), %s, verdict %s\n", c.out.green("ok "), arg, what, counted(len(doc.Evidence), "piece"), clean(headline(doc)), digest)
	return err
}

// headline is a verdict in a few words.
func headline(d *diagnosis) string {
	if d.Cause != nil {
		return fmt.Sprintf("%s at %s", d.Cause.Class, d.Cause.Target)
	}
	return string(d.Verdict)
}

// fetchTimeout bounds the download of one bundle.
const fetchTimeout = time.Minute

// openReplay reads what is to be replayed.
func (c *command) openReplay(ctx context.Context, f replayFlags, arg string) (*reading, error) {
	var r *reading
	if f.from == "" {
		opened, err := c.openRecording(arg, recorded.Options{})
		if err != nil {
			return nil, err
		}
		r = opened
	} else {
		client, err := dsapi.NewClient(f.from, &http.Client{Timeout: fetchTimeout})
		if err != nil {
			return nil, &usageError{err: err}
		}
		body, err := client.Bundle(ctx, arg)
		if err != nil {
			return nil, err
		}
		snapshot, err := observe.Decode(body)
		if err != nil {
			return nil, err
		}
		r = &reading{snapshot: snapshot, body: body, digest: arg, origin: arg}
	}
	if r.body == nil {
		return nil, errors.New("is no bundle but a recording: kubernaut collect --bundle makes one of it")
	}
	if r.stored != nil {
		if f.about != "" || f.namespace != "" || f.asked.given() {
			return nil, &usageError{err: errors.New("the bundle says what was asked: leave --about, -n, --signal, --alert and --environment out")}
		}
		return r, nil
	}
	var args []string
	if f.about != "" {
		args = []string{f.about}
	}
	s, err := parseSubject(args, f.namespace, false)
	if err != nil {
		return nil, &usageError{err: err}
	}
	f.asked.apply(&r.incident)
	r.incident.Resource, err = s.inSnapshot(r.snapshot)
	return r, err
}
