// Package controller reconciles AIAnalysis resources: it has each incident investigated, asks the
// approval policy, and writes the result to the status.
//
// Reconcile repeats three steps until there is nothing left to do at once:
//
//   - gather reads everything that the decision depends on into a value, facts: the resource, the
//     clock, whether a call may start, what a finished call answered, what the policy says;
//   - decide is a function from facts to a step: the next status, and whether a call starts or when
//     to look again. It does no I/O and is tested as a table and as a state machine;
//   - act records the audit events of the step, writes the status as one patch, and then starts the
//     call, counts and announces.
//
// What is recorded, counted and announced is derived from the change of the status alone, so it
// cannot differ from what was written.
//
// # No call twice
//
// An investigation costs money, so it is started once. The number of the attempt is in the status
// before the call starts, and the call carries "<uid>/<generation>/<attempt>" as its idempotency
// key: a process that is killed at any point asks again under the same key, and the investigating
// side joins or repeats the one investigation. A call whose outcome is unknown, because it timed
// out or broke off, is repeated under the same key for the same reason.
//
// A call runs beside the reconcile workers, in a bounded pool; its result is kept until the status
// that uses it is written.
//
// # Stale reads
//
// Every status write carries the resource version it was decided on, so a decision on a stale copy
// cannot be stored. Besides, the reconciler remembers what it wrote until the cache has seen it. A
// conflict is resolved by reading the resource once more; nothing but the patch is repeated.
//
// # The record comes first
//
// Audit events are durable before the status that they tell about. Before a status says Completed
// or Failed, the reconciler waits, within a bound and without holding a worker, until Data Storage
// has them all; auditState says how that ended. Event ids are derived from the resource and the
// content of the event, so that repeating a step records nothing twice.
package controller
