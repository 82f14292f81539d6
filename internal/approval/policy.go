package approval

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/topdown"

	"kubernaut.ai/kubernaut/internal/incident"
)

// PolicyName is the package that a policy must declare, and the name under which its decisions are
// recorded.
const PolicyName = "aianalysis.approval"

const (
	requireApproval = "require_approval"

	maxReasonBytes = 1024
	maxRules       = 32
	maxRuleBytes   = 128
)

// query asks for four rules of the policy by name. A rule that is undefined leaves its list empty,
// so the query itself always has one result, and helper rules that nobody asks for are not run.
const query = `[
	[x | x := data.aianalysis.approval.require_approval],
	[x | x := data.aianalysis.approval.reason],
	[x | x := data.aianalysis.approval.matched_rules],
	[x | x := data.aianalysis.approval.rule],
]`

// policy is a compiled policy. It does not change and may be used by many goroutines at once.
type policy struct {
	file     string
	hash     string
	module   *ast.Module
	prepared rego.PreparedEvalQuery
}

// hashOf returns the lower-case hex SHA-256 of a policy's text.
func hashOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// compile parses, compiles and self-tests a policy. Every error is a *PolicyError, unless ctx ended.
func compile(ctx context.Context, file string, text []byte, timeout time.Duration) (*policy, error) {
	capabilities := ast.CapabilitiesForThisVersion()
	capabilities.AllowNet = []string{}
	capabilities.Builtins = slices.DeleteFunc(capabilities.Builtins, func(b *ast.Builtin) bool {
		return reachesOutside(b.Name)
	})
	module, err := ast.ParseModuleWithOpts(file, string(text), ast.ParserOptions{
		RegoVersion:  ast.RegoV1,
		Capabilities: capabilities,
	})
	if err != nil {
		return nil, syntaxError(file, nil, err)
	}
	if got, want := module.Package.Path.String(), "data."+PolicyName; got != want {
		return nil, &PolicyError{
			Refusal: WrongName, File: file, Line: module.Package.Location.Row,
			Err: fmt.Errorf("declares %s; it must declare package %s", module.Package, PolicyName),
		}
	}
	if !slices.ContainsFunc(module.Rules, func(r *ast.Rule) bool {
		return r.Head.Ref().String() == requireApproval
	}) {
		return nil, &PolicyError{
			Refusal: MissingRule, File: file, Rule: requireApproval,
			Err: fmt.Errorf("is not there; add \"default %s := true\" and the conditions under which it is false", requireApproval),
		}
	}
	schemas := ast.NewSchemaSet()
	var schema any
	if err := json.Unmarshal([]byte(inputSchema), &schema); err != nil {
		return nil, &PolicyError{Refusal: Syntax, File: file, Err: fmt.Errorf("read the schema of the input: %w", err)}
	}
	schemas.Put(ast.SchemaRootRef, schema)
	prepared, err := rego.New(
		rego.SetRegoVersion(ast.RegoV1),
		rego.Query(query),
		rego.ParsedModule(module),
		rego.Capabilities(capabilities),
		rego.Schemas(schemas),
		rego.StrictBuiltinErrors(true),
		rego.GenerateJSON(func(t *ast.Term, _ *rego.EvalContext) (any, error) { return t, nil }),
	).PrepareForEval(ctx)
	if err != nil {
		return nil, syntaxError(file, module, err)
	}
	p := &policy{file: file, hash: hashOf(text), module: module, prepared: prepared}
	if err := p.selfTest(ctx, timeout); err != nil {
		return nil, err
	}
	return p, nil
}

// reachesOutside reports whether a built-in function reads what is not in the input: the network or
// the process's environment.
func reachesOutside(name string) bool {
	return name == "http.send" || name == "opa.runtime" || strings.HasPrefix(name, "net.lookup_")
}

// syntaxError translates an error of the parser or the compiler. module is nil when there is none
// yet.
func syntaxError(file string, module *ast.Module, err error) error {
	e := &PolicyError{Refusal: Syntax, File: file, Err: err}
	var list ast.Errors
	var one *ast.Error
	switch {
	case errors.As(err, &list) && len(list) > 0:
		one = list[0]
	case errors.As(err, &one):
	default:
		e.Err = fmt.Errorf("%w; a policy declares package %s and the rule %s", err, PolicyName, requireApproval)
		return e
	}
	if one.Location != nil {
		e.Line = one.Location.Row
		e.Rule = ruleAt(module, e.Line)
	}
	message := one.Message
	if one.Details != nil {
		message += "\n\t" + strings.Join(one.Details.Lines(), "\n\t")
	}
	if name, ok := strings.CutPrefix(one.Message, "undefined function "); ok && reachesOutside(name) {
		message = name + " is not available: a policy decides on its input alone"
	}
	if more := len(list) - 1; more > 0 {
		message += fmt.Sprintf(" (and %d more)", more)
	}
	e.Err = errors.New(message)
	return e
}

// ruleAt returns the name of the rule that a line belongs to, or "".
func ruleAt(module *ast.Module, line int) string {
	if module == nil {
		return ""
	}
	name := ""
	for _, r := range module.Rules {
		if r.Location == nil || r.Location.Row > line {
			break
		}
		name = r.Head.Ref().String()
	}
	return name
}

// failure translates an error of the evaluation to one line of text, and the line of the policy at
// which it arose or 0.
func failure(err error) (message string, line int) {
	message = err.Error()
	if e := (*topdown.Error)(nil); errors.As(err, &e) {
		message = e.Message
		if e.Location != nil {
			line = e.Location.Row
		}
	}
	return strings.Join(strings.Fields(message), " "), line
}

// errTooLong is the error of an evaluation that was stopped.
type errTooLong struct{ limit time.Duration }

func (e errTooLong) Error() string { return fmt.Sprintf("evaluation took longer than %s", e.limit) }

// outcome is what the four rules gave. A nil term is an undefined rule.
type outcome struct {
	required, reason, rules, rule *ast.Term
}

// run evaluates the policy on an input document, for at most timeout.
func (p *policy) run(ctx context.Context, input ast.Value, timeout time.Duration) (outcome, error) {
	if err := ctx.Err(); err != nil {
		return outcome{}, err // a short evaluation would not notice
	}
	cancel := topdown.NewCancel()
	timer := time.AfterFunc(timeout, cancel.Cancel)
	defer timer.Stop()
	stop := context.AfterFunc(ctx, cancel.Cancel)
	defer stop()
	results, err := p.prepared.Eval(ctx, rego.EvalParsedInput(input), rego.EvalExternalCancel(cancel), rego.EvalMetrics(metrics.NoOp()))
	switch {
	case err != nil && topdown.IsCancel(err) && ctx.Err() != nil:
		return outcome{}, ctx.Err()
	case err != nil && topdown.IsCancel(err):
		return outcome{}, errTooLong{timeout}
	case err != nil:
		return outcome{}, err
	case len(results) != 1 || len(results[0].Expressions) != 1:
		return outcome{}, fmt.Errorf("evaluation gave %d results", len(results))
	}
	all, ok := results[0].Expressions[0].Value.(*ast.Term)
	if !ok {
		return outcome{}, errors.New("evaluation gave no term")
	}
	return outcome{required: only(all, 0), reason: only(all, 1), rules: only(all, 2), rule: only(all, 3)}, nil
}

// only returns the single element of the i-th list of the query's result, or nil.
func only(all *ast.Term, i int) *ast.Term {
	lists, ok := all.Value.(*ast.Array)
	if !ok || i >= lists.Len() {
		return nil
	}
	inner, ok := lists.Elem(i).Value.(*ast.Array)
	if !ok || inner.Len() != 1 {
		return nil
	}
	return inner.Elem(0)
}

// decide turns an outcome into a decision. Whatever is not a clear answer asks for a person.
func (p *policy) decide(out outcome) incident.Decision {
	d := incident.Decision{ApprovalRequired: true, PolicyName: PolicyName, PolicyHash: p.hash}
	required, problem := boolean(out.required)
	if problem != "" {
		return p.degraded(requireApproval + " " + problem)
	}
	d.ApprovalRequired = required
	d.Rules = ruleNames(out.rules)
	d.Rule = textOf(out.rule, maxRuleBytes)
	if d.Rule == "" && len(d.Rules) == 1 {
		d.Rule = d.Rules[0]
	}
	d.Reason = textOf(out.reason, maxReasonBytes)
	if d.Reason == "" {
		d.Reason = "The approval policy gives no reason"
	}
	return d
}

// failed is the decision when the evaluation ended with err.
func (p *policy) failed(err error) incident.Decision {
	message, line := failure(err)
	if line > 0 {
		message = fmt.Sprintf("line %d: %s", line, message)
	}
	return p.degraded(message)
}

// degraded is the decision when the policy gave none.
func (p *policy) degraded(why string) incident.Decision {
	return incident.Decision{
		ApprovalRequired: true,
		Degraded:         true,
		Reason:           clip("The approval policy could not decide, so a person must approve: "+why, maxReasonBytes),
		PolicyName:       PolicyName,
		PolicyHash:       p.hash,
	}
}

func boolean(t *ast.Term) (value bool, problem string) {
	if t == nil {
		return true, "is undefined"
	}
	b, ok := t.Value.(ast.Boolean)
	if !ok {
		return true, "is " + clip(t.String(), 64) + " and not true or false"
	}
	return bool(b), ""
}

// textOf returns a text, at most limit bytes of it, and "" for what is none.
func textOf(t *ast.Term, limit int) string {
	if t == nil {
		return ""
	}
	s, ok := t.Value.(ast.String)
	if !ok {
		return ""
	}
	return clip(strings.TrimSpace(string(s)), limit)
}

// ruleNames reads a set or a list of texts, and leaves out what is not text.
func ruleNames(t *ast.Term) []string {
	if t == nil {
		return nil
	}
	var names []string
	add := func(t *ast.Term) {
		if s, ok := t.Value.(ast.String); ok && s != "" && len(names) < maxRules {
			names = append(names, clip(string(s), maxRuleBytes))
		}
	}
	switch v := t.Value.(type) {
	case ast.Set:
		v.Foreach(add)
	case *ast.Array:
		v.Foreach(add)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// clip shortens s to at most limit bytes of valid UTF-8.
func clip(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit-len("…")] + "…"
	}
	return strings.ToValidUTF8(s, "")
}
