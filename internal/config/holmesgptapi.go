package config

import (
	"flag"
	"time"
)

// HolmesGPTAPI is the configuration of the service that investigates.
type HolmesGPTAPI struct {
	ServiceName string     `yaml:"service_name"` // as it shows in health answers
	Server      Server     `yaml:"server"`
	LLM         LLM        `yaml:"llm"`
	DataStorage Endpoint   `yaml:"data_storage"`
	Kubernetes  Kubernetes `yaml:"kubernetes"`
	Limits      APILimits  `yaml:"limits"`
	Observe     Observe    `yaml:"observe"`
	Review      Review     `yaml:"review"`
	State       State      `yaml:"state"`
	Audit       Audit      `yaml:"audit"`
	Logging     Logging    `yaml:"logging"`

	// AuthEnabled must be false: callers are not authenticated, and a configuration that expects it
	// is refused rather than served open.
	AuthEnabled bool `yaml:"auth_enabled"`

	// Mock answers from fixed tables and reads no cluster. It is also set by llm.provider "mock".
	Mock bool `yaml:"mock"`

	// ShutdownTimeout is all the time from SIGTERM to exit.
	ShutdownTimeout time.Duration `yaml:"shutdown_timeout"`

	// Warnings names the keys that were accepted and have no effect, and values that look unwise.
	Warnings []string `yaml:"-"`
}

// Kubernetes is the cluster that is investigated.
type Kubernetes struct {
	Kubeconfig string `yaml:"kubeconfig"` // empty: in-cluster, then KUBECONFIG
}

// APILimits bound what the service takes on.
type APILimits struct {
	MaxConcurrent        int           `yaml:"max_concurrent"` // investigations at once
	MaxBodyBytes         int64         `yaml:"max_body_bytes"` // of one request
	InvestigationTimeout time.Duration `yaml:"investigation_timeout"`
}

// Observe bounds what one investigation reads from the cluster.
type Observe struct {
	MaxObjects  int           `yaml:"max_objects"`
	MaxLogLines int           `yaml:"max_log_lines"` // of one container's log
	MaxBytes    int64         `yaml:"max_bytes"`     // of all objects, events and logs together
	Timeout     time.Duration `yaml:"timeout"`
	// PrometheusURL is asked for measurements of Pods that are not well; "" asks nobody.
	PrometheusURL string `yaml:"prometheus_url"`
}

// State is where finished answers are kept, so that a repeated request finds them after a restart.
type State struct {
	Dir        string        `yaml:"dir"`
	Retention  time.Duration `yaml:"retention"`
	MaxEntries int           `yaml:"max_entries"`
}

// DefaultHolmesGPTAPI returns the built-in configuration, which is valid.
func DefaultHolmesGPTAPI() HolmesGPTAPI {
	return HolmesGPTAPI{
		ServiceName: "holmesgpt-api",
		Server:      Server{Host: "0.0.0.0", Port: 8080, ReadTimeout: 30 * time.Second, WriteTimeout: 2 * time.Minute},
		LLM:         defaultLLM(),
		DataStorage: Endpoint{URL: "http://datastorage:8080", Timeout: 10 * time.Second},
		Limits:      APILimits{MaxConcurrent: 10, MaxBodyBytes: 1 << 20, InvestigationTimeout: 50 * time.Second},
		Observe:     Observe{MaxObjects: 5000, MaxLogLines: 500, MaxBytes: 32 << 20, Timeout: 20 * time.Second},
		Review:      Review{ConfidenceThreshold: 0.7},
		State:       State{Dir: "/var/lib/holmesgpt/state", Retention: 24 * time.Hour, MaxEntries: 10_000},
		Audit:       Audit{Dir: "/var/lib/holmesgpt/audit", MaxBytes: 256 << 20},
		Logging:     Logging{Level: "info", Format: "json"},

		ShutdownTimeout: 20 * time.Second,
	}
}

// LoadHolmesGPTAPI reads the configuration of the service that investigates. path may be empty:
// then CONFIG_PATH or CONFIG_FILE names the file, or the default file is read if there is one. env
// is os.Getenv or a stand-in.
func LoadHolmesGPTAPI(path string, env func(string) string) (HolmesGPTAPI, error) {
	return load[HolmesGPTAPI](path, env, DefaultHolmesGPTAPI(), nil)
}

// BindHolmesGPTAPI registers the service's flags.
func BindHolmesGPTAPI(fs *flag.FlagSet) *Flags[HolmesGPTAPI] {
	return bind[HolmesGPTAPI](fs, DefaultHolmesGPTAPI)
}

// Validate returns an *Error of every fault, or nil.
func (c HolmesGPTAPI) Validate() error { return validate(&c) }

func (c *HolmesGPTAPI) definition() definition {
	const apiServer = "the API server is found by kubernetes.kubeconfig or in-cluster rules"
	return definition{
		defaultPath: "/etc/holmesgpt/config.yaml",
		pathEnv:     []string{"CONFIG_PATH", "CONFIG_FILE"},
		aliases: map[string]string{
			"log_level": "logging.level",
			"api_host":  "server.host",
			"api_port":  "server.port",
		},
		ignored: map[string]string{
			"version":                           "the version is that of the build",
			"dev_mode":                          "there is no development mode",
			"context_api":                       "there is no context API",
			"public_endpoints":                  "no endpoint asks for authentication",
			"metrics":                           "metrics are always served at /metrics",
			"kubernetes.service_host":           apiServer,
			"kubernetes.service_port":           apiServer,
			"kubernetes.token_reviewer_enabled": "no endpoint asks for authentication",
		},
		overrides: []override{
			{key: "data_storage.url", env: "DATA_STORAGE_URL"},
			{key: "data_storage.url", env: "DATASTORAGE_URL"},
			{key: "data_storage.timeout", env: "DATA_STORAGE_TIMEOUT", text: seconds},
			{key: "auth_enabled", env: "AUTH_ENABLED"},
			{key: "mock", env: "MOCK_LLM_MODE"},
			{key: "logging.level", env: "LOG_LEVEL"},
			{key: "llm.provider", env: "LLM_PROVIDER"},
			{key: "llm.model", env: "LLM_MODEL"},
			{key: "llm.endpoint", env: "LLM_ENDPOINT"},
			{key: "kubernetes.kubeconfig", flag: "kubeconfig", usage: "kubeconfig `file` of the cluster to investigate"},
		},
	}
}

func (c *HolmesGPTAPI) finish(r *report, env func(string) string) {
	c.Logging.normalize()
	if c.LLM.Provider == "mock" && !r.given("mock") {
		c.Mock = true
	}
	c.LLM.finish(r, "llm", env)
	c.LLM.Fallback.finish(r, "llm.fallback", env)
}

func (c *HolmesGPTAPI) setWarnings(w []string) { c.Warnings = w }

func (c *HolmesGPTAPI) check(r *report) {
	r.required("service_name", c.ServiceName)
	c.Server.check(r)
	if c.AuthEnabled {
		r.add("auth_enabled", "callers cannot be authenticated by this service; set it to false and admit only the controller by a NetworkPolicy")
	}

	c.LLM.check(r)

	c.DataStorage.check(r, "data_storage")
	number(r, "limits.max_concurrent", c.Limits.MaxConcurrent, 1, 10_000)
	number(r, "limits.max_body_bytes", c.Limits.MaxBodyBytes, 1<<10, 1<<30)
	r.between("limits.investigation_timeout", c.Limits.InvestigationTimeout, time.Second, time.Hour)

	number(r, "observe.max_objects", c.Observe.MaxObjects, 1, 1_000_000)
	number(r, "observe.max_log_lines", c.Observe.MaxLogLines, 1, 100_000)
	number(r, "observe.max_bytes", c.Observe.MaxBytes, 1<<16, 1<<32)
	if c.Observe.PrometheusURL != "" {
		r.httpURL("observe.prometheus_url", c.Observe.PrometheusURL)
	}
	r.between("observe.timeout", c.Observe.Timeout, 100*time.Millisecond, max(c.Limits.InvestigationTimeout, time.Second))

	c.Review.check(r)
	r.required("state.dir", c.State.Dir)
	r.between("state.retention", c.State.Retention, time.Minute, 365*24*time.Hour)
	number(r, "state.max_entries", c.State.MaxEntries, 1, 10_000_000)
	c.Audit.check(r)
	c.Logging.check(r)
	checkShutdown(r, c.ShutdownTimeout)
}
