package catalog

import "kubernaut.ai/kubernaut/internal/incident"

// Fill returns the parameters of w: each declared one by its name from the evidence, else its
// default. What w does not declare is left out, so that nothing else reaches an execution. The
// faults name every declared parameter that is required and unknown, or whose value breaks its rules.
func Fill(w incident.Workflow, evidence map[string]string) (parameters map[string]string, faults []string) {
	parameters = make(map[string]string, len(w.Parameters))
	for _, p := range w.Parameters {
		value := nonEmpty(evidence[p.Name], p.Default)
		if value == "" {
			if p.Required {
				faults = append(faults, p.Name+": required, and neither evidence nor a default gives it")
			}
			continue
		}
		if err := p.Check(value); err != nil {
			faults = append(faults, p.Name+": "+err.Error())
			continue
		}
		parameters[p.Name] = value
	}
	return parameters, faults
}
