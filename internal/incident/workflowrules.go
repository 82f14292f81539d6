package incident

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"net/mail"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of a workflow. Lengths of text are in characters.
const (
	MaxWorkflowName      = 255
	MaxWorkflowVersion   = 50
	MaxWorkflowContent   = 262144
	MaxWorkflowText      = 65536
	MaxCustomLabels      = 20
	MaxCustomLabelKey    = 63
	MaxCustomLabelValues = 50
	MaxCustomLabelValue  = 100
	MaxParameters        = 50
)

// Types of a workflow parameter.
const (
	ParameterString = "string"
	ParameterInt    = "int"
	ParameterFloat  = "float"
	ParameterBool   = "bool"
)

var (
	parameterName = regexp.MustCompile(`^[A-Z][A-Z0-9]*(_[A-Z0-9]+)*$`)
	imageDigest   = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// ContentDigest returns the lower-case hex SHA-256 of a workflow's content.
func ContentDigest(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}

// Validate returns every fault of a workflow that is to be registered, nil when there is none. It is
// the rule of the catalog. Fields that the catalog fills are ignored.
func (w Workflow) Validate() FieldErrors {
	var f FieldErrors
	text := func(field, value string, least, most int) {
		switch n := utf8.RuneCountInString(value); {
		case n < least:
			f.Add(field, "must not be empty")
		case n > most:
			f.Add(field, "must have at most %d characters", most)
		case !utf8.ValidString(value) || strings.IndexByte(value, 0) >= 0:
			f.Add(field, "must be valid UTF-8 without NUL characters")
		}
	}
	text("workflow_name", w.Name, 1, MaxWorkflowName)
	text("version", w.Version, 1, MaxWorkflowVersion)
	text("name", w.Title, 1, 255)
	text("description", w.Description, 0, MaxWorkflowText)
	text("owner", w.Owner, 0, 255)
	text("maintainer", w.Maintainer, 0, 255)
	if _, err := mail.ParseAddress(w.Maintainer); w.Maintainer != "" && err != nil {
		f.Add("maintainer", "must be an e-mail address")
	}
	text("content", w.Content, 1, MaxWorkflowContent)
	if got := ContentDigest(w.Content); !strings.EqualFold(w.ContentHash, got) {
		f.Add("content_hash", "must be the SHA-256 of content, which is %s, and is %s", got, hexOnly(w.ContentHash))
	}
	text("execution_engine", w.ExecutionEngine, 1, 50)
	text("container_image", w.ContainerImage, 0, 1024)
	if w.ContainerDigest != "" && !imageDigest.MatchString(w.ContainerDigest) {
		f.Add("container_digest", "must be sha256: and 64 lower-case hex digits")
	} else if _, digest, ok := strings.Cut(w.ContainerImage, "@"); ok && w.ContainerDigest != "" && digest != w.ContainerDigest {
		f.Add("container_digest", "must be the digest that container_image names")
	}
	w.Labels.validate(&f, text)
	validateCustomLabels(&f, w.CustomLabels)
	w.DetectedLabels.validate(&f)
	switch w.Status {
	case WorkflowActive, WorkflowDisabled, WorkflowDeprecated, WorkflowArchived:
	default:
		f.Add("status", "must be one of active, disabled, deprecated, archived")
	}
	text("status_reason", w.StatusReason, 0, MaxWorkflowText)
	text("previous_version", w.PreviousVersion, 0, MaxWorkflowVersion)
	text("deprecation_notice", w.DeprecationNotice, 0, MaxWorkflowText)
	text("version_notes", w.VersionNotes, 0, MaxWorkflowText)
	text("change_summary", w.ChangeSummary, 0, MaxWorkflowText)
	text("approved_by", w.ApprovedBy, 0, 255)
	text("created_by", w.CreatedBy, 0, 255)
	if r := w.ExpectedSuccessRate; r != nil && !(*r >= 0 && *r <= 1) {
		f.Add("expected_success_rate", "must be from 0 to 1")
	}
	if s := w.ExpectedDurationSeconds; s != nil && *s < 0 {
		f.Add("expected_duration_seconds", "must not be negative")
	}
	f = append(f, ValidateParameters(w.Parameters)...)
	return f
}

// hexOnly returns a hash that can be shown: it is the caller's text only when that is a hash.
func hexOnly(s string) string {
	if b, err := hex.DecodeString(s); err == nil && len(b) == sha256.Size {
		return s
	}
	return "not a SHA-256"
}

func (l WorkflowLabels) validate(f *FieldErrors, text func(field, value string, least, most int)) {
	text("labels.signal_type", l.SignalType, 1, 255)
	text("labels.component", l.Component, 1, 100)
	text("labels.environment", l.Environment, 1, 100)
	if l.SignalType == Wildcard {
		f.Add("labels.signal_type", "must not be %s", Wildcard)
	}
	if !slices.Contains([]string{"critical", "high", "medium", "low", Wildcard}, l.Severity) {
		f.Add("labels.severity", "must be one of critical, high, medium, low, %s", Wildcard)
	}
	if !slices.Contains([]string{"P0", "P1", "P2", "P3", Wildcard}, l.Priority) {
		f.Add("labels.priority", "must be one of P0, P1, P2, P3, %s", Wildcard)
	}
}

func validateCustomLabels(f *FieldErrors, labels map[string][]string) {
	const field = "custom_labels"
	if len(labels) > MaxCustomLabels {
		f.Add(field, "must have at most %d keys", MaxCustomLabels)
	}
	for key, values := range labels {
		switch {
		case key == "" || utf8.RuneCountInString(key) > MaxCustomLabelKey || !utf8.ValidString(key):
			f.Add(field, "each key must have 1 to %d characters", MaxCustomLabelKey)
		case len(values) > MaxCustomLabelValues:
			f.Add(field, "each key must have at most %d values", MaxCustomLabelValues)
		case slices.ContainsFunc(values, func(v string) bool {
			return v == "" || utf8.RuneCountInString(v) > MaxCustomLabelValue || !utf8.ValidString(v)
		}):
			f.Add(field, "each value must have 1 to %d characters", MaxCustomLabelValue)
		default:
			continue
		}
		return // one fault says enough, and which key comes first is chance
	}
}

func (t WorkflowTraits) validate(f *FieldErrors) {
	if !slices.Contains([]string{"", "argocd", "flux", Wildcard}, t.GitOpsTool) {
		f.Add("detected_labels.gitOpsTool", "must be one of argocd, flux, %s", Wildcard)
	}
	if !slices.Contains([]string{"", "istio", "linkerd", Wildcard}, t.ServiceMesh) {
		f.Add("detected_labels.serviceMesh", "must be one of istio, linkerd, %s", Wildcard)
	}
}

// ValidateParameters returns every fault of a parameter schema: names and types, ranges that are
// empty or do not go with the type, and defaults and enumerated values that break the parameter's
// own rules.
func ValidateParameters(parameters []Parameter) FieldErrors {
	var f FieldErrors
	if len(parameters) > MaxParameters {
		f.Add("parameters", "must have at most %d entries", MaxParameters)
		return f
	}
	names := make(map[string]bool, len(parameters))
	for i, p := range parameters {
		at := func(field string) string { return fmt.Sprintf("parameters.schema.parameters[%d].%s", i, field) }
		if !parameterName.MatchString(p.Name) || len(p.Name) > 100 {
			f.Add(at("name"), "must be UPPER_SNAKE_CASE of at most 100 characters")
		} else if names[p.Name] {
			f.Add(at("name"), "must be unique")
		}
		names[p.Name] = true
		p.validate(&f, at)
	}
	return f
}

func (p Parameter) validate(f *FieldErrors, at func(string) string) {
	isString, isNumber := p.Type == ParameterString, p.Type == ParameterInt || p.Type == ParameterFloat
	if !isString && !isNumber && p.Type != ParameterBool {
		f.Add(at("type"), "must be one of string, int, float, bool")
		return
	}
	before := len(*f)
	if p.Pattern != "" && !isString {
		f.Add(at("pattern"), "goes with type string only")
	} else if _, err := regexp.Compile(p.Pattern); err != nil || len(p.Pattern) > 1024 {
		f.Add(at("pattern"), "must be a regular expression (RE2) of at most 1024 bytes")
	}
	if (p.MinLength != nil || p.MaxLength != nil) && !isString {
		f.Add(at("min_length"), "and max_length go with type string only")
	}
	if p.MinLength != nil && *p.MinLength < 0 || p.MaxLength != nil && *p.MaxLength < 0 {
		f.Add(at("min_length"), "and max_length must not be negative")
	}
	if p.MinLength != nil && p.MaxLength != nil && *p.MinLength > *p.MaxLength {
		f.Add(at("min_length"), "must not be greater than max_length")
	}
	if (p.Minimum != nil || p.Maximum != nil) && !isNumber {
		f.Add(at("minimum"), "and maximum go with types int and float only")
	}
	if p.Minimum != nil && p.Maximum != nil && !(*p.Minimum <= *p.Maximum) {
		f.Add(at("minimum"), "must not be greater than maximum")
	}
	if len(p.Enum) > 100 {
		f.Add(at("enum"), "must have at most 100 values")
	}
	if len(*f) > before {
		return
	}
	for i, value := range p.Enum {
		if err := p.Check(value); err != nil {
			f.Add(at("enum"), "value %d %s", i, err)
		}
		if slices.Contains(p.Enum[:i], value) {
			f.Add(at("enum"), "value %d is a repetition", i)
		}
	}
	if p.Default != "" && len(*f) == before {
		if err := p.Check(p.Default); err != nil {
			f.Add(at("default"), "%s", err)
		}
	}
}

// Check returns which rule of the parameter a value breaks, nil when none. The error does not quote
// the value.
func (p Parameter) Check(value string) error {
	switch p.Type {
	case ParameterString:
		if err := p.checkString(value); err != nil {
			return err
		}
	case ParameterInt, ParameterFloat:
		if err := p.checkNumber(value); err != nil {
			return err
		}
	case ParameterBool:
		if value != "true" && value != "false" {
			return fmt.Errorf("must be true or false")
		}
	default:
		return fmt.Errorf("has no known type")
	}
	if len(p.Enum) > 0 && !slices.Contains(p.Enum, value) {
		return fmt.Errorf("must be one of the %d values of its enum", len(p.Enum))
	}
	return nil
}

func (p Parameter) checkString(value string) error {
	n := utf8.RuneCountInString(value)
	if p.MinLength != nil && n < *p.MinLength {
		return fmt.Errorf("must have at least %d characters", *p.MinLength)
	}
	if p.MaxLength != nil && n > *p.MaxLength {
		return fmt.Errorf("must have at most %d characters", *p.MaxLength)
	}
	if p.Pattern == "" {
		return nil
	}
	pattern, err := regexp.Compile(`\A(?:` + p.Pattern + `)\z`)
	if err != nil {
		return fmt.Errorf("has a pattern that does not compile")
	}
	if !pattern.MatchString(value) {
		return fmt.Errorf("must match the pattern %s", p.Pattern)
	}
	return nil
}

func (p Parameter) checkNumber(value string) error {
	var n float64
	if p.Type == ParameterInt {
		i, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return fmt.Errorf("must be an integer")
		}
		n = float64(i)
	} else {
		var err error
		if n, err = strconv.ParseFloat(value, 64); err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
			return fmt.Errorf("must be a number")
		}
	}
	if p.Minimum != nil && n < *p.Minimum {
		return fmt.Errorf("must be at least %g", *p.Minimum)
	}
	if p.Maximum != nil && n > *p.Maximum {
		return fmt.Errorf("must be at most %g", *p.Maximum)
	}
	return nil
}
