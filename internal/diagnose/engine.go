package diagnose

import (
	"maps"
	"slices"
	"time"

	"kubernaut.ai/kubernaut/internal/incident"
)

// symptomKind is the sort of thing that can be wrong. Rules say which kinds they explain.
type symptomKind string

const (
	resourceGone      symptomKind = "resource gone"       // the incident's resource does not exist
	workloadShort     symptomKind = "workload short"      // fewer ready Pods than wanted, or a rollout that does not finish
	workloadZero      symptomKind = "workload at zero"    // asked to run no Pod, while something needs it
	daemonNowhere     symptomKind = "DaemonSet nowhere"   // asked about, and meant for no node
	podsNotCreated    symptomKind = "Pods not created"    // a controller is refused when it creates Pods
	podUnscheduled    symptomKind = "Pod unscheduled"     // no node is assigned
	podNotStarting    symptomKind = "Pod not starting"    // on a node, but its sandbox or volumes are not ready
	podStranded       symptomKind = "Pod stranded"        // on a node that does not report
	podFailed         symptomKind = "Pod failed"          // ended for good, and not by a container's own exit
	containerConfig   symptomKind = "container config"    // its configuration cannot be put together
	imageNotPulled    symptomKind = "image not pulled"    // waiting for its image
	containerDying    symptomKind = "container dying"     // ends again and again, or ended in failure
	containerNotReady symptomKind = "container not ready" // runs, and is not ready
	callFails         symptomKind = "call fails"          // runs and is ready, and complains about what it calls
	serviceEmpty      symptomKind = "Service empty"       // no ready endpoint
	serviceMisaimed   symptomKind = "Service misaimed"    // has endpoints, on a port that nothing serves
	serviceMixed      symptomKind = "Service mixed"       // has endpoints that do not belong behind it
	resourceUnready   symptomKind = "resource unready"    // a custom resource that says it is broken
	podDisturbed      symptomKind = "Pod disturbed"       // faults are injected into it on purpose
	routeBroken       symptomKind = "route broken"        // an Ingress, Gateway or route leads nowhere
	serviceAbsent     symptomKind = "Service absent"      // somebody calls it and it does not exist
	jobHeld           symptomKind = "Job held open"       // its work is done, and its Pod does not end
	cronIdle          symptomKind = "CronJob idle"        // starts no Job although one is due
	claimUnbound      symptomKind = "claim unbound"       // a PersistentVolumeClaim without a volume
	nodeUnready       symptomKind = "node unready"        // a node that does not report or says it is not ready
	nodePressed       symptomKind = "node under pressure" // a node that runs out of disk, memory or process ids
	nodeUndrained     symptomKind = "node not drained"    // a cordoned node with Pods that may not be evicted
	scalerStuck       symptomKind = "scaler stuck"        // an autoscaler that cannot compute
	scalerFull        symptomKind = "scaler full"         // an autoscaler at its maximum that wants more
	budgetTight       symptomKind = "budget tight"        // a disruption budget that allows no eviction
	deletionStuck     symptomKind = "deletion stuck"      // deletion was asked for long ago, and a finalizer is left
)

// link is a statement about one object with what proves it.
type link struct {
	subject   incident.Ref
	statement string
	proof     []cite
}

// symptom is something that is wrong now and is to be explained.
type symptom struct {
	kind symptomKind
	link
	object    *Object    // what it is about; nil when that does not exist
	container *container // set for kinds about one container
	reason    string     // the API's reason code where there is one
	text      Value      // the message of the component that reported it, where there is one
	since     time.Time  // when it began; zero when that is not recorded
	affected  int        // Pods that show it; at least 1 for kinds about Pods
	// soft marks what is no symptom unless something explains it, as a complaint in the log of a Pod that is well.
	soft bool
}

type symptomKey struct {
	kind      symptomKind
	object    objectKey
	container string
}

func (s symptom) key() symptomKey {
	k := symptomKey{kind: s.kind, object: keyOf(s.subject)}
	if s.container != nil {
		k.container = s.container.name
	}
	return k
}

// directness says how strongly the last step of a chain is tied to its evidence.
type directness float64

// Degrees of directness.
const (
	proven   directness = 1    // objects were compared, or the component that decides wrote its decision into a status
	stated   directness = 0.96 // the component that decides says so in a message, about a thing that the spec names
	compared directness = 0.92 // objects were compared, and one step between them and the symptom is not on record
	reported directness = 0.85 // a component passes on what another one said
	inferred directness = 0.6  // fits what was seen, and nothing seen speaks against it
)

// timing says how a cause's age fits that of its symptom.
type timing int

const (
	timingUnknown   timing = iota // one of the two ages is not recorded
	timingFits                    // it came before the symptom, and shortly
	timingStanding                // it is much older than the symptom
	timingUnrelated               // age says nothing about this kind of cause
)

// tier orders the answers to one symptom: those of a lower tier give way to those of a higher one,
// and leave a contributing factor behind.
type tier int

const (
	specific tier = iota // names what is wrong
	rollout              // names the change that brought it
	fallback             // names no more than that the program fails
)

// wanted is a corroboration that a complete picture of a cause holds.
type wanted struct {
	what string
	have bool
}

// cause is where a chain ends.
type cause struct {
	class  incident.CauseClass
	target incident.Ref
	// detail tells apart causes of one class at one target.
	detail string
	// last is the statement that ends the chain.
	last    link
	summary string
	signals []string
	params  map[string]string
	factors []string
	// factor is what remains of this cause when it gives way to a better one.
	factor string

	direct directness
	timing timing
	wanted []wanted
	// depends names the kinds of readings, as in Gap.Subject.Kind, that could overturn the cause if
	// they were missing.
	depends []string
	tier    tier
	// elsewhere says that the chain itself ties the target to the subject: no ownership or reference does.
	elsewhere bool
}

// answer is one reply to "why?": a cause, or another symptom that stands behind the one asked
// about, with the statements that lead to it.
type answer struct {
	via   []link
	next  *symptom
	cause *cause
	// tie bounds the directness of what is found behind next, when the step to it is not itself certain; 0
	// when it is.
	tie directness
	// settles says that what is found behind next explains the symptom better than a rollout does.
	settles bool
}

// rule explains symptoms of some kinds.
type rule struct {
	name     string
	explains []symptomKind
	why      func(q *inquiry, s symptom) []answer
}

// catalogue holds the rules: every exported method that returns a rule is one, and go generate lists them, so that adding a
// rule is writing its file. No outcome depends on their order.
//
//go:generate go run ../../hack/rulebook
type catalogue struct{}

// ruleBook maps each kind of symptom to the rules that explain it.
type ruleBook map[symptomKind][]rule

var rules = readCatalogue()

func readCatalogue() ruleBook {
	book, all := ruleBook{}, catalogue{}.all()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		r := all[name]
		r.name = name
		for _, k := range r.explains {
			book[k] = append(book[k], r)
		}
	}
	return book
}

// explanation is one chain from a first symptom to a cause.
type explanation struct {
	root   symptom
	leaf   symptom // the symptom that the cause explains directly
	chain  []link
	cause  cause
	rivals []cause // other answers to leaf that are as direct
	// affected counts the Pods that show it, over all chains to the same cause.
	affected int
	related  bool // the root is a symptom of something related to the subject, not of the subject
	distant  bool // the chain leads to another workload, which the subject depends on
	score    float64
	roots    []symptomKey // the first symptoms from which chains lead to the same cause
	weight   [3]int       // set in a wide inquiry
}

// Bounds of the search. Real chains have fewer than eight links; the bounds only stop absurd input.
const (
	maxDepth        = 12
	maxExplanations = 512
)

// inquiry is one run of the engine.
type inquiry struct {
	snap *Snapshot
	inc  incident.Incident
	now  time.Time

	wide     bool           // all of a namespace, or of the cluster, is asked about
	subject  *Object        // nil when the resource does not exist
	owners   []incident.Ref // from the subject (exclusive) upwards
	asked    []symptom      // every symptom that was asked about, in the order of asking
	found    []explanation
	open     []symptom // symptoms that no rule could explain
	notes    []note
	noted    map[string]bool
	ailing   map[incident.Ref]bool // Pods that show a symptom, also those that were told with another
	checks   []Check
	visiting map[symptomKey]bool
	nodes    map[*Object]nodeState
	fresh    *time.Time                  // the time of the freshest Lease of a node
	requests map[string]map[string]int64 // per node: sums of its Pods' requests
	placed   map[*Object]placement       // per Pod, once it was judged
	repel    []*Object                   // Pods with a required anti-affinity, made when first asked for

	serviceIndex *serviceIndex // made when first asked for
	callers      map[objectKey][]caller
	callersKnown bool      // of all Services
	bound        []binding // made when first asked for
	chaos        []*Object // the same
	cut          *time.Time
	quiet        []symptom // of Pods that run and whose log was not read
}

func newInquiry(snap *Snapshot, inc incident.Incident) *inquiry {
	return &inquiry{snap: snap, inc: inc, now: snap.ObservedAt(), wide: isWide(inc.Resource), noted: map[string]bool{}, ailing: map[incident.Ref]bool{}, visiting: map[symptomKey]bool{}}
}

// investigate finds the symptoms and everything that explains them.
func (q *inquiry) investigate() (own, related []*Object, roots []root) {
	own, related = q.locate()
	roots = q.roots(own, related)
	kept := roots[:0]
	for _, r := range roots {
		if q.ask(r.symptom, r.symptom, nil, r.related) || !r.soft {
			kept = append(kept, r)
		}
	}
	return own, related, kept
}

// note is a Note before its evidence has ids.
type note struct {
	subject           incident.Ref
	statement, reason string
	proof             []cite
}

// ask looks for everything that explains s, following rules from symptom to symptom.
func (q *inquiry) ask(root, s symptom, chain []link, related bool) (explained bool) {
	key := s.key()
	if q.visiting[key] || len(q.visiting) > maxDepth || len(q.found) > maxExplanations {
		return false
	}
	q.visiting[key] = true
	if len(q.asked) < maxExplanations {
		q.asked = append(q.asked, s)
	}
	defer delete(q.visiting, key)

	chain = append(slices.Clip(chain), s.link)
	var ends []answer
	best := fallback
	for _, r := range rules[s.kind] {
		for _, a := range r.why(q, s) {
			if a.restsOnUnread() {
				continue
			}
			if a.cause != nil {
				ends = append(ends, a)
				continue
			}
			if a.next == nil {
				continue
			}
			known := len(q.found)
			if q.ask(root, *a.next, append(slices.Clip(chain), a.via...), related) {
				explained = true
				best = min(best, rollout)
				if a.settles {
					best = specific
				}
			}
			if a.tie > 0 {
				q.bind(q.found[known:], a.tie, s.affected)
			}
		}
	}
	ends, factors := giveWay(ends, best)
	for i, e := range ends {
		var rivals []cause
		for j, other := range ends {
			if j != i && other.cause.direct >= e.cause.direct && !sameCause(*other.cause, *e.cause) {
				rivals = append(rivals, *other.cause)
			}
		}
		c := *e.cause
		c.factors = append(slices.Clip(c.factors), factors...)
		q.found = append(q.found, explanation{
			root: root, leaf: s, related: related, cause: c, rivals: rivals, affected: max(1, s.affected),
			chain: append(append(slices.Clip(chain), e.via...), c.last),
		})
		explained = true
	}
	switch {
	case !explained && s.reason == silent:
	case !explained && s.soft:
		q.setAside("soft/"+s.subject.String(), note{s.subject, s.statement, "nothing that was read shows that it has an effect now", s.proof})
	case !explained:
		q.open = append(q.open, s)
	}
	return explained
}

// bind marks explanations that were reached over a step to another workload: they are no surer than that
// step, and account for all that the step was asked for.
func (q *inquiry) bind(found []explanation, tie directness, affected int) {
	for i := range found {
		found[i].cause.direct = min(found[i].cause.direct, tie)
		found[i].affected = max(found[i].affected, affected)
		found[i].distant = true
	}
}

// giveWay drops the answers of all tiers but the best one, which is at least as good as what other
// symptoms explain this one by. The factors of the dropped are contributing factors of the rest.
func giveWay(ends []answer, best tier) (kept []answer, factors []string) {
	for _, e := range ends {
		best = min(best, e.cause.tier)
	}
	for _, e := range ends {
		if e.cause.tier == best {
			kept = append(kept, e)
		} else if e.cause.factor != "" {
			factors = append(factors, e.cause.factor)
		}
	}
	return kept, factors
}

func sameCause(a, b cause) bool {
	return a.class == b.class && a.target.Same(b.target) && a.detail == b.detail
}

// set aside something that was seen and does not matter; the first note of each key stays.
func (q *inquiry) setAside(key string, n note) {
	if !q.noted[key] {
		q.noted[key] = true
		q.notes = append(q.notes, n)
	}
}
