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
//   - Order. When Record returned for one event before it was called for another, the one reaches the
//     sink before the other.
//   - No blockade. An event that the sink refuses for its content (KindInvalid, KindTooLarge,
//     KindConflict) is found by bisection, written durably with the reason to rejected.jsonl beside
//     the spool, counted, and logged; the others of its batch are delivered. Every other failure
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
// # What "on disk" is worth
//
// The spool is as durable as the volume under its directory. On a Kubernetes emptyDir it survives
// every crash and restart of the container, and of the node's operating system, but not the
// deletion or eviction of the pod: what the store has not accepted when the pod goes, after the
// flush in Close, goes with it. On a persistent volume it survives that too, and the next pod
// delivers it. An emptyDir of medium Memory survives the process only. A directory has one owner at
// a time (an advisory lock), so that a rollout on a persistent volume has to stop the old pod
// before it starts the new one.
//
// The position up to which events were delivered is written atomically but not synced: after a
// power cut it may be old, and then events are delivered again, which is harmless.
//
// # Damage
//
// Every record carries a CRC-32C. What a crash left half written at the end of the spool was never
// confirmed by Record; it is cut off at Open. Damage in the middle (a failing disk) costs the
// damaged records and no others; it is logged and counted.
package audit
