package incident

import "slices"

// WorkflowScore is how well the labels of a workflow suit a query. It is counted in thousandths, so that a
// perfect match is 1 exactly and equal scores are equal.
//
//	score = (base + boost - penalty) / (base + asked)
//
// where boost is the points that the workflow obtains for detected and custom labels, asked the points that
// the query offers for them, penalty the points lost by not being made for GitOps, and base is 0.5, the
// worth of the labels that must match. The score is from 0 to 1, and 1 exactly when all that was asked for
// is obtained without penalty; within one query it has the order of boost minus penalty.
type WorkflowScore struct {
	asked, obtained, lost int
}

const basePoints = 500

// Score is from 0 to 1.
func (p WorkflowScore) Score() float64 {
	return float64(max(basePoints+p.obtained-p.lost, 0)) / float64(basePoints+p.asked)
}

// Boost is what was obtained beyond the labels that must match.
func (p WorkflowScore) Boost() float64 { return float64(p.obtained) / 1000 }

// Penalty is what was lost.
func (p WorkflowScore) Penalty() float64 { return float64(p.lost) / 1000 }

// ask offers points and gives those of them that were obtained.
func (p *WorkflowScore) ask(offered, obtained int) {
	p.asked += offered
	p.obtained += obtained
}

// Rate scores a workflow that has these custom labels and is made for these traits.
func (q WorkflowQuery) Rate(labels map[string][]string, has WorkflowTraits) WorkflowScore {
	var p WorkflowScore
	wants := withoutFailed(q.DetectedLabels)
	flag := func(wanted, present bool, worth int) {
		if wanted {
			p.ask(worth, worth*oneIf(present))
		}
	}
	flag(wants.GitOpsManaged, has.GitOpsManaged, 100)
	flag(wants.PDBProtected, has.PDBProtected, 50)
	flag(wants.NetworkIsolated, has.NetworkIsolated, 30)
	flag(wants.HelmManaged, has.HelmManaged, 20)
	flag(wants.Stateful, has.Stateful, 20)
	flag(wants.HPAEnabled, has.HPAEnabled, 20)
	p.askName(wants.GitOpsTool, has.GitOpsTool, 100)
	p.askName(wants.ServiceMesh, has.ServiceMesh, 50)
	if wants.GitOpsManaged && !has.GitOpsManaged {
		p.lost += 100
	}
	if tool := wants.GitOpsTool; tool != "" && tool != Wildcard &&
		has.GitOpsTool != tool && has.GitOpsTool != Wildcard {
		p.lost += 100
	}
	for key, values := range q.CustomLabels {
		for _, value := range values {
			switch {
			case slices.Contains(labels[key], value):
				p.ask(50, 50)
			case slices.Contains(labels[key], Wildcard):
				p.ask(50, 25)
			default:
				p.ask(50, 0)
			}
		}
	}
	return p
}

// askName offers points for a name: all for the same name and half for a wildcard in the workflow. A
// query for the wildcard asks for any name, and for half.
func (p *WorkflowScore) askName(wanted, has string, worth int) {
	switch {
	case wanted == "":
	case wanted == Wildcard:
		p.ask(worth/2, worth/2*oneIf(has != ""))
	case has == wanted:
		p.ask(worth, worth)
	case has == Wildcard:
		p.ask(worth, worth/2)
	default:
		p.ask(worth, 0)
	}
}

func oneIf(b bool) int {
	if b {
		return 1
	}
	return 0
}

// withoutFailed clears the traits that were not detected reliably.
func withoutFailed(t WorkflowTraits) WorkflowTraits {
	for _, name := range t.FailedDetections {
		switch name {
		case "gitOpsManaged":
			t.GitOpsManaged, t.GitOpsTool = false, ""
		case "gitOpsTool":
			t.GitOpsTool = ""
		case "pdbProtected":
			t.PDBProtected = false
		case "hpaEnabled":
			t.HPAEnabled = false
		case "stateful":
			t.Stateful = false
		case "helmManaged":
			t.HelmManaged = false
		case "networkIsolated":
			t.NetworkIsolated = false
		case "serviceMesh":
			t.ServiceMesh = ""
		}
	}
	return t
}
