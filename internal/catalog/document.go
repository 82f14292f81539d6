package catalog

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"kubernaut.ai/kubernaut/internal/incident"
)

// Identity of the documents.
const (
	APIVersion = "kubernaut.ai/v1alpha1"
	Kind       = "RemediationWorkflow"
)

// Custom labels that a document's fields become, beside incident.LabelCauses.
const (
	LabelChanges = "kubernaut.ai/changes" // declared, runtime or source
	LabelRisk    = "kubernaut.ai/risk"    // low, medium or high
)

// Values of LabelChanges.
const (
	ChangesDeclared = "declared"
	ChangesRuntime  = "runtime"
	ChangesSource   = "source"
)

// document is the file format.
type document struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Metadata   metadata `json:"metadata"`
	Spec       spec     `json:"spec"`
}

type metadata struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

type spec struct {
	Title                   string              `json:"title"`
	Description             string              `json:"description"`
	Owner                   string              `json:"owner"`
	Maintainer              string              `json:"maintainer"`
	Engine                  string              `json:"engine"`
	Image                   string              `json:"image"`
	Digest                  string              `json:"digest"`
	Labels                  labels              `json:"labels"`
	Causes                  []string            `json:"causes"`
	Changes                 string              `json:"changes"`
	Risk                    string              `json:"risk"`
	Traits                  traits              `json:"traits"`
	CustomLabels            map[string][]string `json:"customLabels"`
	ExpectedSuccessRate     *float64            `json:"expectedSuccessRate"`
	ExpectedDurationSeconds *int                `json:"expectedDurationSeconds"`
	Preconditions           []string            `json:"preconditions"`
	Parameters              []parameter         `json:"parameters"`
	Steps                   []string            `json:"steps"`
}

type labels struct {
	SignalType  string `json:"signalType"`
	Severity    string `json:"severity"`
	Component   string `json:"component"`
	Environment string `json:"environment"`
	Priority    string `json:"priority"`
}

type traits struct {
	GitOpsManaged   bool   `json:"gitOpsManaged"`
	GitOpsTool      string `json:"gitOpsTool"`
	PDBProtected    bool   `json:"pdbProtected"`
	HPAEnabled      bool   `json:"hpaEnabled"`
	Stateful        bool   `json:"stateful"`
	HelmManaged     bool   `json:"helmManaged"`
	NetworkIsolated bool   `json:"networkIsolated"`
	ServiceMesh     string `json:"serviceMesh"`
}

type parameter struct {
	Name        string   `json:"name"`
	Type        string   `json:"type"`
	Description string   `json:"description"`
	Required    bool     `json:"required"`
	Default     string   `json:"default"`
	Pattern     string   `json:"pattern"`
	MinLength   *int     `json:"minLength"`
	MaxLength   *int     `json:"maxLength"`
	Minimum     *float64 `json:"minimum"`
	Maximum     *float64 `json:"maximum"`
	Enum        []string `json:"enum"`
}

// ParseDocument reads one workflow document. name is used in messages only, usually the file's
// name. The returned workflow carries the document as Content together with its hash, and is ready
// to be registered; it has no ID. The error, of KindInvalid, lists every fault.
func ParseDocument(name string, data []byte) (incident.Workflow, error) {
	d, faults := decode(data)
	if len(faults) == 0 {
		faults = d.check(data)
	}
	if len(faults) > 0 {
		return incident.Workflow{}, incident.Errorf(incident.KindInvalid, "parse workflow document "+name, "%w", faults)
	}
	return d.workflow(data), nil
}

// Load parses every *.yaml file of a directory but kustomization.yaml, in the order of their names.
// The error, of KindInvalid, lists the faults of all files; two files with the same workflow and
// version are a fault too.
func Load(dir fs.FS) ([]incident.Workflow, error) {
	const op = "load workflow documents"
	files, err := fs.Glob(dir, "*.yaml")
	if err != nil {
		return nil, incident.Errorf(incident.KindInternal, op, "%w", err)
	}
	var workflows []incident.Workflow
	var faults incident.FieldErrors
	seen := map[string]string{}
	for _, file := range files {
		if path.Base(file) == "kustomization.yaml" {
			continue
		}
		data, err := fs.ReadFile(dir, file)
		if err != nil {
			return nil, incident.Errorf(incident.KindInternal, op, "%w", err)
		}
		d, f := decode(data)
		if len(f) == 0 {
			f = d.check(data)
		}
		for _, one := range f {
			faults.Add(path.Base(file)+": "+one.Field, "%s", one.Rule)
		}
		if len(f) > 0 {
			continue
		}
		id := d.Metadata.Name + " " + d.Metadata.Version
		if other, ok := seen[id]; ok {
			faults.Add(path.Base(file)+": metadata", "name and version are those of %s", other)
		}
		seen[id] = path.Base(file)
		workflows = append(workflows, d.workflow(data))
	}
	if len(faults) > 0 {
		return nil, incident.Errorf(incident.KindInvalid, op, "%w", faults)
	}
	return workflows, nil
}

// Preconditions returns what a person would check before running w, from its document; nil when its
// content is no document of this package.
func Preconditions(w incident.Workflow) []string {
	d, faults := decode([]byte(w.Content))
	if len(faults) > 0 {
		return nil
	}
	return d.Spec.Preconditions
}

// secondDocument finds what the YAML decoder would leave unread.
var secondDocument = regexp.MustCompile(`(?m)^---(\s|$)`)

// decode reads the file format strictly.
func decode(data []byte) (document, incident.FieldErrors) {
	var d document
	var faults incident.FieldErrors
	switch {
	case len(data) > incident.MaxWorkflowContent:
		faults.Add("document", "must have at most %d bytes", incident.MaxWorkflowContent)
		return d, faults
	case !utf8.Valid(data) || bytes.IndexByte(data, 0) >= 0:
		faults.Add("document", "must be UTF-8 text without NUL characters")
		return d, faults
	}
	if marks := secondDocument.FindAllIndex(data, 2); len(marks) > 1 || (len(marks) == 1 && !blank(data[:marks[0][0]])) {
		faults.Add("document", "must be one YAML document; the file has several")
		return d, faults
	}
	asJSON, err := yaml.YAMLToJSONStrict(data)
	if err != nil {
		faults.Add("document", "%s", strings.TrimPrefix(err.Error(), "error converting YAML to JSON: "))
		return d, faults
	}
	strict, err := kjson.UnmarshalStrict(asJSON, &d)
	if err != nil {
		faults.Add("document", "%s", strings.TrimPrefix(err.Error(), "json: "))
		return d, faults
	}
	for _, one := range strict {
		faults.Add("document", "%s", one)
	}
	return d, faults
}

// blank reports whether there is nothing but comments and white space.
func blank(data []byte) bool {
	for line := range bytes.Lines(data) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
			return false
		}
	}
	return true
}

var (
	namePattern    = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	versionPattern = regexp.MustCompile(`^(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})(-[0-9A-Za-z.-]{1,16})?$`)
	reference      = regexp.MustCompile(`\$\(([^)]*)\)`)
)

// fieldNames gives the catalog's names of fields those of the document.
var fieldNames = strings.NewReplacer(
	"parameters.schema.parameters", "spec.parameters", "min_length", "minLength", "max_length", "maxLength",
	"workflow_name", "metadata.name", "content_hash", "document", "content", "document",
	"labels.signal_type", "spec.labels.signalType", "custom_labels", "spec.customLabels", "detected_labels", "spec.traits",
	"execution_engine", "spec.engine", "container_image", "spec.image", "container_digest", "spec.digest",
	"expected_success_rate", "spec.expectedSuccessRate", "expected_duration_seconds", "spec.expectedDurationSeconds",
)

// check returns every fault of what was decoded: those of the document, and those for which the
// catalog would refuse the workflow that it describes.
func (d *document) check(data []byte) incident.FieldErrors {
	var f incident.FieldErrors
	oneOf := func(field, value string, allowed ...string) {
		if !slices.Contains(allowed, value) {
			f.Add(field, "must be one of %s", strings.Join(allowed, ", "))
		}
	}
	if d.APIVersion != APIVersion {
		f.Add("apiVersion", "must be %s", APIVersion)
	}
	if d.Kind != Kind {
		f.Add("kind", "must be %s", Kind)
	}
	if !namePattern.MatchString(d.Metadata.Name) {
		f.Add("metadata.name", "must be lower-case letters, digits and dashes, at most 63")
	}
	if !versionPattern.MatchString(d.Metadata.Version) {
		f.Add("metadata.version", "must be a semantic version such as 1.0.0")
	}
	s := &d.Spec
	if strings.TrimSpace(s.Description) == "" {
		f.Add("spec.description", "must not be empty")
	}
	if s.Image == "" {
		f.Add("spec.image", "must not be empty")
	}
	if c := s.Labels.Component; c != strings.ToLower(c) {
		f.Add("spec.labels.component", "must be in lower case")
	}
	for i, c := range s.Causes {
		field := fmt.Sprintf("spec.causes[%d]", i)
		if !namePattern.MatchString(c) {
			f.Add(field, "must be the name of a cause class, such as oom-limit")
		}
		if slices.Contains(s.Causes[:i], c) {
			f.Add(field, "is there already")
		}
	}
	oneOf("spec.changes", s.Changes, ChangesDeclared, ChangesRuntime, ChangesSource)
	oneOf("spec.risk", s.Risk, "low", "medium", "high")
	for _, key := range []string{incident.LabelCauses, LabelChanges, LabelRisk} {
		if _, ok := s.CustomLabels[key]; ok {
			f.Add("spec.customLabels."+key, "is set by a field of its own")
		}
	}
	for i, p := range s.Preconditions {
		if n := utf8.RuneCountInString(p); n == 0 || n > 1024 {
			f.Add(fmt.Sprintf("spec.preconditions[%d]", i), "must have 1 to 1024 characters")
		}
	}
	s.checkSteps(&f)
	for _, fault := range d.workflow(data).Validate() {
		switch fault.Field {
		case "workflow_name", "version", "description": // said above, more strictly
		case "name", "owner", "maintainer":
			field := map[string]string{"name": "spec.title", "owner": "spec.owner", "maintainer": "spec.maintainer"}[fault.Field]
			f.Add(field, "%s", fault.Rule)
		default:
			field := fieldNames.Replace(fault.Field)
			if strings.HasPrefix(field, "labels.") {
				field = "spec." + field
			}
			f.Add(field, "%s", fault.Rule)
		}
	}
	return f
}

// checkSteps holds steps and parameters against each other.
func (s *spec) checkSteps(f *incident.FieldErrors) {
	declared, used := map[string]bool{}, map[string]bool{}
	for _, p := range s.Parameters {
		declared[p.Name] = true
	}
	if len(s.Steps) == 0 {
		f.Add("spec.steps", "must say what is run")
	}
	for i, step := range s.Steps {
		field := fmt.Sprintf("spec.steps[%d]", i)
		if n := utf8.RuneCountInString(step); n == 0 || n > 4096 {
			f.Add(field, "must have 1 to 4096 characters")
		}
		for _, m := range reference.FindAllStringSubmatch(step, -1) {
			used[m[1]] = true
			if !declared[m[1]] {
				f.Add(field, "uses a parameter that is not declared; $(NAME) stands for parameters only")
			}
		}
	}
	for i, p := range s.Parameters {
		if !used[p.Name] {
			f.Add(fmt.Sprintf("spec.parameters[%d]", i), "is used by no step")
		}
	}
}

// workflow turns a document without faults into a workflow of the catalog.
func (d *document) workflow(data []byte) incident.Workflow {
	s := &d.Spec
	w := incident.Workflow{
		Name: d.Metadata.Name, Version: d.Metadata.Version, Title: s.Title, Description: strings.TrimSpace(s.Description),
		Owner: s.Owner, Maintainer: s.Maintainer, Content: string(data), ContentHash: incident.ContentDigest(string(data)),
		ExecutionEngine: s.Engine, ContainerImage: s.Image, ContainerDigest: s.Digest,
		Labels: incident.WorkflowLabels{
			SignalType: s.Labels.SignalType, Severity: or(s.Labels.Severity), Component: or(s.Labels.Component),
			Environment: or(s.Labels.Environment), Priority: or(s.Labels.Priority),
		},
		CustomLabels: map[string][]string{LabelChanges: {s.Changes}, LabelRisk: {s.Risk}},
		DetectedLabels: incident.WorkflowTraits{
			GitOpsManaged: s.Traits.GitOpsManaged, GitOpsTool: s.Traits.GitOpsTool, PDBProtected: s.Traits.PDBProtected,
			HPAEnabled: s.Traits.HPAEnabled, Stateful: s.Traits.Stateful, HelmManaged: s.Traits.HelmManaged,
			NetworkIsolated: s.Traits.NetworkIsolated, ServiceMesh: s.Traits.ServiceMesh,
		},
		Status:              incident.WorkflowActive,
		ExpectedSuccessRate: s.ExpectedSuccessRate, ExpectedDurationSeconds: s.ExpectedDurationSeconds,
	}
	if w.ExecutionEngine == "" {
		w.ExecutionEngine = "tekton"
	}
	if len(s.Causes) > 0 {
		w.CustomLabels[incident.LabelCauses] = s.Causes
	}
	maps.Copy(w.CustomLabels, s.CustomLabels)
	for _, p := range s.Parameters {
		w.Parameters = append(w.Parameters, incident.Parameter(p))
	}
	return w
}

// or returns the wildcard for a label that was left out.
func or(label string) string {
	if label == "" {
		return incident.Wildcard
	}
	return label
}

// harmless are values that a shell takes as they are.
var harmless = regexp.MustCompile(`^[A-Za-z0-9._:/@=,%+-]*$`)

// Steps returns what w runs, with its parameters filled in, for people to read; nil when its content is no
// document of this package, or when a shell would not take a value as it stands.
func Steps(w incident.Workflow, parameters map[string]string) []string {
	d, faults := decode([]byte(w.Content))
	if len(faults) > 0 {
		return nil
	}
	for _, value := range parameters {
		if !harmless.MatchString(value) {
			return nil
		}
	}
	steps := make([]string, len(d.Spec.Steps))
	for i, step := range d.Spec.Steps {
		steps[i] = strings.TrimSpace(reference.ReplaceAllStringFunc(step, func(name string) string {
			return parameters[reference.FindStringSubmatch(name)[1]]
		}))
	}
	return steps
}
