package incident

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// EvidenceKind is the sort of thing that a piece of evidence was read from.
type EvidenceKind string

const (
	EvidenceObject EvidenceKind = "object"
	EvidenceEvent  EvidenceKind = "event"
	EvidenceLog    EvidenceKind = "log"
	EvidenceMetric EvidenceKind = "metric"
)

// Evidence is one value that was read from the cluster, with what is needed to read it again from
// the stored bundle. A reference is valid when the bundle holds Ref (at ResourceVersion, when that
// is set), Path selects a value in it, that value's text equals Value, and SHA256 is the hash of
// Value.
type Evidence struct {
	// ID is unique within one investigation ("e1", "e2", …, in the order of first use).
	ID   string       `json:"id"`
	Kind EvidenceKind `json:"kind"`
	Ref  Ref          `json:"ref"`

	ResourceVersion string `json:"resourceVersion,omitempty"`
	// Path is an RFC 6901 JSON pointer into the object or event; "" selects all of it. A path that
	// selects nothing has Value "" and Absent set. For logs it is "<container>/current/<line>" or
	// "<container>/previous/<line>", with lines counted from 0 in the stored excerpt.
	Path string `json:"path"`
	// Value is the text of a string value, and compact JSON of any other.
	Value string `json:"value"`
	// Absent says that the claim is the absence of what Path, or Ref itself, names: it was asked
	// for and was not there.
	Absent     bool      `json:"absent,omitempty"`
	ObservedAt time.Time `json:"observedAt"`
	SHA256     string    `json:"sha256"`
}

// HashValue returns the lower-case hex SHA-256 of an evidence value.
func HashValue(value string) string {
	sum := sha256.Sum256([]byte(value))
	return hex.EncodeToString(sum[:])
}

// GapKind says why something could not be read. The four kinds are different facts.
type GapKind string

const (
	GapForbidden GapKind = "forbidden" // asked, and not allowed
	GapExpired   GapKind = "expired"   // existed, and is no longer kept
	GapFailed    GapKind = "failed"    // asked, and the read failed or timed out
	GapNotAsked  GapKind = "notAsked"  // left out, because of a bound or of configuration
)

// Gap is something that was not read and could have mattered.
type Gap struct {
	Kind   GapKind `json:"kind"`
	What   string  `json:"what"`   // for example "events in namespace shop"
	Reason string  `json:"reason"` // one sentence for people
	// TouchesCause is set when the missing reading could have changed the cause that was found.
	TouchesCause bool `json:"touchesCause,omitempty"`
}

// CauseClass names a class of root cause, for example "oom-limit". The classes are declared by the
// rules that find them; workflows name the classes that they remedy.
type CauseClass string

// Link is one step of a causal chain: a statement about one object and the evidence for it. A link
// without evidence is a hypothesis.
type Link struct {
	Subject   Ref      `json:"subject"`
	Statement string   `json:"statement"`
	Evidence  []string `json:"evidence,omitempty"` // ids
}

// Hypothesis reports whether the statement is not backed by evidence.
func (l Link) Hypothesis() bool { return len(l.Evidence) == 0 }

// Cause is one explanation of an incident.
type Cause struct {
	Class    CauseClass `json:"class"`
	Target   Ref        `json:"target"` // the object to act on
	Summary  string     `json:"summary"`
	Severity Severity   `json:"severity"`
	// SignalTypes are the signal names under which workflows for this cause are catalogued, most
	// specific first.
	SignalTypes []string `json:"signalTypes"`
	// Confidence is computed from evidence, 0 to 1.
	Confidence float64 `json:"confidence"`
	// Chain leads from the symptom (first) to the cause (last).
	Chain []Link `json:"chain"`
	// Factors are contributing factors, in sentences.
	Factors []string `json:"factors,omitempty"`
	// Parameters are workflow parameters that evidence supports, by UPPER_SNAKE_CASE name, for
	// example NAMESPACE, WORKLOAD_KIND, WORKLOAD_NAME, CONTAINER, MEMORY_LIMIT.
	Parameters map[string]string `json:"parameters,omitempty"`
}
