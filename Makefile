# DFaaS. `make help` lists what there is.

GO       ?= go
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
PACKAGES := ./... ./e2e/...
COMMANDS := ./spoa/cmd/dfaas-spoa ./controller/cmd/dfaas-controller ./controller/cmd/dfaasctl \
            ./faasd/cmd/dfaas-provider ./deploy/emulator/cmd/dfaas-emulator
LDFLAGS  := -s -w -X main.version=$(VERSION)
# The same for all that is compiled here: what is compiled otherwise is compiled again. Without cgo, as what is released: programs
# are the same with and without a C compiler, and dfaas-controller can have timers that may be late.
COMPILE  := -trimpath
CGO_ENABLED ?= 0
export CGO_ENABLED
# What runs on a node. `make install` puts it below DESTDIR, and PREFIX but for /etc.
NODE     := dfaas-spoa dfaas-controller dfaasctl dfaas-provider
BIN      := bin
PREFIX   ?= /usr
RUN      := .run
OUT      := out

.DEFAULT_GOAL := help
.PHONY: help setup build install demo up down test check matrix vuln bench paper paper-emulator figures fuzz faults systemd compose soak release clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install missing Debian packages (haproxy, figlet, tesseract)
	@deploy/setup.sh haproxy=haproxy figlet=figlet tesseract=tesseract-ocr curl=curl

build: ## build all commands into bin/
	$(GO) build $(COMPILE) -ldflags '$(LDFLAGS)' -o "$(BIN)/" $(COMMANDS)
	@GO='$(GO)' deploy/completions.sh "$(BIN)" $(COMMANDS)

# It neither builds nor starts anything, so root need not run a compiler and a package can be made of it.
install: to = $(DESTDIR)$(PREFIX)
# Where Debian's zsh looks for what packages bring, and for what does not come as one.
install: ZSH = $(if $(filter /usr,$(PREFIX)),vendor-completions,site-functions)
install: ## copy programs, units and configuration to a node, after `make build`; as root
	@for program in $(NODE); do [ -x "$(BIN)/$$program" ] || { echo "install: no $(BIN)/$$program: run make build first" >&2; exit 1; }; done
	@install -D -m 755 -t "$(to)/bin" $(foreach program,$(NODE),"$(BIN)/$(program)")
	@for program in $(NODE); do \
		install -D -m 644 "$(BIN)/completions/$$program.bash" "$(to)/share/bash-completion/completions/$$program" && \
		install -D -m 644 "$(BIN)/completions/$$program.zsh" "$(to)/share/zsh/$(ZSH)/_$$program" && \
		install -D -m 644 -t "$(to)/share/fish/vendor_completions.d" "$(BIN)/completions/$$program.fish" || exit 1; done
	@install -D -m 644 -t "$(to)/lib/systemd/system" deploy/systemd/*.service
	@sed -i 's|^ExecStart=/usr/bin/|ExecStart=$(PREFIX)/bin/|' "$(to)"/lib/systemd/system/dfaas-*.service
	@install -D -m 644 -t "$(to)/lib/sysusers.d" deploy/systemd/sysusers.d/dfaas.conf
	@install -D -m 644 -t "$(to)/lib/tmpfiles.d" deploy/systemd/tmpfiles.d/dfaas.conf
	@install -D -m 644 -t "$(DESTDIR)/etc/haproxy" haproxy/dfaas.cfg haproxy/dfaas-spoe.conf
	@[ -e "$(DESTDIR)/etc/dfaas/controller.yaml" ] || install -D -m 644 -t "$(DESTDIR)/etc/dfaas" deploy/systemd/controller.yaml
	@echo 'Copied, and nothing started. Next, as root (docs/install.md):'
	@echo '  systemd-sysusers dfaas.conf && systemd-tmpfiles --create dfaas.conf'
	@echo '  dfaasctl keygen          # or copy the federation key of another node to /etc/dfaas/federation.key'
	@echo '  dfaasctl id --create'
	@echo '  edit /etc/dfaas/controller.yaml, then: runuser -u dfaas -- dfaas-controller --check'
	@echo '  systemctl daemon-reload && systemctl enable --now dfaas-spoa dfaas-controller'
	@echo '  systemctl enable --now dfaas-provider     # unless there is faasd, or another gateway'
	@echo '  load /etc/haproxy/dfaas.cfg into HAProxy, then: dfaasctl check-haproxy && systemctl restart haproxy'

demo: setup build ## three nodes, one overloaded, a forged peer: watch it (3 minutes at most)
	@"$(BIN)/dfaas-emulator" demo -o "$(OUT)/demo"

up: setup build ## start the three-node federation and leave it running (node i: port 808i)
	@"$(BIN)/dfaas-emulator" up --dir "$(RUN)"

down: ## stop what `make up` started
	@"$(BIN)/dfaas-emulator" down --dir "$(RUN)"

# Of the tests that run side by side most wait, with real HAProxy for its time limits: more of them than there are cores.
# The whole federations run last: they measure rates. What was vetted is not vetted again, nor what was built built.
TESTED := DFAAS_TEST_PROGRAMS='$(abspath $(BIN))' $(GO) test $(COMPILE) -vet=off -timeout 20m
test: setup build check vuln ## all tests, with real HAProxy and real processes
	@deploy/setup.sh python3=python3 ip=iproute2 systemd-tmpfiles=systemd
	$(TESTED) -p 3 -parallel 4 ./...
	$(TESTED) -parallel 4 ./e2e/...

# One of each version of HAProxy is part of `make test`. A release that cannot be had here is skipped, and named.
SUITES ?= bookworm trixie forky sid experimental
matrix: setup ## the drop-in's tests with the HAProxy of each of Debian's SUITES (3 minutes)
	DFAAS_TEST_HAPROXY='$(SUITES)' $(GO) test $(COMPILE) -vet=off -count 1 -timeout 20m -v ./haproxy | \
		awk '/^--- (FAIL|SKIP)|^    --- (FAIL|SKIP)|_test.go:|^(FAIL|ok|PASS|panic)/; /^(FAIL|panic)/ { failed = 1 } END { exit failed }'

MODULES := . e2e
check: ## formatting, vet, and whether every module stands on its own
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$unformatted" ] || { echo "gofmt -w $$unformatted"; exit 1; }
	$(GO) vet $(COMPILE) $(PACKAGES)
	@for m in $(MODULES); do (cd $$m && GOWORK=off $(GO) list -test -deps ./... >/dev/null) || { echo "in $$m: GOWORK=off go mod tidy"; exit 1; }; done

vuln: ## known vulnerabilities in what is called, by govulncheck, where its database can be reached
	@GO='$(GO)' deploy/vuln.sh $(PACKAGES)

bench: setup build ## benchmarks, with all HAProxies of Debian and what one would take instead; writes docs/performance.md (half an hour)
	@deploy/setup.sh wrk=wrk
	$(GO) build $(COMPILE) -o bin/ ./e2e/cmd/dfaas-bench
	bin/dfaas-bench --out docs/performance.md

# It knows by its own digest whether what it did earlier is still worth something, so nothing goes into it that changes with the docs.
# PAPER=quick takes a minute and makes the page in out/paper/quick; PAPER=as-is makes it of what there is after an interruption.
PAPER ?= full
dfaas-paper = $(GO) build -trimpath -buildvcs=false -o bin/ ./e2e/cmd/dfaas-paper
paper: ## simulate the grid of federations; writes the tables and figures of docs/strategies.md
	$(dfaas-paper)
	bin/dfaas-paper $(if $(filter-out full,$(PAPER)),--$(PAPER)) --out "$(OUT)/paper"

paper-emulator: setup build ## seven cells of that grid with real processes (3 minutes); writes docs/strategies.md
	$(dfaas-paper)
	bin/dfaas-paper --emulator --out "$(OUT)/paper"

REPEAT ?= 1
figures: setup build ## the original's published experiments beside ours, REPEAT times (1), in both worlds; writes docs/research.md (10 minutes)
	$(dfaas-paper)
	bin/dfaas-paper --figures --repeat $(REPEAT) --commit "$(VERSION)" --out "$(OUT)/figures"

FUZZTIME ?= 30s
fuzz: ## run every fuzz target for FUZZTIME (30s); failing inputs are kept as tests
	@GO='$(GO)' deploy/fuzz.sh $(FUZZTIME)

faults: setup build ## break every part of a node under load; writes docs/reliability.md (about a quarter of an hour)
	bin/dfaas-emulator faults -o docs/reliability.md

systemd: setup build ## the units under a real systemd: programs that hang are restarted, functions have users (2 minutes, 4 the first time); as root
	@deploy/setup.sh systemd-nspawn=systemd-container debootstrap=debootstrap
	@deploy/systemd/watchdog.sh

release: ## the programs of a node for amd64 and arm64, reproducibly, with what they are made of, in out/release
	@GO='$(GO)' VERSION='$(VERSION)' deploy/release.sh "$(OUT)/release"

compose: ## the three nodes of deploy/compose in containers: called, forged, killed, cut off, healed, down; needs Docker
	@deploy/compose/test.sh

# Built as it is run nowhere else: with the race detector.
SOAK ?= 30m
SEED ?= 0
soak: setup ## random load, churn and faults for SOAK (30m) under the race detector; writes docs/soak.md
	@deploy/setup.sh gcc=build-essential
	CGO_ENABLED=1 $(GO) build -race $(COMPILE) -ldflags '$(LDFLAGS)' -o bin/race/ $(COMMANDS)
	bin/race/dfaas-emulator soak --for $(SOAK) --seed $(SEED) -o docs/soak.md

clean: ## remove what was built
	rm -rf "$(BIN)" "$(OUT)"
