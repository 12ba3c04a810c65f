# make run     the quickstart: emulated routers, a collector, flows on the screen and in ./archive; Ctrl-C ends it with the ledger
# make build   bin/weir, static
# make test    all tests; make test-race: with the race detector
# make lint    gofmt, go vet, and staticcheck if it is a tool of the module
# make bench   figures of this machine beside their goals; bench-collector, bench-peers: beside others (bench/bench.mk)
# make soak    the quickstart's pipelines at a high rate for SOAK (10m); fails unless the ledgers balance

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unreleased)
SOAK    ?= 10m
RATE    ?= 200000
GO      ?= go

.PHONY: run build test test-race lint soak clean

bin/weir: FORCE
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.release=$(VERSION)" -o $@ ./cmd/weir
FORCE:

build: bin/weir

# The archive's directory must be there: the sink makes files, not directories.
run: bin/weir
	@mkdir -p archive
	@printf '%s\n' 'Emulated routers send NetFlow v9 and IPFIX to 127.0.0.1:2055; Weir decodes it, leaves DNS out,' \
		'shows the flows here and writes them to ./archive. Ctrl-C drains both pipelines and proves the ledger.' \
		'Meanwhile: bin/weir inspect pipeline --live 127.0.0.1:8686' ''
	@bin/weir run pipelines/quickstart --log-level warn

test:
	$(GO) test ./...

test-race:
	$(GO) test -race ./...

lint:
	@out=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$out" || { echo "not formatted: $$out"; exit 1; }
	$(GO) vet ./...
	@if $(GO) tool -n staticcheck >/dev/null 2>&1; then $(GO) tool staticcheck ./...; else echo 'staticcheck is no tool of this module: left out'; fi

# The summary is the last line of standard error; the exit code says whether it balances.
soak: bin/weir
	@mkdir -p archive
	bin/weir run pipelines/quickstart/collect.yaml --set sinks.screen.type=discard --set sinks.screen.with= --admin off --for $(SOAK) --log-level warn & \
	collector=$$!; sleep 1; \
	bin/weir generate --to 127.0.0.1:2055 --protocol v9,ipfix --exporters 50 --rate $(RATE) --for $(SOAK) || exit 1; \
	wait $$collector

clean:
	rm -rf bin

include bench/bench.mk
