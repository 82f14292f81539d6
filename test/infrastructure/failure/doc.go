// Package failure says what a failure is: it looks the text of an error up in a table of known causes, lets a probe decide
// where one text has two, and says whether trying again can help. What is not in the table is unknown, and never retried.
package failure
