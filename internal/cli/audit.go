package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/dsapi"
	"kubernaut.ai/kubernaut/internal/incident"
)

func (c *command) audit() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Look after the audit trail",
		Args:  arguments(0, 0, ""),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.auditVerify())
	return cmd
}

// verdict is one checked chain.
type verdict struct {
	Analysis      string `json:"analysis,omitempty"` // namespace/name
	CorrelationID string `json:"correlationId"`
	Valid         bool   `json:"valid"`
	Events        int64  `json:"events"`
	Head          string `json:"head,omitempty"`
	BrokenAt      int64  `json:"brokenAt,omitempty"`
	Problem       string `json:"problem,omitempty"`
}

func (c *command) auditVerify() *cobra.Command {
	var where clusterFlags
	var format output
	var url string
	var all bool
	cmd := &cobra.Command{
		Use:   "verify [NAME | CORRELATION-ID]...",
		Short: "Check that the audit trail was not tampered with",
		Long: `Check that the audit trail was not tampered with.

Data Storage recomputes the hash chain of every event that belongs to an analysis, given by its name
or by its correlation id; without arguments, of all analyses in the namespace that have begun, or with
-A in all. The head hash can be noted elsewhere and compared later. The exit code is 1 when a chain is
broken or missing.

Data Storage is found through the running kubernaut up, or through the API server's proxy to the
Service datastorage in namespace kubernaut-system, or is named by --datastorage-url.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			var cl *cluster
			if url == "" || len(args) == 0 || slices.ContainsFunc(args, func(a string) bool { return !incident.ValidUUID(a) }) {
				var err error
				if cl, err = c.cluster(where); err != nil && (url == "" || len(args) == 0) {
					return err
				}
			}
			storage, err := c.dataStorage(url, cl)
			if err != nil {
				return err
			}
			verdicts, err := chainsToVerify(ctx, cl, args, all)
			if err != nil {
				return err
			}
			broken := 0
			for i := range verdicts {
				if err := verifyChain(ctx, storage, &verdicts[i]); err != nil {
					return err
				}
				if !verdicts[i].Valid {
					broken++
				}
			}
			if format == "json" {
				if err := printObject(c.Out, format, verdicts); err != nil {
					return err
				}
			} else if err := c.writeVerdicts(verdicts); err != nil {
				return err
			}
			if broken > 0 {
				return errReported
			}
			return nil
		},
	}
	where.bind(cmd.Flags())
	cmd.Flags().BoolVarP(&all, "all-namespaces", "A", false, "the analyses of all namespaces")
	cmd.Flags().StringVar(&url, "datastorage-url", "", "`URL` of Data Storage")
	bindOutput(cmd, &format, "table", "json")
	return cmd
}

// chainsToVerify resolves the arguments. What names no analysis is taken for a correlation id.
func chainsToVerify(ctx context.Context, cl *cluster, args []string, all bool) ([]verdict, error) {
	var list []verdict
	if cl != nil {
		api, err := newAnalyses(cl.config)
		if err != nil {
			return nil, err
		}
		namespace := cl.namespace
		if all {
			namespace = ""
		}
		found, err := api.list(ctx, namespace)
		if err != nil {
			return nil, err
		}
		for i := range found.Items {
			a := &found.Items[i]
			begun := a.Status.Phase != "" && a.Status.Phase != v1alpha1.PhasePending // before that there are no events
			if len(args) == 0 && begun || slices.Contains(args, a.Name) {
				list = append(list, verdict{Analysis: a.Namespace + "/" + a.Name, CorrelationID: a.Spec.RemediationID})
			}
		}
		if len(args) == 0 && len(list) == 0 {
			return nil, fmt.Errorf("no analysis has begun in %s", cmp.Or(namespace, "any namespace"))
		}
	}
	for _, arg := range args {
		named := func(v verdict) bool { _, name, _ := strings.Cut(v.Analysis, "/"); return name == arg }
		if !slices.ContainsFunc(list, named) {
			list = append(list, verdict{CorrelationID: arg})
		}
	}
	return list, nil
}

func verifyChain(ctx context.Context, storage *dsapi.Client, v *verdict) error {
	report, err := storage.VerifyChain(ctx, v.CorrelationID)
	if incident.KindOf(err) == incident.KindNotFound {
		v.Problem = "the audit trail has no event of this correlation id"
		return nil
	}
	if err != nil {
		return fmt.Errorf("verify the audit trail of %s: %w", v.CorrelationID, err)
	}
	v.Valid, v.Events, v.Head, v.BrokenAt, v.Problem = report.Valid, report.Events, report.Head, report.BrokenAt, report.Problem
	return nil
}

func (c *command) writeVerdicts(verdicts []verdict) error {
	t := &table{paint: func(row, column int, cell string) string {
		switch {
		case row == 0:
			return c.out.dim(cell)
		case column == 2 && cell == "verified":
			return c.out.green(cell)
		case column == 2:
			return c.out.red(cell)
		}
		return cell
	}}
	t.add("ANALYSIS", "CORRELATION", "CHAIN", "EVENTS", "HEAD")
	for _, v := range verdicts {
		state, end := "verified", v.Head
		switch {
		case !v.Valid && v.Events == 0:
			state, end = "MISSING", clean(v.Problem)
		case !v.Valid:
			state, end = "BROKEN", fmt.Sprintf("at event %d: %s", v.BrokenAt, clean(v.Problem))
		}
		t.add(dash(v.Analysis), clean(v.CorrelationID), state, fmt.Sprint(v.Events), end)
	}
	return t.write(c.Out)
}

// dataStorage returns a client of Data Storage: at url, else of the kubernaut up that serves the
// cluster, else through the API server's proxy.
func (c *command) dataStorage(url string, cl *cluster) (*dsapi.Client, error) {
	if url != "" {
		return dsapi.NewClient(url, nil)
	}
	if cl.running != nil {
		return dsapi.NewClient(cl.running.DataStorage, nil)
	}
	hc, err := rest.HTTPClientFor(cl.config)
	if err != nil {
		return nil, err
	}
	hc.Timeout = 30 * time.Second
	base, _, err := rest.DefaultServerUrlFor(cl.config)
	if err != nil {
		return nil, err
	}
	return dsapi.NewClient(base.JoinPath("/api/v1/namespaces/kubernaut-system/services/http:datastorage:8080/proxy").String(), hc)
}
