package observe

import (
	"context"

	"k8s.io/klog/v2"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
)

// Query asks for one object, or for all of a kind in Ref's namespace when Ref has no name (everywhere when it has
// no namespace either).
type Query struct {
	Ref incident.Ref
	// Events asks for the events about Ref instead.
	Events bool
	// Log asks for the log of a container instead.
	Log *diagnose.LogNeed
}

// Read answers one query, within the limits of one observation and redacted as they are. That something does not
// exist is no error: Contents.Reads says that it was asked for, and Contents.Gaps what could not be read. The error is
// as that of Observe.
func (l *Live) Read(ctx context.Context, q Query) (diagnose.Contents, error) {
	began := l.now()
	ctx, cancel := context.WithTimeout(klog.NewContext(ctx, klog.New(nil)), l.limits.CallTimeout) // what fails is a gap, and nothing for stderr
	defer cancel()
	r, err := l.newReader(ctx)
	if err != nil {
		return diagnose.Contents{}, err
	}
	switch {
	case q.Log != nil:
		r.each(r.logReads([]diagnose.LogNeed{*q.Log}))
	case q.Events:
		r.run([]query{{
			kind: eventKind, namespace: q.Ref.Namespace, selector: "involvedObject.kind=" + q.Ref.Kind + ",involvedObject.name=" + q.Ref.Name,
		}})
	default:
		if one, ok := r.subject(q.Ref); ok {
			r.run([]query{one})
		}
	}
	if err := r.verdict(ctx); err != nil {
		return diagnose.Contents{}, err
	}
	c, objects, events := r.contents(began, l.cluster)
	return seal(c, objects, events).Contents(), nil
}
