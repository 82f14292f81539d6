package plan

import (
	"errors"
	"fmt"
	"slices"
)

// validate checks that a plan can be run, and reports all that is wrong with it.
func (p Plan) validate() error {
	var all []error
	wrong := func(format string, args ...any) { all = append(all, fmt.Errorf(format, args...)) }
	if p.Cluster == "" {
		wrong("the plan names no cluster")
	}
	if len(p.Phases) == 0 {
		wrong("the plan has no phases")
	}
	finally := make(map[string]bool)
	for _, ph := range p.Phases {
		if ph.Name == "" || slug(ph.Name) != ph.Name {
			wrong("phase %q: a name is lower case letters, digits and hyphens", ph.Name)
		}
		if _, ok := finally[ph.Name]; ok {
			wrong("phase %s is there twice", ph.Name)
		}
		if ph.Run == nil {
			wrong("phase %s does nothing", ph.Name)
		}
		finally[ph.Name] = ph.Finally
	}
	for _, ph := range p.Phases {
		for _, before := range ph.After {
			last, ok := finally[before]
			switch {
			case !ok:
				wrong("phase %s comes after %q, which is none", ph.Name, before)
			case last && !ph.Finally:
				wrong("phase %s comes after %s, which runs at the end", ph.Name, before)
			}
		}
	}
	if len(all) == 0 && p.cyclic() {
		wrong("the phases wait for each other in a circle")
	}
	if err := errors.Join(all...); err != nil {
		return fmt.Errorf("plan of %s: %w", p.Suite, err)
	}
	return nil
}

func (p Plan) cyclic() bool {
	done := make(map[string]bool)
	for range p.Phases {
		for _, ph := range p.Phases {
			if !slices.ContainsFunc(ph.After, func(name string) bool { return !done[name] }) {
				done[ph.Name] = true
			}
		}
	}
	return len(done) < len(p.Phases)
}

// phase returns the phase of a name, which must be one, and its index.
func (p Plan) phase(name string) (int, Phase) {
	i := slices.IndexFunc(p.Phases, func(ph Phase) bool { return ph.Name == name })
	return i, p.Phases[i]
}

// before returns the phases that must have succeeded before one, at any distance.
func (p Plan) before(name string) map[string]bool {
	all := make(map[string]bool)
	var visit func(string)
	visit = func(name string) {
		_, ph := p.phase(name)
		for _, b := range ph.After {
			if !all[b] {
				all[b] = true
				visit(b)
			}
		}
	}
	visit(name)
	return all
}

// dependents returns the phases that come after one, at any distance.
func (p Plan) dependents(name string) []string {
	var all []string
	for _, ph := range p.Phases {
		if p.before(ph.Name)[name] {
			all = append(all, ph.Name)
		}
	}
	return all
}

// role is what a run does with a phase.
type role int

const (
	skipped  role = iota
	checked       // it must hold, and is not run
	rescuing      // it is run if something else did not succeed
	wanted
)

// roles returns what a run with these options does with each phase.
func (p Plan) roles(o Options) (map[string]role, error) {
	all := make(map[string]role)
	name := o.Only
	if name == "" {
		name = o.Until
	}
	if name == "" {
		for _, ph := range p.Phases {
			all[ph.Name] = wanted
		}
		return all, nil
	}
	if !slices.ContainsFunc(p.Phases, func(ph Phase) bool { return ph.Name == name }) {
		return nil, fmt.Errorf("plan of %s: no phase is named %q", p.Suite, name)
	}
	for b := range p.before(name) {
		switch _, ph := p.phase(b); {
		case o.Only == "":
			all[b] = wanted
		case ph.Inputs != nil:
			all[b] = checked
		}
	}
	for _, ph := range p.Phases {
		if ph.Finally {
			all[ph.Name] = max(all[ph.Name], rescuing)
		}
	}
	all[name] = wanted
	return all, nil
}
