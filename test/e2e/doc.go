// Package e2e is what the end-to-end specifications of all suites see a system with: the Kubernetes
// API, the HTTP endpoints of the services, the audit trail and the evidence behind it, and the fault
// proxy between the services. It looks from outside and shares no code with what it looks at but the
// resource types, so that a fault in the product cannot hide itself.
//
// Nothing in here sleeps: what changes in the Kubernetes API is watched, and what the context of a
// specification allows is the only bound. Functions return errors that say what was wanted and what
// was there; the suites turn them into failures.
package e2e
