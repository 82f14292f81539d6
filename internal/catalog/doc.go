// Package catalog reads workflow documents, decides which workflow fits a cause, fills its
// parameters from evidence and validates them. It does no I/O.
package catalog
