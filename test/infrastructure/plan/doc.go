// Package plan runs typed phases: side by side where they do not depend on each other, each with a deadline, a stall timer and
// a log of its own. The smallest unit of a phase is retried, by the class of its failure and after evidence and cleanup;
// after every phase a checkpoint is written, from which a later run resumes once it has verified what it claims.
package plan
