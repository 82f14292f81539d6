package report

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"os"
	"strconv"
	"strings"

	"kubernaut.ai/kubernaut/test/infrastructure/plan"
)

// testCase is a test case of any suite, for the JSON form of JUnit's.
type testCase struct {
	Suite   string  `json:"suite"`
	Name    string  `json:"name"`
	Status  string  `json:"status"` // passed, failed, skipped
	Seconds float64 `json:"seconds"`
	Message string  `json:"message,omitempty"`
	// Retries are the failed attempts before the last one.
	Retries int `json:"retries,omitempty"`
}

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Skipped  int          `xml:"skipped,attr"`
	Time     string       `xml:"time,attr"`
	Phases   junitSuite   `xml:"testsuite"`
	Specs    []rawElement // as ginkgo wrote them
}

type junitSuite struct {
	Name      string      `xml:"name,attr"`
	Tests     int         `xml:"tests,attr"`
	Failures  int         `xml:"failures,attr"`
	Errors    int         `xml:"errors,attr"`
	Skipped   int         `xml:"skipped,attr"`
	Time      string      `xml:"time,attr"`
	Timestamp string      `xml:"timestamp,attr"`
	Cases     []junitCase `xml:"testcase"`
}

// junitCase is a phase. Its retries are elements as Maven's Surefire writes them: flaky ones if it passed in the end, rerun
// ones if it did not.
type junitCase struct {
	Name      string        `xml:"name,attr"`
	Classname string        `xml:"classname,attr"`
	Time      string        `xml:"time,attr"`
	Skipped   *junitMessage `xml:"skipped"`
	Failure   *junitMessage `xml:"failure"`
	Error     *junitMessage `xml:"error"`
	Flaky     []junitRerun  `xml:"flakyError"`
	Rerun     []junitRerun  `xml:"rerunError"`
	SystemOut string        `xml:"system-out,omitempty"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
	Text    string `xml:",chardata"`
}

type junitRerun struct {
	Message    string `xml:"message,attr"`
	Type       string `xml:"type,attr"`
	StackTrace string `xml:"stackTrace"`
	SystemOut  string `xml:"system-out,omitempty"`
}

// rawElement is an element that is copied as it is.
type rawElement struct {
	XMLName xml.Name
	Attrs   []xml.Attr `xml:",any,attr"`
	Content string     `xml:",innerxml"`
}

// junit returns the run as JUnit's XML, with the suites of the specs' own reports after that of the phases, and adds to the
// document what those say. A report that cannot be read becomes a warning: the specs may have been killed.
func (d *document) junit(specReports []string) ([]byte, error) {
	r := d.Run
	all := junitSuites{Name: r.Suite, Time: seconds(total(r).Seconds())}
	all.Phases = junitSuite{Name: r.Suite + " infrastructure", Time: all.Time, Timestamp: r.Started.UTC().Format("2006-01-02T15:04:05")}
	for _, ph := range r.Phases {
		c := phaseCase(r, ph)
		all.Phases.Cases = append(all.Phases.Cases, c)
		all.Phases.Tests++
		t := testCase{Suite: all.Phases.Name, Name: ph.Name, Status: "passed", Seconds: ph.Duration.Seconds(), Retries: len(ph.Retries)}
		switch {
		case c.Failure != nil:
			all.Phases.Failures++
			t.Status, t.Message = "failed", c.Failure.Message
		case c.Error != nil:
			all.Phases.Errors++
			t.Status, t.Message = "failed", c.Error.Message
		case c.Skipped != nil:
			all.Phases.Skipped++
			t.Status, t.Message = "skipped", c.Skipped.Message
		}
		d.Cases = append(d.Cases, t)
	}
	all.Tests, all.Failures, all.Errors, all.Skipped = all.Phases.Tests, all.Phases.Failures, all.Phases.Errors, all.Phases.Skipped
	for _, path := range specReports {
		suites, cases, err := readJUnit(path)
		if err != nil {
			d.Warnings = append(d.Warnings, "the specs' own report: "+err.Error())
			continue
		}
		all.Specs = append(all.Specs, suites...)
		if d.Specs == nil {
			d.Specs = &specs{}
		}
		for _, c := range cases {
			d.Cases = append(d.Cases, c)
			all.Tests++
			d.Specs.Total++
			switch c.Status {
			case "failed":
				all.Failures++
				d.Specs.Failed++
				d.Specs.Names = append(d.Specs.Names, strings.TrimSuffix(c.Name+": "+firstLine(c.Message), ": "))
			case "skipped":
				all.Skipped++
				d.Specs.Skipped++
			}
		}
	}
	content, err := xml.MarshalIndent(all, "", "  ")
	if err != nil {
		return nil, err
	}
	return append([]byte(xml.Header), append(content, '\n')...), nil
}

// phaseCase is a phase as a test case.
func phaseCase(r plan.Result, ph plan.PhaseResult) junitCase {
	c := junitCase{Name: ph.Name, Classname: r.Suite + ".infrastructure", Time: seconds(ph.Duration.Seconds()), SystemOut: strings.Join(ph.Notes, "\n")}
	var reruns []junitRerun
	for _, retry := range ph.Retries {
		f := retry.Finding
		reruns = append(reruns, junitRerun{
			Message: strings.TrimPrefix(f.Unit+": "+f.Summary, ": "), Type: string(f.Class), StackTrace: strings.Join(f.Lines, "\n"),
			SystemOut: fmt.Sprintf("attempt %d; evidence in %s", retry.Attempt, retry.Evidence),
		})
	}
	switch ph.Status {
	case plan.Passed:
		c.Flaky = reruns
	case plan.Held:
		c.SystemOut = strings.TrimPrefix(c.SystemOut+"\nan earlier run did it, and it holds", "\n")
	case plan.NotRun:
		c.Skipped = &junitMessage{Message: cmp.Or(ph.Why, "not run")}
	default:
		c.Rerun = reruns
		m := &junitMessage{Message: string(ph.Status), Type: string(ph.Status)}
		product := false
		for i, f := range ph.Findings {
			if i == 0 {
				m.Message, m.Type, product = strings.TrimPrefix(f.Unit+": "+f.Summary, ": "), string(f.Class), f.Product
			}
			m.Text += fmt.Sprintf("%s: %s (%s)\n%s\n", where(f), f.Summary, kind(f), strings.Join(f.Lines, "\n"))
			if f.Fix != "" {
				m.Text += "What to do: " + f.Fix + "\n"
			}
		}
		if product {
			c.Failure = m
		} else {
			c.Error = m
		}
	}
	return c
}

// readJUnit reads a JUnit file: its suites as they are, and their cases.
func readJUnit(path string) ([]rawElement, []testCase, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	var raw struct {
		XMLName xml.Name
		Suites  []rawElement `xml:"testsuite"`
	}
	var parsed struct {
		Suites []struct {
			Name  string `xml:"name,attr"`
			Cases []struct {
				Name    string        `xml:"name,attr"`
				Time    float64       `xml:"time,attr"`
				Status  string        `xml:"status,attr"`
				Skipped *junitMessage `xml:"skipped"`
				Failure *junitMessage `xml:"failure"`
				Error   *junitMessage `xml:"error"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(content, &raw); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := xml.Unmarshal(content, &parsed); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	var cases []testCase
	for _, s := range parsed.Suites {
		for _, c := range s.Cases {
			t := testCase{Suite: s.Name, Name: c.Name, Status: "passed", Seconds: c.Time}
			if m := cmp.Or(c.Failure, c.Error); m != nil {
				t.Status, t.Message = "failed", m.Message
			} else if c.Skipped != nil {
				t.Status, t.Message = "skipped", c.Skipped.Message
			}
			node := strings.HasPrefix(t.Name, "[") && !strings.HasPrefix(t.Name, "[It]")
			if node && t.Status == "passed" {
				continue // a suite's set-up and its like are no specs, and count only when they fail
			}
			t.Name = strings.TrimPrefix(t.Name, "[It] ")
			cases = append(cases, t)
		}
	}
	return raw.Suites, cases, nil
}

func seconds(s float64) string { return strconv.FormatFloat(s, 'f', 3, 64) }

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	const long = 160
	if len(line) > long {
		line = strings.ToValidUTF8(line[:long], "") + " …"
	}
	return line
}
