# kvferry. `make help` lists the targets.
#
# Everything builds into .build/. `make run` and `make test` need Go and nothing
# else: no C compiler, no GPU, no CUDA toolkit. Linters and the benchmark table
# are modules pinned in tools/go.mod; the first use builds them.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS   += --no-print-directory

GO        ?= go
BUILD     := .build
TOOLS     := $(BUILD)/tools
LINTER    := $(TOOLS)/golangci-lint
BENCHSTAT := $(TOOLS)/benchstat
BINARY    := $(BUILD)/kvferry

TESTFLAGS ?=
FUZZTIME  ?= 60s
BENCH     ?= .
COUNT     ?= 6
SOAK      ?= 1
PEERS      := $(BUILD)/peers
STORE_PAGE ?= bench/results/store.md
RESULTS    ?= bench/results
QUOTE      ?= $(if $(filter bench/results,$(RESULTS)),docs/performance.md)
MODELS     ?=
BENCH_FLAGS ?=
REF         ?=
PROFILE     ?=
BENCHTIME   ?= 100ms
PKG       ?= ./...
MUTANTS   ?= .
CC        ?= cc

# What bench-compare runs if PKG names no packages: the hot path.
COMPARE := $(if $(filter ./...,$(PKG)),./codec/... ./digest/... ./cas/pack/... ./capture ./index/memory ./index/art ./pagecache,$(PKG))
bench-compare: COUNT = 10

# The default build has no cgo; targets that need it say so themselves.
export CGO_ENABLED := 0

##@ Use

.PHONY: run
run: $(BINARY) ## build kvferry and show a capture, a kill and a restore
	$(BINARY) demo

.PHONY: build
build: $(BINARY) ## build .build/kvferry

# Go knows better than make what is out of date.
.PHONY: $(BINARY)
$(BINARY): | toolchain
	$(GO) build -o $@ ./cmd/kvferry

##@ Test

.PHONY: test
test: | toolchain ## run all tests of all packages (TESTFLAGS=-v)
	@$(GO) test $(TESTFLAGS) ./...

.PHONY: check
check: test check-rest ## run all that CI runs

.PHONY: check-rest
check-rest: format modules vet lint build-all race test-cuda check-ptx check-sqlite check-report check-redis check-events check-fuzz generate examples ## run what `check` adds to `test`
	@echo "check: all passed"

.PHONY: format
format: | toolchain ## fail on files that gofmt would change
	@scripts/format

.PHONY: modules
modules: | toolchain ## fail if go.mod or go.sum is not tidy
	@$(GO) mod tidy -diff
	@echo "modules: tidy"

.PHONY: vet
vet: | toolchain ## vet for this machine and for linux/arm64
	$(GO) vet ./...
	GOOS=linux GOARCH=arm64 $(GO) vet ./...

.PHONY: lint
lint: $(LINTER) ## run golangci-lint over the tree
	$(LINTER) run --allow-serial-runners ./...

.PHONY: house
house: | toolchain ## run only the tests that hold the house rules
	$(GO) test -count=1 ./internal/house

.PHONY: build-all
build-all: | toolchain ## build every package, natively and for linux/arm64
	$(GO) build ./...
	GOOS=linux GOARCH=arm64 $(GO) build ./...

# codec/planes shares nothing: codec's tests encode in several goroutines. Of the
# llama example's model, the rest is arithmetic of one goroutine.
UNRACED := /(codec/planes|examples/llama/model|internal/house)$$
RACED   := ^(TestMatmulIsOneSum|TestSplitCoversAll)$$

.PHONY: race
race: | toolchain ## run the tests under the race detector, where there is a C compiler
	@if command -v $(CC) >/dev/null; then \
		echo "CGO_ENABLED=1 $(GO) test -race, all packages but arithmetic without anything shared, and the house rules"; \
		CGO_ENABLED=1 $(GO) test -vet=off -race $$($(GO) list ./... | grep -Ev '$(UNRACED)'); \
		CGO_ENABLED=1 $(GO) test -vet=off -race -run '$(RACED)' ./examples/llama/model; \
	else \
		echo "race detector: skipped, no C compiler"; \
	fi

.PHONY: fuzz
fuzz: | toolchain ## fuzz every target for FUZZTIME each (PKG=./codec for one package)
	@scripts/fuzz $(FUZZTIME) $(PKG)

.PHONY: check-fuzz
check-fuzz: | toolchain
	@scripts/fuzz 10000x ./...

.PHONY: soak
soak: | toolchain ## run the crash, fault, kill and model suites of the stores and indexes in full (SOAK=1; hours)
	KVFERRY_SOAK=$(SOAK) $(GO) test -count=1 -timeout 180m -v ./cas/... ./index/... | scripts/soak-summary

.PHONY: examples
examples: run ## run the examples to their end

.PHONY: check-processfork
check-processfork: $(BINARY) ## let ProcessFork's own reader judge our stores (needs cargo)
	@scripts/check-processfork $(BINARY) $(BUILD)/processfork

.PHONY: check-events
check-events: | toolchain ## feed an index by publishers of libzmq and msgspec, where there is Python
	@GO=$(GO) scripts/check-events $(BUILD)/venv

.PHONY: check-vllm
check-vllm: | toolchain ## let a real vLLM on the CPU feed an index, and compare (needs Python; 7 GB, about 3 minutes the first time)
	@scripts/check-vllm $(BUILD)/vllm

.PHONY: check-sqlite
check-sqlite: $(LINTER) | toolchain ## run SQLite on our page cache, where there is a C compiler
	@scripts/check-sqlite $(CC) $(LINTER)

.PHONY: check-report
check-report: $(LINTER) | toolchain ## test the module that makes the report's page
	@scripts/check-report $(LINTER)

.PHONY: check-redis
check-redis: | toolchain ## run the index in Redis on servers of its own (installs redis-server on Debian)
	@scripts/check-redis

.PHONY: ptx
ptx: ## make kernels/kernels.ptx from the kernels' sources (needs clang-16)
	@scripts/ptx
	@scripts/ptxas

.PHONY: check-ptx
check-ptx: ## make the PTX anew and compare; assemble it for every device
	@scripts/ptx --check
	@scripts/ptxas --check

.PHONY: softcuda
softcuda: ## build the software CUDA driver of the tests (needs g++)
	@scripts/softcuda $(BUILD)/softcuda

.PHONY: cuda-env
cuda-env: softcuda ## print the settings for go build and go test -tags cuda: eval "$$(make cuda-env)"
	@include=$$(scripts/cuda-headers 12); \
	echo "export CGO_ENABLED=1 CGO_CFLAGS='-I$(CURDIR)/cuda/compat -I$$include -O2 -g' LD_LIBRARY_PATH='$(CURDIR)/$(BUILD)/softcuda'"

.PHONY: test-cuda
test-cuda: | toolchain ## run all that has the tag cuda on the software driver, where there is a C++ compiler
	@if command -v g++ >/dev/null; then scripts/test-cuda $(BUILD); else echo "test-cuda: skipped, no C++ compiler"; fi

.PHONY: mutants
mutants: softcuda ## plant bugs in the GPU path, one by one, and see each caught (half an hour; MUTANTS=regexp for some)
	@eval "$$($(MAKE) -s cuda-env)" && $(GO) run ./scripts/mutants -run '$(MUTANTS)'

.PHONY: lint-cuda
lint-cuda: $(LINTER) ## run golangci-lint over what has the tag cuda, too
	@include=$$(scripts/cuda-headers 12); \
	CGO_ENABLED=1 CGO_CFLAGS="-I$(CURDIR)/cuda/compat -I$$include -O2 -g" $(LINTER) run --allow-serial-runners --build-tags cuda ./...

.PHONY: check-device
check-device: device ## run the device suite to its end on the software driver
	@scripts/softcuda $(BUILD)/softcuda
	@LD_LIBRARY_PATH=$(CURDIR)/$(BUILD)/softcuda DEVICE_FLAGS=-small DEVICE_SECONDS=1800 DEVICE_TEST_SECONDS=600 \
		scripts/device.sh $(BUILD)/device $(BUILD)/device-results

.PHONY: check-dockerfile
check-dockerfile: | toolchain ## lint Dockerfile.cuda and run its build stage without Docker (CUDA_INCLUDE=FOLDER)
	@scripts/check-dockerfile $(BUILD)/dockerfile $(CUDA_INCLUDE)

##@ Measure

# What measures knows its commit, so that a report can name it.
MEASURE := $(BUILD)/bench/kvferry

.PHONY: $(MEASURE)
$(MEASURE): | toolchain
	$(GO) build -buildvcs=auto -o $@ ./cmd/kvferry

.PHONY: bench
bench: $(MEASURE) $(BENCHSTAT) ## measure everything quickly, without peers (5 minutes; BENCH_FLAGS='--only store,codec')
	@scripts/bench-fio
	$(MEASURE) bench all --dir $(BUILD)/bench --go $(BUILD)/bench/all.txt --raw $(BUILD)/bench/all.json --report $(BUILD)/bench/all.md $(BENCH_FLAGS)
	@$(BENCHSTAT) $(BUILD)/bench/all.txt
	@echo "report: $(BUILD)/bench/all.md, samples: $(BUILD)/bench/all.json, all.txt"

.PHONY: bench-smoke
bench-smoke: $(MEASURE) ## run every suite once on next to nothing, to see that it works
	$(MEASURE) bench all --scale smoke --dir $(BUILD)/bench --go $(BUILD)/bench/smoke.txt --raw $(BUILD)/bench/smoke.json --report $(BUILD)/bench/smoke.md $(BENCH_FLAGS)

.PHONY: bench-report
bench-report: $(MEASURE) bench-peers ## measure everything beside its peers and write REPORT.md and report.html (30 minutes; MODELS=FOLDER BENCH_FLAGS=...)
	@GO=$(GO) MODELS='$(MODELS)' QUOTE='$(QUOTE)' scripts/bench-report $(MEASURE) $(PEERS) $(CURDIR)/$(BUILD)/bench $(RESULTS) $(BENCH_FLAGS)

.PHONY: bench-go
bench-go: $(BENCHSTAT) ## run the benchmarks beside the code, print a table (BENCH=regexp PKG=./cas/... COUNT=6)
	@scripts/bench $(BENCHSTAT) $(BUILD)/bench '$(BENCH)' $(COUNT) $(PKG)

.PHONY: bench-compare
bench-compare: $(BENCHSTAT) ## fail if benchmarks beside the code are slower than at REF (REF=main~10 BENCH=regexp PKG=./codec/... COUNT=10)
	@GO=$(GO) scripts/bench-compare $(BENCHSTAT) $(BUILD)/compare '$(REF)' '$(BENCH)' $(COUNT) $(BENCHTIME) $(COMPARE)

.PHONY: profile
profile: $(MEASURE) ## take processor, allocation and block profiles of the main paths (PROFILE='capture codec')
	@GO=$(GO) scripts/profile $(MEASURE) $(CURDIR)/$(BUILD)/profiles $(PROFILE)

.PHONY: bench-peers
bench-peers: | toolchain ## install the programs to measure beside, pinned, into .build/peers (15 minutes and 8 GB the first time)
	@GO=$(GO) scripts/bench-peers $(PEERS) $(BUILD)/vllm

.PHONY: bench-store
bench-store: $(MEASURE) $(PEERS)/restic $(PEERS)/kopia ## measure the store beside fio, restic and kopia (STORE_FLAGS='--only write' STORE_PAGE=FILE)
	@scripts/bench-store $(MEASURE) $(PEERS) $(BUILD)/bench-store $(STORE_PAGE) $(STORE_FLAGS)

.PHONY: bench-caches
bench-caches: $(BINARY) ## measure the caches of kernels and pages, pages beside golang-lru, ristretto and otter
	$(BINARY) bench caches --dir $(BUILD)
	cd bench/peers/caches && $(GO) test -run '^$$' -bench . -count 3

.PHONY: device
device: | toolchain ## build the tests and figures for a machine with a GPU, and print how to run them there (CUDA_INCLUDE=FOLDER)
	@scripts/device-build $(BUILD)/device $(CUDA_INCLUDE)

.PHONY: bench-index
bench-index: $(BINARY) ## measure residency indexes, beside Holt where there is cargo (INDEX_FLAGS='--backend art --records 1000000')
	@scripts/bench-index $(BINARY) $(BUILD)/bench-index $(INDEX_FLAGS)

.PHONY: bench-sqlite
bench-sqlite: | toolchain ## run SQLite's speedtest1 on both page caches (SPEEDTEST1=FILE.c COUNT=6)
	@scripts/bench-sqlite $(BUILD)/bench-sqlite '$(SPEEDTEST1)' $(COUNT)

$(PEERS)/%: bench/peers/%/go.mod bench/peers/%/go.sum | toolchain
	@echo "building $*, once (a minute or two)"
	cd bench/peers/$* && $(GO) build -trimpath -tags nohtmlui -o ../../../$@ tool

##@ Keep

.PHONY: generate
generate: | toolchain ## run go generate and fail if that changes the tree
	@scripts/generate

.PHONY: clean
clean: ## remove everything that was built
	rm -rf $(BUILD)

.PHONY: help
help: ## show this list
	@awk 'BEGIN {FS = ":.*## "} \
		/^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Tools. The linter must be built by a Go at least as new as the tree's.

$(LINTER): tools/go.mod tools/go.sum | toolchain
	@echo "building golangci-lint, once (a minute or two)"
	cd tools && $(GO) build -trimpath -o ../$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

$(BENCHSTAT): tools/go.mod tools/go.sum | toolchain
	cd tools && $(GO) build -trimpath -o ../$@ golang.org/x/perf/cmd/benchstat

.PHONY: toolchain
toolchain:
	@command -v $(GO) >/dev/null || { \
		echo "kvferry needs Go 1.26 or newer: install it and put go on the PATH" >&2; \
		exit 1; }
