// Package catalog decides which remediation workflow fits a cause. It reads workflow documents
// ([ParseDocument]), says what to ask the catalog for ([Query]), and chooses among what the catalog
// has ([Select]): hard constraints first, then a score, then parameters from evidence, validated
// against the workflow's schema. It does no I/O, and nothing but the cause's class, target and
// parameters takes part in a choice: text from the cluster cannot name a workflow.
//
// # Workflow documents
//
//	apiVersion: kubernaut.ai/v1alpha1
//	kind: RemediationWorkflow
//	metadata:
//	  name: raise-memory-limit         # unique together with version
//	  version: 1.0.0                   # semantic version
//	spec:
//	  title: Raise a memory limit
//	  description: When to use it, and what it does.
//	  owner: platform                  # optional
//	  maintainer: platform@example.com # optional
//	  engine: tekton                   # default
//	  image: kubernaut/workflow-raise-memory-limit:1.0.0
//	  digest: sha256:…                 # optional
//	  labels:
//	    signalType: OOMKilled          # the others are * when left out
//	    severity: critical             # critical, high, medium, low
//	    component: deployment          # kind of the target, lower case; pvc and pv are short
//	    environment: staging
//	    priority: P1                   # P0 to P3
//	  causes: [oom-limit]              # cause classes that it remedies
//	  changes: declared                # declared: changes an object that somebody declared
//	                                   # runtime: leaves declarations alone (restart, evict, cordon)
//	                                   # source: changes where it is declared (Git, Helm values)
//	  risk: low                        # low, medium, high
//	  traits:                          # optional: what it is made for
//	    gitOpsManaged: true
//	    gitOpsTool: "*"                # argocd, flux, *
//	  customLabels: {team: [a, b]}     # optional
//	  expectedSuccessRate: 0.95        # optional
//	  expectedDurationSeconds: 60      # optional
//	  preconditions:                   # optional: what a person would check first
//	    - The node has room for the larger limit.
//	  parameters:
//	    - name: MEMORY_LIMIT           # UPPER_SNAKE_CASE
//	      type: string                 # string, int, float, bool
//	      required: true
//	      description: The new limit, a quantity.
//	      pattern: '[0-9]+(Mi|Gi)'     # RE2, matches the whole value; also minLength, maxLength,
//	                                   # minimum, maximum, enum, default
//	  steps:                           # what is run, $(NAME) being a parameter
//	    - kubectl -n $(NAMESPACE) set resources …
//
// Unknown, repeated and wrong-case keys are faults.
package catalog
