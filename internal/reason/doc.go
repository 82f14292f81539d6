// Package reason lets a language model investigate on top of a deterministic diagnosis. It can add
// understanding: it explains the finding, reads more through read-only tools, and may doubt it. It cannot
// add an action, lower a safeguard, or state as a fact what evidence does not carry. Whatever the model
// does, the deterministic answer stands; see [Reasoner.Refine].
//
// # What a model is told, and how
//
// The system text is a file of this package, the same for every case; no text of a cluster is ever in it.
// All that comes from a cluster, from the engine or from the catalog is JSON in user messages and tool
// results, with the characters made visible that hide or reorder text ([Visible]). Every value that a tool
// returns has an evidence id, which the model cites and the gate resolves.
//
// # The gate
//
// A submission is accepted when it fits its schema, every evidence id in it was handed out, and the
// candidate and the workflow are of those that it was offered. A rejected one is sent back with all its
// faults, at most [MaxAttempts] times. Of an accepted one each sentence is then weighed:
//
//   - supported: it cites evidence that holds against the snapshot, and every particular in it (name,
//     number, quantity, quoted text, reason code) stands in what it cites;
//   - hypothesis: it cites nothing, or says more than what it cites;
//   - dropped: it tells somebody to do something, leads elsewhere (a link), or speaks of approval or
//     confidence. None of that is the model's to say.
//
// Text that somebody wrote into the cluster (logs, messages, annotations, values of ConfigMaps and of
// environment variables) can be quoted; alone it moves nothing. A model that disagrees with the engine
// lowers the confidence only by sentences that rest on what components recorded (specs, statuses, absence),
// and asks for a person when those are most of what it says. One that agrees raises the confidence in the
// explanation, which is told beside the engine's; what a policy decides by is never raised.
//
// # Text that gives orders
//
// What the model reads is searched for text that addresses a reader of it ([Suspect]). Where there is
// some, the answer says so with its place, and the model's opinion is not counted: neither its doubt nor its
// choice of a workflow.
//
// # Counting tokens
//
// Where a provider tells how many tokens it counted, that counts. Before a call, and where it does not,
// [CountTokens] does: an estimate that is rather too high than too low.
package reason
