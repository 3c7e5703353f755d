# DFaaS. `make help` lists what there is.

GO       ?= go
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
PACKAGES := ./... ./spoa/... ./controller/... ./deploy/emulator/... ./e2e/...
COMMANDS := ./spoa/cmd/dfaas-spoa ./controller/cmd/dfaas-controller ./controller/cmd/dfaasctl \
            ./faasd/cmd/dfaas-provider ./deploy/emulator/cmd/dfaas-emulator
LDFLAGS  := -s -w -X main.version=$(VERSION)
RUN      := .run
OUT      := out

.DEFAULT_GOAL := help
.PHONY: help setup build demo up down test check bench fuzz fuzz-short faults soak clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install missing Debian packages (haproxy, figlet, tesseract)
	@deploy/setup.sh haproxy=haproxy figlet=figlet tesseract=tesseract-ocr curl=curl

build: ## build all commands into bin/
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ $(COMMANDS)

demo: setup build ## three nodes, one overloaded, a forged peer: watch it (3 minutes at most)
	@bin/dfaas-emulator demo -o $(OUT)/demo

up: setup build ## start the three-node federation and leave it running (node i: port 808i)
	@bin/dfaas-emulator up --dir $(RUN)

down: ## stop what `make up` started
	@bin/dfaas-emulator down --dir $(RUN)

# The whole federations run last and alone: they measure rates.
test: setup build check ## all tests, with real HAProxy and real processes
	@deploy/setup.sh python3=python3 ip=iproute2
	@$(MAKE) --no-print-directory fuzz-short
	$(GO) test -timeout 10m $(filter-out ./e2e/...,$(PACKAGES))
	$(GO) test -timeout 10m ./e2e/...

check: ## formatting and vet
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$unformatted" ] || { echo "gofmt -w $$unformatted"; exit 1; }
	$(GO) vet $(PACKAGES)

bench: setup build ## benchmarks; writes docs/performance.md
	@deploy/setup.sh wrk=wrk
	$(GO) build -o bin/ ./e2e/cmd/dfaas-bench
	bin/dfaas-bench --out docs/performance.md

FUZZTIME ?= 30s
fuzz: ## run every fuzz target for FUZZTIME (30s); failing inputs are kept as tests
	@GO='$(GO)' deploy/fuzz.sh $(FUZZTIME)

# A count, so that a busy machine takes longer but finds the same.
fuzz-short:
	@GO='$(GO)' deploy/fuzz.sh 2000x

faults: setup build ## break every part of a node under load; writes docs/reliability.md (about 12 minutes)
	bin/dfaas-emulator faults -o docs/reliability.md

# Built as it is run nowhere else: with the race detector.
SOAK ?= 30m
SEED ?= 0
soak: setup ## random load, churn and faults for SOAK (30m) under the race detector; writes docs/soak.md
	@deploy/setup.sh gcc=build-essential
	$(GO) build -race -trimpath -ldflags '$(LDFLAGS)' -o bin/race/ $(COMMANDS)
	bin/race/dfaas-emulator soak --for $(SOAK) --seed $(SEED) -o docs/soak.md

clean: ## remove what was built
	rm -rf bin $(OUT)
