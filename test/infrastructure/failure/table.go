package failure

// Row is a known cause of failures.
type Row struct {
	// ID is F01 to F46 for those of the catalogue, S and a number for those met before, X for others.
	ID string
	// Summary says in one sentence what happened.
	Summary string
	// Text are regular expressions (RE2), one for each line; one that matches is enough.
	Text string
	// Phases are those in which the row holds; none: in all.
	Phases []string
	// Priority decides where the texts of two rows match: the cause has a higher one than what follows from it.
	Priority int
	// Class is that of the failure unless the probe says otherwise.
	Class Class
	// Probe is what to ask, and Outcomes what its answers mean.
	Probe    string
	Outcomes map[string]Outcome
	// Remedy is what may be done automatically before a retry, a name.
	Remedy string
	// Fix is what a person does: a command or a setting.
	Fix string
	// Retries is how often to try again where the class is that of the row.
	Retries int
	// Waits and Alone are as in Finding.
	Waits, Alone bool
	// Product says that the product is at fault, Harness that the harness is.
	Product, Harness bool
	// Source is where it was seen.
	Source string
}

// Outcome is what a row means after a probe's answer. What is empty is as in the row.
type Outcome struct {
	Class            Class
	Summary          string
	Remedy, Fix      string
	Retries          int
	Product, Harness bool
}
