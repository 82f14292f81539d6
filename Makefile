.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

# What a developer may want to set: make test PKG=./internal/store/..., make demo ARGS='-o json'.
PKG ?= ./...
ARGS ?=
FUZZTIME ?= 5s
# COVERAGE=true leaves profiles in coverage/, which the end-to-end report takes up.
COVERAGE ?=
covered = $(if $(COVERAGE),$(eval COVER := -coverprofile=coverage/$(1).out -covermode=atomic)@mkdir -p coverage)

# The flags of internal/controlplane/build.go: with others Go compiles 2,400 packages anew.
CONTROLPLANE_TEST := CGO_ENABLED=0 GOFLAGS= go test -vet=off -trimpath -buildvcs=false -tags=selinux,notest,grpcnotrace

##@ Use

.PHONY: help
help: ## Show this text
	@awk 'BEGIN {FS = ":.*## "} /^##@ / {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  make %-22s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: bin/kubernaut ## Diagnose broken workloads on an API server of its own (ARGS='-o json' for machines)
	bin/kubernaut demo $(ARGS)

.PHONY: build
build: ## Build the services and the CLI into bin/, where kubectl finds it as a plugin too (PATH=$$PWD/bin:$$PATH)
	go build -o bin/ ./cmd/...
	ln -sf kubernaut bin/kubectl-kubernaut
	ln -sf kubernaut bin/kubectl_complete-kubernaut

.PHONY: controlplane
controlplane: ## Build the API server that demo and tests start (minutes, once; kept in the user's cache)
	go run ./hack/controlplane

##@ Check

.PHONY: test
test: verify-generate controlplane ## Run all tests: generated code, unit, integration (API server, SQLite, PostgreSQL)
	cd controlplane && $(CONTROLPLANE_TEST) ./...
	$(call covered,integration)
	go test -timeout=20m $(COVER) $(PKG)

.PHONY: test-unit
test-unit: ## Run the tests that need no server
	go test -short $(PKG)

.PHONY: race
race: ## Run the unit tests under the race detector (needs a C compiler)
	$(call covered,unit)
	CGO_ENABLED=1 go test -race -short -timeout=20m $(COVER) $(PKG)

.PHONY: fuzz-smoke
fuzz-smoke: ## Run each fuzz test for a few seconds (FUZZTIME=5s)
	hack/fuzz-smoke.sh $(FUZZTIME)

.PHONY: bench
bench: controlplane ## Measure policy, storage and controller; print one table
	hack/bench.sh

.PHONY: bench-diagnose
bench-diagnose: controlplane ## Measure reading and diagnosing a cluster of 5,000 Pods on a real API server (ARGS=-strict)
	go run ./test/bench-diagnose $(ARGS)

.PHONY: scenarios
scenarios: ## Measure the engine on all scenarios (docs/scenarios.md; ARGS='-v probe', ARGS='-o json')
	go run ./test/scenarios/cmd/scenarios $(ARGS)

.PHONY: calibrate
calibrate: ## Measure how far the engine's confidence can be believed
	go run ./test/scenarios/cmd/scenarios -calibrate $(ARGS)

.PHONY: lint
lint: bin/golangci-lint ## Run golangci-lint
	bin/golangci-lint run

.PHONY: verify-generate
verify-generate: ## Fail if anything generated is stale; leaves the work tree alone
	hack/verify-generate.sh

##@ Check on a real cluster (docs/e2e.md)

.PHONY: test-e2e-aianalysis
test-e2e-aianalysis: bin/e2e ## Run the end-to-end suite on a Kind cluster on Podman or Docker (E2E_COVERAGE=true)
	bin/e2e run aianalysis

.PHONY: test-e2e-datastorage
test-e2e-datastorage: bin/e2e ## Run Data Storage's suite, with a PostgreSQL in the cluster
	bin/e2e run datastorage

.PHONY: test-e2e-faults
test-e2e-faults: ## Break runs of the harness on purpose, on real clusters
	E2E_FAULTS=1 go test -count=1 -timeout=30m -run='^TestReal' ./test/infrastructure

.PHONY: e2e-soak
e2e-soak: bin/e2e ## Repeat runs of a suite with random faults, N of them (5), and tell what became of each
	bin/e2e soak -n $(or $(N),5) $(or $(SUITE),aianalysis)

.PHONY: node-image
node-image: ## Get or build the image of a Kind node, and that of PostgreSQL
	go run ./test/infrastructure/cmd/node-image -postgres

##@ Change

.PHONY: generate
generate: ## Generate deepcopy, CRD, and the code of both HTTP APIs
	go generate ./...

.PHONY: fmt
fmt: bin/golangci-lint ## Format the code (gofumpt)
	bin/golangci-lint fmt

.PHONY: clean
clean: ## Remove what was built here; Go's cache and the control plane's stay
	rm -rf bin coverage

# Go knows by itself what is up to date.
.PHONY: bin/kubernaut
bin/kubernaut:
	go build -o bin/kubernaut ./cmd/kubernaut

.PHONY: bin/e2e
bin/e2e:
	go build -o bin/e2e ./test/infrastructure/cmd/e2e

.PHONY: bin/golangci-lint
bin/golangci-lint:
	hack/install-lint.sh
