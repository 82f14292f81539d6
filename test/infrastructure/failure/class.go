package failure

// Class is what kind of cause a failure has, which decides whether it is worth trying again.
type Class string

const (
	Transient   Class = "transient"   // passes by itself: retried as it is, a few times, with growing pauses
	Stale       Class = "stale"       // residue of an earlier run: removed, then retried once
	Resource    Class = "resource"    // something ran out: freed, or fewer things at once, then retried once
	Host        Class = "host"        // this host cannot do it: stop and name the setting
	Permanent   Class = "permanent"   // the inputs are wrong: stop
	Unknown     Class = "unknown"     // not in the table: stop, keep everything
	Interrupted Class = "interrupted" // somebody ended the run
)

// The exit codes of the harness.
const (
	ExitOK             = 0
	ExitProduct        = 1   // the product, or what it was built from, is at fault
	ExitUsage          = 2   // the command line is
	ExitInfrastructure = 3   // the runtime or the cluster is, and retries did not help or were not allowed
	ExitHost           = 4   // this host is not ready
	ExitHarness        = 5   // the harness itself is at fault
	ExitInterrupted    = 130 // nobody is
)

// Retries is how often a failure of the class may be tried again; a row of the table may say otherwise for transient ones.
func (c Class) Retries() int {
	switch c {
	case Transient:
		return 3
	case Stale, Resource:
		return 1
	default:
		return 0
	}
}

// ExitCode is the exit code of a run that ended with a failure of the class.
func (c Class) ExitCode() int {
	switch c {
	case Permanent:
		return ExitProduct
	case Host:
		return ExitHost
	case Interrupted:
		return ExitInterrupted
	default:
		return ExitInfrastructure
	}
}
