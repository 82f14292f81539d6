package diagnose

// Confidence is the one formula for how sure a cause is:
//
//	0.97 · D · (0.85 + 0.15·C) · T · K · G
//
// D, directness, is 1 for a cause that was proven by comparing objects or that the deciding
// component wrote into a status, 0.96 when that component states it in a message about a thing that
// the spec names, 0.85 when a component passes on what another said, and 0.6 when it fits what was
// seen and nothing speaks against it.
// C, completeness, is the share of the corroborations (events, history, logs) that a full picture
// of this class would hold and that were found; 1 when the class needs none.
// T, timing, is 1 when the cause came shortly before the symptom or when age says nothing about the
// class, 0.97 when an age is not recorded, and 0.8 for a standing condition much older than the symptom.
// K, competition, is 0.8 for the first and 0.9 for each further explanation of the same symptom that
// is as direct.
// G, gaps, is 0.9 for each kind of reading that failed and could have overturned the cause, at least
// 0.7, and 0.9 when the symptom is not one of the subject itself.
//
// The factor 0.97 is what remains for what no reading shows.
func Confidence(directness, completeness, timing, competition, gaps float64) float64 {
	c := 0.97 * directness * (0.85 + 0.15*completeness) * timing * competition * gaps
	return min(max(round(c), 0), 1)
}

// round keeps three decimals, so that a confidence prints the same everywhere.
func round(f float64) float64 { return float64(int64(f*1000+0.5)) / 1000 }

// healthyConfidence is that of the verdict that nothing is wrong: each check whose readings are
// missing takes a share.
func healthyConfidence(checks []Check) float64 {
	c := 0.96
	for _, check := range checks {
		switch {
		case check.Outcome != CheckUnknown:
		case check.Name == checkCreation: // events alone tell it, and they tell of much else
			c *= 0.6
		default:
			c *= 0.85
		}
	}
	return round(c)
}

// weigh computes an explanation's confidence.
func (q *inquiry) weigh(e explanation) float64 {
	completeness := 1.0
	if n := len(e.cause.wanted); n > 0 {
		have := 0
		for _, w := range e.cause.wanted {
			if w.have {
				have++
			}
		}
		completeness = float64(have) / float64(n)
	}
	timing := 1.0
	switch e.cause.timing {
	case timingUnknown:
		timing = 0.97
	case timingStanding:
		timing = 0.8
	}
	competition := 1.0
	for i := range e.rivals {
		if i == 0 {
			competition = 0.8
		} else {
			competition *= 0.9
		}
	}
	gaps := 1.0
	seen := map[string]bool{}
	for _, g := range q.snap.c.Gaps {
		if !seen[g.Subject.Kind] && q.touches(g, e) {
			seen[g.Subject.Kind] = true
			gaps = max(gaps*0.9, 0.7)
		}
	}
	if e.related {
		gaps *= 0.9
	}
	return Confidence(float64(e.cause.direct), completeness, timing, competition, gaps)
}

// touches reports whether what a gap hides could have overturned an explanation: the cause depends
// on readings of that kind, and they are of its namespace, or for logs of a Pod in its chain.
func (q *inquiry) touches(g Gap, e explanation) bool {
	depends := false
	for _, kind := range e.cause.depends {
		depends = depends || kind == g.Subject.Kind
	}
	if !depends {
		return false
	}
	if g.Subject.Kind == "Log" && g.Subject.Name != "" {
		for _, l := range e.chain {
			if l.subject.Kind == "Pod" && l.subject.Namespace == g.Subject.Namespace && l.subject.Name == g.Subject.Name {
				return true
			}
		}
		return false
	}
	ns := e.leaf.subject.Namespace
	return g.Subject.Namespace == "" || ns == "" || g.Subject.Namespace == ns
}
