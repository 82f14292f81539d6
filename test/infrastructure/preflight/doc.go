// Package preflight looks at a host before anything is built on it, and says everything that would fail later, at once,
// each with the command that puts it right. Nothing is retried and nothing of others is touched.
//
// It reads first and decides then: what a reading means is decided by functions of values, which are tested as tables. The
// readings are taken where the nodes will run, which need not be here.
//
// Two things it does by itself, and says so: it removes residue of our own that is known to stop a cluster (see Check), and
// with E2E_TUNE_HOST=1 or CI=true, as root, it raises kernel settings that are too low.
package preflight
