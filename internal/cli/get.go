package cli

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/yaml"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

func (c *command) get() *cobra.Command {
	var where clusterFlags
	var format output
	var all bool
	cmd := &cobra.Command{
		Use:   "get [NAME]",
		Short: "List analyses",
		Example: `  kubernaut get -A
  kubernaut get -n shop -o wide
  kubernaut get oom-kill -n demo -o yaml`,
		Args: arguments(0, 1, "at most one NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if all && len(args) > 0 {
				return &usageError{err: fmt.Errorf("a NAME is looked for in one namespace: leave -A out")}
			}
			cl, err := c.cluster(where)
			if err != nil {
				return err
			}
			api, err := newAnalyses(cl.config)
			if err != nil {
				return err
			}
			if len(args) == 1 {
				one, err := api.get(cmd.Context(), cl.namespace, args[0])
				if err != nil {
					return err
				}
				if format == "json" || format == "yaml" {
					return printObject(c.Out, format, withKind(one))
				}
				return writeAnalyses(c.Out, c.out, []v1alpha1.AIAnalysis{*one}, false, format == "wide", c.clock())
			}
			namespace := cl.namespace
			if all {
				namespace = metav1.NamespaceAll
			}
			list, err := api.list(cmd.Context(), namespace)
			if err != nil {
				return err
			}
			if format == "json" || format == "yaml" {
				for i := range list.Items {
					withKind(&list.Items[i])
				}
				list.APIVersion, list.Kind = v1alpha1.GroupVersion.String(), v1alpha1.Kind+"List"
				return printObject(c.Out, format, list)
			}
			if len(list.Items) == 0 {
				if all {
					fmt.Fprintln(c.Err, "There are no analyses.")
				} else {
					fmt.Fprintf(c.Err, "There are no analyses in namespace %s; -A looks in all.\n", namespace)
				}
				return nil
			}
			return writeAnalyses(c.Out, c.out, list.Items, all, format == "wide", c.clock())
		},
	}
	where.bind(cmd.Flags())
	cmd.Flags().BoolVarP(&all, "all-namespaces", "A", false, "in all namespaces")
	bindOutput(cmd, &format, "table", "wide", "json", "yaml")
	return cmd
}

// withKind fills what decoding leaves empty.
func withKind(a *v1alpha1.AIAnalysis) *v1alpha1.AIAnalysis {
	a.APIVersion, a.Kind = v1alpha1.GroupVersion.String(), v1alpha1.Kind
	return a
}

func printObject(w io.Writer, format output, object any) error {
	var data []byte
	var err error
	if format == "yaml" {
		data, err = yaml.Marshal(object)
	} else {
		data, err = encodeJSON(object)
	}
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}

// writeAnalyses writes one line for each analysis.
func writeAnalyses(w io.Writer, l look, items []v1alpha1.AIAnalysis, namespaces, wide bool, now time.Time) error {
	const phase, approval = 1, 5 // columns, before the namespace is put in front
	shift := 0
	if namespaces {
		shift = 1
	}
	t := &table{paint: func(row, column int, cell string) string {
		switch {
		case row == 0:
			return l.dim(cell)
		case column == phase+shift && cell == string(v1alpha1.PhaseFailed):
			return l.red(cell)
		case column == approval+shift && cell == "person":
			return l.yellow(cell)
		}
		return cell
	}}
	row := func(namespace string, cells []string, more ...string) {
		if namespaces {
			cells = append([]string{namespace}, cells...)
		}
		if wide {
			cells = append(cells, more...)
		}
		t.add(cells...)
	}
	row("NAMESPACE", []string{"NAME", "PHASE", "CAUSE", "WORKFLOW", "CONFIDENCE", "APPROVAL", "AGE"}, "SIGNAL", "TARGET", "REASON")
	for i := range items {
		a := &items[i]
		sc := &a.Spec.AnalysisRequest.SignalContext
		target := v1alpha1.ObjectRef{Kind: sc.TargetResource.Kind, Namespace: sc.TargetResource.Namespace, Name: sc.TargetResource.Name}
		workflow, confidence := workflowOf(a)
		row(a.Namespace, []string{
			a.Name, dash(string(a.Status.Phase)), dash(clean(causeOf(a))), dash(clean(workflow)), dash(confidence), dash(approvalOf(a)),
			duration.HumanDuration(now.Sub(a.CreationTimestamp.Time)),
		}, dash(clean(sc.SignalType)), refText(target), dash(joinNonEmpty("/", clean(a.Status.Reason), string(a.Status.SubReason))))
	}
	return t.write(w)
}

// causeOf names the cause in a word, also when there is none.
func causeOf(a *v1alpha1.AIAnalysis) string {
	if a.Status.CauseClass == "" && a.Status.Reason == v1alpha1.ReasonWorkflowNotNeeded {
		return "healthy"
	}
	return a.Status.CauseClass
}

func workflowOf(a *v1alpha1.AIAnalysis) (title, confidence string) {
	wf := a.Status.SelectedWorkflow
	if wf == nil {
		return "", ""
	}
	title = wf.WorkflowID
	for _, c := range a.Status.Candidates {
		if c.Chosen && c.Title != "" {
			title = c.Title
		}
	}
	return title, strconv.FormatFloat(wf.Confidence, 'f', 2, 64)
}

// approvalOf says who decides: the policy has, a person must, or nobody needs to.
func approvalOf(a *v1alpha1.AIAnalysis) string {
	s := &a.Status
	switch {
	case s.Phase == v1alpha1.PhaseFailed, s.Phase == v1alpha1.PhaseCompleted && s.ApprovalRequired:
		return "person"
	case s.Phase == v1alpha1.PhaseCompleted && s.SelectedWorkflow != nil:
		return "policy"
	}
	return ""
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
