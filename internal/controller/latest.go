package controller

import (
	"strconv"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// latest remembers what this process wrote until the cache has seen it, so that the next reconcile
// does not act on the state before. It is an optimisation and a courtesy: what protects the status
// is the resource version in every write.
type latest struct {
	mu      sync.Mutex
	written map[types.NamespacedName]*v1alpha1.AIAnalysis
}

func newLatest() *latest {
	return &latest{written: make(map[types.NamespacedName]*v1alpha1.AIAnalysis)}
}

// put remembers a resource as it was written. The watch can be faster than the answer to the write, and
// then nothing removes the last one before the resource is deleted; so of a finished resource only
// what the cache keeps is remembered.
func (l *latest) put(name types.NamespacedName, a *v1alpha1.AIAnalysis) {
	if a.Status.Phase.Terminal() {
		a = finishedCopy(a)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.written[name] = a
}

// newest returns the newer of the cached resource and the one that was written. It must not be
// changed.
func (l *latest) newest(name types.NamespacedName, cached *v1alpha1.AIAnalysis) *v1alpha1.AIAnalysis {
	l.mu.Lock()
	defer l.mu.Unlock()
	if own := l.written[name]; own != nil && own.UID == cached.UID && older(cached.ResourceVersion, own.ResourceVersion) {
		return own
	}
	return cached
}

// seen forgets what was written when the cache has it, or something newer.
func (l *latest) seen(name types.NamespacedName, cached client.Object) {
	l.mu.Lock()
	defer l.mu.Unlock()
	own := l.written[name]
	if own != nil && !(own.UID == cached.GetUID() && older(cached.GetResourceVersion(), own.ResourceVersion)) {
		delete(l.written, name)
	}
}

// drop forgets a resource.
func (l *latest) drop(name types.NamespacedName) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.written, name)
}

// older reports whether resource version a is older than b. Versions of one resource type are
// decimal numbers that grow; should a server have others, the cache is believed.
func older(a, b string) bool {
	x, errX := strconv.ParseUint(a, 10, 64)
	y, errY := strconv.ParseUint(b, 10, 64)
	return errX == nil && errY == nil && x < y
}
