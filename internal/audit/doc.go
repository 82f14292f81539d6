// Package audit builds the events of the audit trail and carries them to the store without losing
// or doubling any.
//
// # Guarantees
//
// Record returns nil only when the event is on disk (written and synced) in the spool directory.
// From then on:
//
//   - No loss. The event stays in the spool until the sink has accepted it, through crashes of this
//     process and of the sink, at any point, in any number. Nothing is dropped when the sink is
//     down: when the spool is full, Record waits for room, and fails with ErrFull when its context
//     ends first.
//   - No doubles. Delivery is at least once, and the sink is idempotent by event id, which makes it
//     exactly once in the store. A caller that does not know whether an event was recorded, because
//     it crashed or because Record failed, records it again with the same id; New gives ids that
//     stay the same.
//   - Order. When Record returned for one event before it was called for another in the same process,
//     the one reaches the sink before the other, whichever process delivers them. What a process
//     adopts from one that is gone comes before what it records afterwards.
//   - No blockade. An event that the sink refuses for its content (KindInvalid, KindTooLarge,
//     KindConflict) is found by bisection, written durably with the reason to rejected.jsonl in
//     the configured directory, counted, and logged; the others of its batch are delivered. Every other failure
//     is retried for ever. Only when rejected.jsonl has reached its bound, or cannot be written,
//     does delivery wait for an operator: rather than lose an event, it keeps it.
//
// Record's failure means that the event may or may not have been recorded, unless it is ErrFull,
// ErrClosed or of KindInvalid, when it was not.
//
// A conflict means that the store holds another event of the same id. As ids are derived from
// content, that is the same fact told twice with another time, typically before and after a crash:
// the first telling stands, and Delivered counts the event as stored.
//
// # Several processes
//
// The configured directory can be shared by processes on one node: a pod and the one that replaces it, a
// leader and its standby. Each has a directory of its own in it, which is locked as long as the process
// lives, whatever ends it. At its start and every few seconds a client looks for directories whose
// lock is free, and adopts them: it moves their undelivered records to the end of its own spool,
// file by file, and removes them. So what a process leaves is delivered by the next, or by the one beside
// it, and a client never touches what a living one has. A spool that lies in the configured directory
// itself, as a program writes it that is alone there, is adopted like that.
//
// Bounds hold over all: what is adopted takes room, and so do the undelivered bytes that other
// processes had when last looked at. A directory that cannot be adopted (a disk error, a format of
// another version) is logged by name, stays as it is, and is tried again.
//
// The lock is flock(2). A file system that does not have it is refused at Open; one that has it on each
// node only must not be mounted on two.
//
// # What "on disk" is worth
//
// The spool is as durable as the volume under its directory. On a persistent volume it survives the
// deletion of the pod, and the next pod delivers it. On a Kubernetes emptyDir it survives every crash and
// restart of the container, and of the node's operating system, but not the deletion or eviction of
// the pod: what the store has not accepted then, after the flush in Close, goes with it. An emptyDir of
// medium Memory survives the process only.
//
// The position up to which events were delivered is written atomically but not synced: after a
// power cut it may be old, and then events are delivered again, which is harmless.
//
// # Damage
//
// Every record carries a CRC-32C. What a crash left half written at the end of the spool was never
// confirmed by Record; it is cut off, or stepped over. Damage in the middle (a failing disk) costs the
// damaged records and no others; it is logged and counted.
package audit
