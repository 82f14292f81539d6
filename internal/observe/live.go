// Package observe fills a diagnose.Snapshot: from a live cluster ([Live]) or from a stored bundle
// ([Decode]). Reading is bounded in calls, objects, bytes and time; it never writes to the
// cluster and never asks for a Secret's values. What could not be read becomes a named gap, and
// everything that is kept is redacted first.
//
// # What is read
//
// First what bears on most incidents: the incident's namespace, or all of them when it is about the
// whole cluster. Then the engine takes a look, and what its rules asked for and did not find is read,
// in a few rounds: objects by name, lists of further namespaces, kinds that matter now and then, custom
// resources of whatever kind the cluster serves, logs. So a rule that reads a new kind needs nothing
// here. A kind that the cluster does not serve has no objects, which is known and no gap.
//
// # Secrets
//
// Secrets are asked for through the metadata API, which returns names and no contents. So a Secret
// that does not exist is known, and a key that it lacks is not: for keys the engine goes by the
// kubelet's message. Listing metadata needs the same permission as listing Secrets; without it there
// is a gap, and the kubelet's message counts for the Secret as well.
package observe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/klog/v2"

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
	// Prometheus is asked for measurements of the Pods that are not well; nil when there is none.
	Prometheus *Prometheus
	Clock      func() time.Time
	Logger     *slog.Logger
}

// Limits bound one observation. A zero field means its default; a negative one is refused by New.
type Limits struct {
	Timeout     time.Duration // of the whole observation; default 20s
	CallTimeout time.Duration // of one read; default 5s
	Parallel    int           // reads at once; default 8
	QPS         int           // reads per second over all observations of one Live; default 200
	PageSize    int           // objects per page of a list; default 500
	MaxObjects  int           // objects of one list; default 5000, of all namespaces ten times that
	MaxEvents   int           // events of one namespace; default 2000, of all namespaces ten times that
	MaxReads    int           // lists and single objects of one observation; default 600
	MaxKinds    int           // kinds of custom resources; default 200
	MaxBytes    int64         // bytes of all answers; default 128 MiB
	LogLines    int           // of one container and run; default 100
	LogBytes    int           // of one container and run; default 64 KiB
	MaxLogs     int           // log excerpts; default 8
}

func (l Limits) withDefaults() (Limits, error) {
	for name, v := range map[string]int64{
		"Timeout": int64(l.Timeout), "CallTimeout": int64(l.CallTimeout), "Parallel": int64(l.Parallel), "QPS": int64(l.QPS), "PageSize": int64(l.PageSize),
		"MaxObjects": int64(l.MaxObjects), "MaxEvents": int64(l.MaxEvents), "MaxReads": int64(l.MaxReads), "MaxKinds": int64(l.MaxKinds),
		"MaxBytes": l.MaxBytes, "LogLines": int64(l.LogLines), "LogBytes": int64(l.LogBytes), "MaxLogs": int64(l.MaxLogs),
	} {
		if v < 0 {
			return l, fmt.Errorf("observe: Limits.%s is %d, it must not be negative", name, v)
		}
	}
	l.Timeout = cmp.Or(l.Timeout, 20*time.Second)
	l.CallTimeout = cmp.Or(l.CallTimeout, 5*time.Second)
	l.Parallel = cmp.Or(l.Parallel, 8)
	l.QPS = cmp.Or(l.QPS, 200)
	l.PageSize = cmp.Or(l.PageSize, 500)
	l.MaxObjects = cmp.Or(l.MaxObjects, 5000)
	l.MaxEvents = cmp.Or(l.MaxEvents, 2000)
	l.MaxReads = cmp.Or(l.MaxReads, 600)
	l.MaxKinds = cmp.Or(l.MaxKinds, 200)
	l.MaxBytes = cmp.Or(l.MaxBytes, 128<<20)
	l.LogLines = cmp.Or(l.LogLines, 100)
	l.LogBytes = cmp.Or(l.LogBytes, 64<<10)
	l.MaxLogs = cmp.Or(l.MaxLogs, 8)
	return l, nil
}

// Live reads a cluster. It is safe for concurrent use.
type Live struct {
	limits  Limits
	cluster string
	now     func() time.Time
	log     *slog.Logger
	config  *rest.Config
	http    *http.Client
	catalog catalog

	prometheus *Prometheus
}

// New makes a Live. It does not talk to the cluster.
func New(o Options) (*Live, error) {
	if o.Config == nil {
		return nil, errors.New("observe: Options.Config is required")
	}
	limits, err := o.Limits.withDefaults()
	if err != nil {
		return nil, err
	}
	if o.Prometheus != nil {
		if err := o.Prometheus.validate(); err != nil {
			return nil, err
		}
	}
	cfg := rest.CopyConfig(o.Config)
	cfg.RateLimiter = flowcontrol.NewTokenBucketRateLimiter(float32(limits.QPS), 2*limits.QPS)
	hc, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("observe: %w", err)
	}
	l := &Live{limits: limits, cluster: o.Cluster, now: o.Clock, log: o.Logger, config: cfg, http: hc, prometheus: o.Prometheus}
	if l.now == nil {
		l.now = time.Now
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	return l, nil
}

// Ready reports whether the API server answers. Its error is an *incident.Error.
func (l *Live) Ready(ctx context.Context) error {
	dc, err := discovery.NewDiscoveryClientForConfigAndClient(l.config, l.http)
	if err != nil {
		return incident.Errorf(incident.KindInternal, "observe", "%w", err)
	}
	if err := dc.RESTClient().Get().AbsPath("/version").Do(ctx).Error(); err != nil {
		return translate(err)
	}
	return nil
}

// Observe reads what bears on the incident; one whose resource is diagnose.WholeCluster is about everything. A resource
// that does not exist is a fact and no error, and so is a kind that may not be read: it becomes a gap. The error is an
// *incident.Error: KindNetwork, KindTimeout, KindUnauthorized, KindForbidden, KindRateLimited or KindUnavailable when
// nothing at all could be read; KindInvalid when the incident names no resource.
func (l *Live) Observe(ctx context.Context, inc incident.Incident) (*diagnose.Snapshot, error) {
	wide := inc.Resource.Same(diagnose.WholeCluster)
	if !wide && (inc.Resource.Kind == "" || inc.Resource.Name == "") {
		return nil, incident.Errorf(incident.KindInvalid, "observe", "the incident names no resource: kind %q, name %q", inc.Resource.Kind, inc.Resource.Name)
	}
	began := l.now()
	ctx, cancel := context.WithTimeout(klog.NewContext(ctx, klog.New(nil)), l.limits.Timeout) // what fails is a gap, and nothing for stderr
	defer cancel()
	r, err := l.newReader(ctx)
	if err != nil {
		return nil, err
	}
	r.readFirst(inc.Resource)
	if err := r.verdict(ctx); err != nil {
		return nil, err
	}
	r.readFurther(inc)
	c, objects, events := r.contents(began, l.cluster)
	c.Reading = &diagnose.Reading{Requests: int(r.calls.Load()), Lists: int(r.lists.Load()), Bytes: r.budget.used.Load(), Took: l.now().Sub(began).Round(time.Millisecond).String()}
	snap := seal(c, objects, events)
	c = snap.Contents()
	l.log.DebugContext(ctx, "cluster observed", "resource", inc.Resource.String(), "requests", c.Reading.Requests, "lists", c.Reading.Lists, "bytes", c.Reading.Bytes,
		"objects", len(c.Objects), "events", len(c.Events), "logs", len(c.Logs), "gaps", len(c.Gaps), "redactions", c.Redactions, "duration", c.Reading.Took)
	return snap, nil
}
