package config

import (
	"io"
	"log/slog"
	"strings"
	"time"
)

// Logging says what is logged and how.
type Logging struct {
	Level  string `yaml:"level"`  // debug, info, warn, error
	Format string `yaml:"format"` // json, text
}

// Logger returns a logger that writes to w. Level and Format must be valid.
func (l Logging) Logger(w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(l.Level)) // a level that is not valid stays at info
	options := &slog.HandlerOptions{Level: level}
	if l.Format == "text" {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

// normalize folds the spellings that older documents use into ours.
func (l *Logging) normalize() {
	l.Level = strings.ToLower(l.Level)
	if l.Level == "warning" {
		l.Level = "warn"
	}
	l.Format = strings.ToLower(l.Format)
	if l.Format == "console" {
		l.Format = "text"
	}
}

func (l Logging) check(r *report) {
	r.oneOf("logging.level", l.Level, "debug", "info", "warn", "error")
	r.oneOf("logging.format", l.Format, "json", "text")
}

// Server is where a service listens and how long one request may take.
type Server struct {
	Host         string        `yaml:"host"` // empty means all addresses
	Port         int           `yaml:"port"` // 0 means any free port
	ReadTimeout  time.Duration `yaml:"read_timeout"`
	WriteTimeout time.Duration `yaml:"write_timeout"`
}

func (s Server) check(r *report) {
	r.port("server.port", s.Port)
	r.between("server.read_timeout", s.ReadTimeout, time.Second, time.Hour)
	r.between("server.write_timeout", s.WriteTimeout, time.Second, time.Hour)
}

// Endpoint is a service that is called over HTTP.
type Endpoint struct {
	URL     string        `yaml:"url"`
	Timeout time.Duration `yaml:"timeout"` // of one call
}

func (e Endpoint) check(r *report, key string) {
	r.httpURL(key+".url", e.URL)
	r.between(key+".timeout", e.Timeout, 100*time.Millisecond, time.Hour)
}

// Audit is the spool that keeps audit events until Data Storage has them.
type Audit struct {
	Dir      string `yaml:"dir"`       // a directory that outlives the pod; processes on one node may share it
	MaxBytes int64  `yaml:"max_bytes"` // of undelivered events; then writers wait
}

func (a Audit) check(r *report) {
	r.required("audit.dir", a.Dir)
	number(r, "audit.max_bytes", a.MaxBytes, 1<<20, 1<<40)
}

// Review says when a person must look at a finding.
type Review struct {
	// ConfidenceThreshold, 0 to 1: a finding below it needs human review.
	ConfidenceThreshold float64 `yaml:"confidence_threshold"`
}

func (c Review) check(r *report) {
	number(r, "review.confidence_threshold", c.ConfidenceThreshold, 0, 1)
}

// podGrace is the time that Kubernetes gives a pod by default to end by itself.
const podGrace = 30 * time.Second

func checkShutdown(r *report, timeout time.Duration) {
	r.between("shutdown_timeout", timeout, time.Second, time.Hour)
	if timeout > podGrace-5*time.Second && timeout <= time.Hour {
		r.warn("shutdown_timeout", timeout.String()+" is near or above the 30s that a pod gets by default; "+
			"raise terminationGracePeriodSeconds with it")
	}
}
