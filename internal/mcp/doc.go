// Package mcp serves the registry of read-only tools, and the engine's verdict, over the Model Context
// Protocol, so that any agent can ask what this system knows.
//
// # Analyses
//
// The tool analyze reads the cluster, or a recording of one, and answers with the verdict and an id (a1, a2,
// …). The other tools read the snapshot of one analysis: the one that the argument analysis names, else the
// latest. Where there is none yet, or the latest says nothing about the namespace that was asked for, that
// namespace is read first. The last [KeptAnalyses] are kept, and are common to all who are connected: the
// protocol knows calls without a session.
//
// # Evidence
//
// Every value in a result has an id, which belongs to its analysis: the same place with the same value keeps it.
// The tool evidence gives an id's whole record, read again from the snapshot.
//
// # What a client can do
//
// Read, within bounds: there is no tool that writes. Results are JSON of bounded size, in which < > & are
// escaped and hidden characters are made visible. Text that looks like an order to its reader is listed as
// such. A call that is wrong, or that could not be done, is a result with isError and never an error of the
// protocol, so that a model can read it.
package mcp
