// Package faults breaks a run of the end-to-end harness on purpose, on a real container engine, in the phase where the fault
// belongs, and judges whether the run ended as it must: All lists the faults, Fault.At puts one into a run, Fault.Judge
// says what became of it. Faults touch nothing but the nodes and ports of the cluster that they are aimed at.
package faults
