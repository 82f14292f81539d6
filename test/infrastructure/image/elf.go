package image

import (
	"debug/elf"
	"fmt"

	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

// machines are the architectures that nodes have, as Go names them.
var machines = map[elf.Machine]string{
	elf.EM_X86_64:  "amd64",
	elf.EM_AARCH64: "arm64",
	elf.EM_PPC64:   "ppc64le",
	elf.EM_S390:    "s390x",
	elf.EM_RISCV:   "riscv64",
}

// CheckBinary errs, as a permanent failure, if a program cannot run in an image FROM scratch on a node of an architecture: it
// is for another one, or it wants a loader.
func CheckBinary(file, arch string) error {
	const row = "F46"
	f, err := elf.Open(file)
	if err != nil {
		return failure.New(failure.Permanent, row, fmt.Sprintf("%s is no Linux program: %v", file, err), "build it with GOOS=linux")
	}
	defer f.Close()
	if have := machines[f.Machine]; have != arch {
		return failure.New(failure.Permanent, row, fmt.Sprintf("%s is for %s and the nodes are %s", file, f.Machine, arch), "build it with GOARCH="+arch)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return failure.New(failure.Permanent, row, file+" is linked dynamically, and an image FROM scratch has no loader", "build it with CGO_ENABLED=0")
		}
	}
	return nil
}
