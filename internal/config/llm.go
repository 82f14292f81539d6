package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// LLM is the language model that refines findings. Provider "" is none: investigations need no model.
type LLM struct {
	Model      `yaml:",inline"`
	MaxRetries int `yaml:"max_retries"` // further tries of one request

	TimeoutSeconds      int     `yaml:"timeout_seconds"`        // of one answer
	MaxTokensPerRequest int     `yaml:"max_tokens_per_request"` // of one answer
	Temperature         float64 `yaml:"temperature"`

	Budget   Budget `yaml:"budget"`
	Fallback Model  `yaml:"fallback"` // asked when the first cannot be; provider "" is none
}

// Model is a model and where it is served.
type Model struct {
	Provider string `yaml:"provider"` // openai (and all that speak its protocol), azure, ollama, google, anthropic, mock
	Name     string `yaml:"model"`
	Endpoint string `yaml:"endpoint"` // base address; empty: the vendor's
	// SecretsFile holds the key: either nothing else, or YAML with api_key and headers.
	SecretsFile string   `yaml:"secrets_file"`
	APIVersion  string   `yaml:"api_version"` // of Azure OpenAI
	Headers     []string `yaml:"headers"`     // "Name: value", for gateways; credentials belong into secrets_file
	CAFile      string   `yaml:"ca_file"`     // PEM of further authorities
	Prices      Prices   `yaml:"prices"`

	Key           Secret            `yaml:"-"`
	SecretHeaders map[string]Secret `yaml:"-"`
}

// Prices are in US dollars for a million tokens; zeros cost nothing.
type Prices struct {
	Input  float64 `yaml:"input"`
	Cached float64 `yaml:"cached"` // 0: as Input
	Output float64 `yaml:"output"`
}

// Budget bounds what one investigation may ask of a model.
type Budget struct {
	Turns        int           `yaml:"turns"`
	ToolCalls    int           `yaml:"tool_calls"`
	InputTokens  int           `yaml:"input_tokens"`
	OutputTokens int           `yaml:"output_tokens"`
	CostUSD      float64       `yaml:"cost_usd"`
	WallClock    time.Duration `yaml:"wall_clock"`
	ResultBytes  int           `yaml:"result_bytes"` // of one tool's result
}

func defaultLLM() LLM {
	return LLM{
		Model: Model{Headers: []string{}}, Fallback: Model{Headers: []string{}},
		MaxRetries: 3, TimeoutSeconds: 60, MaxTokensPerRequest: 4096, Temperature: 0.7,
		Budget: Budget{Turns: 8, ToolCalls: 24, InputTokens: 60_000, OutputTokens: 8_000, CostUSD: 0.50, WallClock: 25 * time.Second, ResultBytes: 6 << 10},
	}
}

// providers are those that are understood, with the address of each that has one and the environment variable that
// holds its key.
var providers = []struct{ name, endpoint, key string }{
	{"", "", ""},
	{"mock", "", ""},
	{"openai", "https://api.openai.com/v1", "OPENAI_API_KEY"},
	{"azure", "", "AZURE_OPENAI_API_KEY"},
	{"anthropic", "https://api.anthropic.com", "ANTHROPIC_API_KEY"},
	{"ollama", "http://localhost:11434/v1", ""},
	{"google", "https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY"},
	{"vertex_ai", "", ""},
}

// Used reports whether there is a model to ask.
func (m Model) Used() bool {
	return m.Provider != "" && m.Provider != "mock" && m.Provider != "vertex_ai"
}

// finish fills in the vendor's address and reads the key.
func (m *Model) finish(r *report, path string, env func(string) string) {
	i := slices.IndexFunc(providers, func(p struct{ name, endpoint, key string }) bool { return p.name == m.Provider })
	if i < 0 || !m.Used() {
		return
	}
	if m.Endpoint == "" {
		m.Endpoint = providers[i].endpoint
	}
	for _, name := range []string{providers[i].key, "LLM_API_KEY"} {
		if name != "" && m.Key.Empty() && env(name) != "" {
			m.Key = NewSecret(strings.TrimSpace(env(name)))
		}
	}
	if m.SecretsFile != "" {
		m.readSecrets(r, path+".secrets_file")
	}
}

// readSecrets reads a file that is a key, or YAML of api_key and headers. No error shows what is in it.
func (m *Model) readSecrets(r *report, key string) {
	body, err := readBounded(m.SecretsFile)
	if err != nil {
		reason := "cannot be read"
		if errors.Is(err, fs.ErrNotExist) {
			reason = "does not exist"
		}
		r.add(key, "the file %s %s", m.SecretsFile, reason)
		return
	}
	text := strings.TrimSpace(string(body))
	if text != "" && !strings.ContainsAny(text, ": \n") {
		m.Key = NewSecret(text)
		return
	}
	var secrets struct {
		APIKey  string            `yaml:"api_key"`
		Headers map[string]string `yaml:"headers"`
	}
	dec := yaml.NewDecoder(strings.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&secrets); err != nil || secrets.APIKey == "" && len(secrets.Headers) == 0 {
		r.add(key, "the file %s is neither a key alone nor YAML with api_key and headers", m.SecretsFile)
		return
	}
	if secrets.APIKey != "" {
		m.Key = NewSecret(secrets.APIKey)
	}
	m.SecretHeaders = map[string]Secret{}
	for name, value := range secrets.Headers {
		m.SecretHeaders[name] = NewSecret(value)
	}
}

// credentialHeaders are not to be written where a configuration can be printed.
var credentialHeaders = []string{"Authorization", "Proxy-Authorization", "Api-Key", "X-Api-Key", "Cookie"}

func (m Model) check(r *report, path string) {
	names := make([]string, len(providers))
	for i, p := range providers {
		names[i] = p.name
	}
	r.oneOf(path+".provider", m.Provider, names...)
	if m.Provider == "vertex_ai" {
		r.warn(path+".provider", "vertex_ai is accepted, and has no effect: its tokens expire within the hour; put a gateway before it and use provider openai")
	}
	if m.Endpoint != "" {
		r.httpURL(path+".endpoint", m.Endpoint)
	}
	if m.Used() && slices.Contains(names, m.Provider) {
		r.required(path+".model", m.Name)
		if m.Endpoint == "" {
			r.add(path+".endpoint", "is required for provider %s", m.Provider)
		}
	}
	if (m.APIVersion != "") != (m.Provider == "azure") {
		r.add(path+".api_version", "goes with provider azure, which needs it, and with no other")
	}
	for i, h := range m.Headers {
		name, value, ok := strings.Cut(h, ":")
		switch {
		case !ok || strings.TrimSpace(name) == "" || strings.ContainsAny(name, " \t") || strings.TrimSpace(value) == "":
			r.add(fmt.Sprintf("%s.headers[%d]", path, i), "is not of the form \"Name: value\"")
		case slices.Contains(credentialHeaders, http.CanonicalHeaderKey(name)):
			r.add(fmt.Sprintf("%s.headers[%d]", path, i), "%s is a credential; put it under headers in secrets_file", http.CanonicalHeaderKey(name))
		}
	}
	for name, price := range map[string]float64{"input": m.Prices.Input, "cached": m.Prices.Cached, "output": m.Prices.Output} {
		number(r, path+".prices."+name, price, 0, 100_000)
	}
}

func (c LLM) check(r *report) {
	c.Model.check(r, "llm")
	c.Fallback.check(r, "llm.fallback")
	if c.Fallback.Provider == "mock" || c.Fallback.Used() && !c.Used() {
		r.add("llm.fallback.provider", "stands in for a model of llm.provider, which is %q", c.Provider)
	}
	number(r, "llm.max_retries", c.MaxRetries, 0, 100)
	number(r, "llm.timeout_seconds", c.TimeoutSeconds, 1, 3600)
	number(r, "llm.max_tokens_per_request", c.MaxTokensPerRequest, 1, 10_000_000)
	number(r, "llm.temperature", c.Temperature, 0, 2)
	number(r, "llm.budget.turns", c.Budget.Turns, 1, 1000)
	number(r, "llm.budget.tool_calls", c.Budget.ToolCalls, 1, 10_000)
	number(r, "llm.budget.input_tokens", c.Budget.InputTokens, 1000, 100_000_000)
	number(r, "llm.budget.output_tokens", c.Budget.OutputTokens, 500, 10_000_000)
	number(r, "llm.budget.cost_usd", c.Budget.CostUSD, 0.0001, 1000)
	r.between("llm.budget.wall_clock", c.Budget.WallClock, time.Second, time.Hour)
	number(r, "llm.budget.result_bytes", c.Budget.ResultBytes, 512, 1<<20)
}
