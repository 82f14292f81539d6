package catalog

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"kubernaut.ai/kubernaut/internal/incident"
)

// Shelf is a catalog in memory, which answers searches as Data Storage does. It is safe for concurrent
// use.
type Shelf struct {
	workflows []incident.Workflow
	byID      map[string]int
}

// NewShelf returns a catalog of workflows, each the only version of its name, with an id. It errs with
// KindInvalid when one has none, or has that of another.
func NewShelf(workflows []incident.Workflow) (*Shelf, error) {
	s := &Shelf{workflows: slices.Clone(workflows), byID: make(map[string]int, len(workflows))}
	for i, w := range s.workflows {
		if _, taken := s.byID[w.ID]; taken || w.ID == "" {
			return nil, incident.Errorf(incident.KindInvalid, "new catalog", "workflow %q has the id %q, which is empty or taken", w.Name, w.ID)
		}
		s.byID[w.ID] = i
	}
	return s, nil
}

// SearchWorkflows returns what matches q, best first. It never errs.
func (s *Shelf) SearchWorkflows(_ context.Context, q incident.WorkflowQuery) ([]incident.WorkflowMatch, error) {
	type found struct {
		incident.WorkflowMatch
		wildcards int
	}
	var list []found
	for _, w := range s.workflows {
		wildcards, ok := meets(w.Labels, q.Labels)
		if !ok || w.Status != incident.WorkflowActive && !q.IncludeDisabled {
			continue
		}
		score := q.Rate(w.CustomLabels, w.DetectedLabels)
		if score.Score() < q.MinScore {
			continue
		}
		list = append(list, found{incident.WorkflowMatch{
			WorkflowID: w.ID, Title: w.Title, Description: w.Description, SignalType: w.Labels.SignalType,
			ContainerImage: w.ContainerImage, ContainerDigest: w.ContainerDigest,
			Score: score.Score(), LabelBoost: score.Boost(), LabelPenalty: score.Penalty(),
			CustomLabels: w.CustomLabels, DetectedLabels: w.DetectedLabels,
		}, wildcards})
	}
	slices.SortFunc(list, func(a, b found) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.wildcards, b.wildcards), strings.Compare(a.WorkflowID, b.WorkflowID))
	})
	var out []incident.WorkflowMatch
	for i, f := range list[:min(len(list), cmp.Or(q.TopK, topK))] {
		f.Rank = i + 1
		out = append(out, f.WorkflowMatch)
	}
	return out, nil
}

// Workflow returns one by its id; KindNotFound when there is none.
func (s *Shelf) Workflow(_ context.Context, id string) (incident.Workflow, error) {
	i, ok := s.byID[id]
	if !ok {
		return incident.Workflow{}, incident.Errorf(incident.KindNotFound, "get workflow", "there is no workflow %s", id)
	}
	return s.workflows[i], nil
}

// meets reports whether the labels that must match do, and how many of them match whatever is asked for.
func meets(has, want incident.WorkflowLabels) (wildcards int, ok bool) {
	if !strings.EqualFold(has.SignalType, want.SignalType) {
		return 0, false
	}
	for _, l := range [][2]string{
		{has.Severity, want.Severity}, {has.Component, want.Component}, {has.Environment, want.Environment}, {has.Priority, want.Priority},
	} {
		switch l[0] {
		case incident.Wildcard:
			wildcards++
		case l[1]:
		default:
			return 0, false
		}
	}
	return wildcards, true
}
