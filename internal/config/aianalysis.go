package config

import (
	"flag"
	"net"
	"strconv"
	"strings"
	"time"
)

// AIAnalysis is the configuration of the controller.
type AIAnalysis struct {
	Controller  Controller      `yaml:"controller"`
	HolmesGPT   HolmesGPT       `yaml:"holmesgpt"`
	DataStorage Endpoint        `yaml:"datastorage"`
	Rego        Rego            `yaml:"rego"`
	Timeouts    Timeouts        `yaml:"timeouts"`
	Review      Review          `yaml:"review"`
	Audit       ControllerAudit `yaml:"audit"`
	Logging     Logging         `yaml:"logging"`

	// ShutdownTimeout is all the time from SIGTERM to exit.
	ShutdownTimeout time.Duration `yaml:"shutdown_timeout"`

	// Warnings names the keys that were accepted and have no effect, and values that look unwise.
	Warnings []string `yaml:"-"`
}

// Controller is how the controller itself runs.
type Controller struct {
	MetricsAddr             string `yaml:"metrics_addr"`      // "0" for none
	HealthProbeAddr         string `yaml:"health_probe_addr"` // "0" for none
	LeaderElection          bool   `yaml:"leader_election"`
	LeaderElectionID        string `yaml:"leader_election_id"`
	LeaderElectionNamespace string `yaml:"leader_election_namespace"` // empty: the pod's own
	// LeaderElectionLease is how long nobody works after a leader has died, and how long one lives that cannot reach the
	// API server.
	LeaderElectionLease     time.Duration `yaml:"leader_election_lease"`
	Namespaces              []string      `yaml:"namespaces"` // to watch; empty: all
	MaxConcurrentReconciles int           `yaml:"max_concurrent_reconciles"`
	Kubeconfig              string        `yaml:"kubeconfig"` // empty: in-cluster, then KUBECONFIG
}

// HolmesGPT is the service that investigates, as the controller calls it.
type HolmesGPT struct {
	URL         string        `yaml:"url"`
	Timeout     time.Duration `yaml:"timeout"`       // of one call
	MaxInFlight int           `yaml:"max_in_flight"` // calls at once
	Retry       Retry         `yaml:"retry"`
	Breaker     Breaker       `yaml:"breaker"`
}

// Retry bounds how often and how soon a failed call is repeated.
type Retry struct {
	MaxAttempts int           `yaml:"max_attempts"` // all calls of one analysis, with the first
	Base        time.Duration `yaml:"base"`         // the first delay; each next one doubles
	Max         time.Duration `yaml:"max"`          // the longest delay
}

// Breaker stops calls for a while when the other side keeps failing.
type Breaker struct {
	Failures int           `yaml:"failures"` // in a row
	OpenFor  time.Duration `yaml:"open_for"`
}

// Rego is the approval policy.
type Rego struct {
	PolicyPath        string        `yaml:"policy_path"`
	EvaluationTimeout time.Duration `yaml:"evaluation_timeout"`
}

// Timeouts are the deadlines of an analysis that does not bring its own.
type Timeouts struct {
	Investigating time.Duration `yaml:"investigating"`
	Analyzing     time.Duration `yaml:"analyzing"`
	Overall       time.Duration `yaml:"overall"` // from the first step to the end, with all retries
}

// ControllerAudit is the controller's audit spool, and how long a status waits for the record.
type ControllerAudit struct {
	Dir      string `yaml:"dir"`       // a directory that outlives the pod; processes on one node may share it
	MaxBytes int64  `yaml:"max_bytes"` // of undelivered events; above it, writers wait
	// DeliveryWait bounds how long a terminal status waits until Data Storage has its events.
	DeliveryWait time.Duration `yaml:"delivery_wait"`
}

// DefaultAIAnalysis returns the built-in configuration, which is valid.
func DefaultAIAnalysis() AIAnalysis {
	return AIAnalysis{
		Controller: Controller{
			MetricsAddr:             ":9090",
			HealthProbeAddr:         ":8081",
			LeaderElectionID:        "aianalysis.kubernaut.ai",
			LeaderElectionLease:     15 * time.Second,
			MaxConcurrentReconciles: 16,
		},
		HolmesGPT: HolmesGPT{
			URL:         "http://holmesgpt-api:8080",
			Timeout:     60 * time.Second,
			MaxInFlight: 64,
			// About eight minutes in all, so that a restart of the other side does not fail an analysis.
			Retry:   Retry{MaxAttempts: 10, Base: time.Second, Max: 5 * time.Minute},
			Breaker: Breaker{Failures: 10, OpenFor: 15 * time.Second},
		},
		DataStorage: Endpoint{URL: "http://datastorage:8080", Timeout: 10 * time.Second},
		Rego: Rego{
			PolicyPath:        "/etc/aianalysis/policies/approval.rego",
			EvaluationTimeout: 2 * time.Second,
		},
		Timeouts: Timeouts{Investigating: 60 * time.Second, Analyzing: 5 * time.Second, Overall: 15 * time.Minute},
		Review:   Review{ConfidenceThreshold: 0.7},
		Audit: ControllerAudit{
			Dir:          "/var/lib/aianalysis/audit",
			MaxBytes:     256 << 20,
			DeliveryWait: 5 * time.Second,
		},
		Logging:         Logging{Level: "info", Format: "json"},
		ShutdownTimeout: 20 * time.Second,
	}
}

// LoadAIAnalysis reads the controller's configuration. path may be empty: then CONFIG_PATH names
// the file, or the default file is read if there is one. env is os.Getenv or a stand-in.
func LoadAIAnalysis(path string, env func(string) string) (AIAnalysis, error) {
	return load[AIAnalysis](path, env, DefaultAIAnalysis(), nil)
}

// BindAIAnalysis registers the controller's flags.
func BindAIAnalysis(fs *flag.FlagSet) *Flags[AIAnalysis] {
	return bind[AIAnalysis](fs, DefaultAIAnalysis)
}

// Validate returns an *Error of every fault, or nil.
func (c AIAnalysis) Validate() error { return validate(&c) }

func (c *AIAnalysis) definition() definition {
	const (
		noAPI = "the controller serves no API of its own, only metrics and probes"
		noZap = "logging.level and logging.format say all that can be said about the log"
	)
	return definition{
		defaultPath: "/etc/aianalysis/config/config.yaml",
		pathEnv:     []string{"CONFIG_PATH"},
		aliases:     map[string]string{"infrastructure.data_storage_url": "datastorage.url"},
		ignored:     map[string]string{"server": noAPI},
		overrides: []override{
			{key: "controller.metrics_addr", flag: "metrics-bind-address", usage: "`address` of the metrics endpoint"},
			{key: "controller.health_probe_addr", flag: "health-probe-bind-address", usage: "`address` of the health probes"},
			{key: "controller.leader_election", flag: "leader-elect", usage: "run only while holding the lease"},
			{key: "controller.kubeconfig", flag: "kubeconfig", usage: "kubeconfig `file` of the cluster to serve"},
			{key: "holmesgpt.url", env: "HOLMESGPT_API_URL", flag: "holmesgpt-api-url", usage: "`URL` of HolmesGPT API"},
			{key: "holmesgpt.timeout", flag: "holmesgpt-api-timeout", usage: "`duration` of one call to HolmesGPT API"},
			{key: "rego.policy_path", env: "REGO_POLICY_PATH", flag: "rego-policy-path", usage: "approval policy `file`"},
			{key: "datastorage.url", env: "DATASTORAGE_URL", flag: "datastorage-url", usage: "`URL` of Data Storage"},
			{key: "logging.level", flag: "zap-log-level", usage: "`level` of the log", text: zapLevel},
			{key: "logging.format", flag: "zap-encoder", usage: "`format` of the log, json or console"},
		},
		ignoredFlags: []ignoredFlag{
			{flag: "zap-devel", boolean: true, why: noZap},
			{flag: "zap-stacktrace-level", why: noZap},
			{flag: "zap-time-encoding", why: noZap},
		},
	}
}

// zapLevel turns a level as zap's flag has it, a name or how far below info to go, into ours.
func zapLevel(text string) string {
	if n, err := strconv.Atoi(text); err == nil && n > 0 {
		return "debug"
	}
	switch strings.ToLower(text) {
	case "dpanic", "panic", "fatal":
		return "error"
	}
	return text
}

func (c *AIAnalysis) finish(*report, func(string) string) { c.Logging.normalize() }

func (c *AIAnalysis) setWarnings(w []string) { c.Warnings = w }

func (c *AIAnalysis) check(r *report) {
	r.listenAddress("controller.metrics_addr", c.Controller.MetricsAddr)
	r.listenAddress("controller.health_probe_addr", c.Controller.HealthProbeAddr)
	if port := portIn(c.Controller.MetricsAddr); port != "" && port != "0" && port == portIn(c.Controller.HealthProbeAddr) {
		r.add("controller.metrics_addr", "has the same port as controller.health_probe_addr (%s); give each its own", port)
	}
	r.required("controller.leader_election_id", c.Controller.LeaderElectionID)
	r.between("controller.leader_election_lease", c.Controller.LeaderElectionLease, 3*time.Second, 5*time.Minute)
	if ns := c.Controller.LeaderElectionNamespace; ns != "" {
		r.namespaces("controller.leader_election_namespace", []string{ns})
	}
	r.namespaces("controller.namespaces", c.Controller.Namespaces)
	number(r, "controller.max_concurrent_reconciles", c.Controller.MaxConcurrentReconciles, 1, 1000)

	r.httpURL("holmesgpt.url", c.HolmesGPT.URL)
	r.between("holmesgpt.timeout", c.HolmesGPT.Timeout, 100*time.Millisecond, time.Hour)
	number(r, "holmesgpt.max_in_flight", c.HolmesGPT.MaxInFlight, 1, 10_000)
	number(r, "holmesgpt.retry.max_attempts", c.HolmesGPT.Retry.MaxAttempts, 1, 100)
	r.between("holmesgpt.retry.base", c.HolmesGPT.Retry.Base, time.Millisecond, time.Hour)
	r.between("holmesgpt.retry.max", c.HolmesGPT.Retry.Max, c.HolmesGPT.Retry.Base, 24*time.Hour)
	number(r, "holmesgpt.breaker.failures", c.HolmesGPT.Breaker.Failures, 1, 10_000)
	r.between("holmesgpt.breaker.open_for", c.HolmesGPT.Breaker.OpenFor, time.Millisecond, time.Hour)

	c.DataStorage.check(r, "datastorage")
	r.required("rego.policy_path", c.Rego.PolicyPath)
	r.between("rego.evaluation_timeout", c.Rego.EvaluationTimeout, time.Millisecond, time.Minute)

	r.between("timeouts.investigating", c.Timeouts.Investigating, time.Second, 24*time.Hour)
	r.between("timeouts.analyzing", c.Timeouts.Analyzing, 10*time.Millisecond, 24*time.Hour)
	r.between("timeouts.overall", c.Timeouts.Overall, max(c.Timeouts.Investigating, c.Timeouts.Analyzing, time.Second), 7*24*time.Hour)

	c.Review.check(r)
	Audit{Dir: c.Audit.Dir, MaxBytes: c.Audit.MaxBytes}.check(r)
	r.between("audit.delivery_wait", c.Audit.DeliveryWait, 0, time.Minute)
	c.Logging.check(r)
	checkShutdown(r, c.ShutdownTimeout)
}

// portIn returns the port of an address to listen on, or "".
func portIn(addr string) string {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return ""
	}
	return port
}
