package incident

// Stance is what a model's opinion comes to, held against the deterministic finding.
type Stance string

const (
	StanceAgrees    Stance = "agrees"    // the same finding, and evidence supports what it says
	StanceDisagrees Stance = "disagrees" // another finding, and evidence supports what it says
	StanceSuggests  Stance = "suggests"  // a finding where the engine has none, and evidence supports it
	StanceSilent    Stance = "silent"    // nothing that evidence supports
	StanceDiscarded Stance = "discarded" // what it read tries to give orders: its opinion does not count
	StanceAbsent    Stance = "absent"    // it was asked, and gave no answer
)

// Reasoning is what a model added to an investigation. It explains; nothing is decided by it but that a
// person must look.
type Reasoning struct {
	Provider   string `json:"provider"`
	Model      string `json:"model"`
	PromptHash string `json:"promptHash"` // lower-case hex SHA-256 of the instructions and tool definitions
	Stance     Stance `json:"stance"`
	// Stopped says what ended the investigation early; empty when the model was done.
	Stopped string `json:"stopped,omitempty"`
	// Explanation is the cause in the model's words, sentence by sentence.
	Explanation []Claim `json:"explanation,omitempty"`
	// Cause and Target are what the model takes for the cause, where that is not the engine's finding.
	Cause  string `json:"cause,omitempty"`
	Target string `json:"target,omitempty"`
	// Confidence is that in the explanation: computed from the engine's and from how far evidence supports
	// the model. No policy decides by it.
	Confidence float64 `json:"confidence"`
	// Dropped counts sentences that were not the model's to say.
	Dropped int `json:"dropped,omitempty"`
	// Suspicions are the places of text that addresses a reader.
	Suspicions []Suspicion `json:"suspicions,omitempty"`
	Usage      ModelUsage  `json:"usage"`
	// BundleDigest is that of a further bundle, with what the model read beyond the investigation's; empty
	// when it read no more.
	BundleDigest string `json:"bundleDigest,omitempty"`
}

// Claim is a sentence of a model. It is a hypothesis unless it is Supported.
type Claim struct {
	Text      string   `json:"text"`
	Evidence  []string `json:"evidence,omitempty"` // ids
	Supported bool     `json:"supported"`
	// Why says what a hypothesis lacks.
	Why string `json:"why,omitempty"`
}

// Suspicion is a place in the cluster whose text looks like an order to whoever reads it.
type Suspicion struct {
	Evidence string `json:"evidence,omitempty"` // id, where the place has one
	Place    string `json:"place"`
	Rule     string `json:"rule"` // which kind of order
}

// ModelUsage is what asking a model cost.
type ModelUsage struct {
	Turns        int     `json:"turns"`
	ToolCalls    int     `json:"toolCalls"`
	InputTokens  int     `json:"inputTokens"`
	CachedTokens int     `json:"cachedTokens,omitempty"`
	OutputTokens int     `json:"outputTokens"`
	Cost         float64 `json:"costUSD"`
	// Estimated is set when the vendor did not count the tokens of every turn.
	Estimated  bool  `json:"estimated,omitempty"`
	DurationMS int64 `json:"durationMs"`
}
