// Package investigate is the pipeline behind the investigation service: observe the cluster,
// diagnose what was observed, select a workflow, answer. It needs no model: the cause comes from
// diagnose, the workflow from the catalog, and neither from words.
//
// Before a finding is answered, every piece of its evidence is read again from the snapshot, and the
// snapshot is stored as a bundle under its digest, so that anybody can repeat the diagnosis. What was
// done is on the audit trail before the answer is given.
//
// Trouble with something that the pipeline depends on is an error of a kind that the caller retries;
// it is never taken for an answer. That the catalog cannot be reached does not mean that there is no
// workflow.
//
// # Confidence
//
// The confidence of a finding without a workflow is that of the diagnosis. With a workflow it is
// catalog.Confidence of the cause and of how well the workflow fits, which is never higher. Below
// the review threshold a person is asked, and the workflow stays in the answer for them to see.
package investigate
