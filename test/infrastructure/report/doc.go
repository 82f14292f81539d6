// Package report says what came of a run: a page for the person who is woken at night, the same as JSON, JUnit with the
// phases of the harness as test cases beside the specs, and a few lines on the console. Times are measured, and compared
// with those of earlier runs.
package report
