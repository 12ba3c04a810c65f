# make run     the quickstart: emulated routers, a collector, flows on the screen and in ./archive; Ctrl-C ends it with the ledger
# make build   bin/weir, static
# make test    all tests; make test-race: with the race detector
# make lint    gofmt, go vet, staticcheck
# make bench   figures of this machine beside their goals; bench-collector, bench-peers: beside others (bench/bench.mk)
# make soak    the promise of delivery under kill -9 (KILLS) and in simulated lives (LIVES), fuzzing (FUZZTIME for each decoder)
# make soak-load  the quickstart's pipelines at a high rate for SOAK; fails unless the ledgers balance
# make docs    the reference pages and drawings, from the code
# make generate   eBPF programs, from their C; needs clang and libbpf's headers

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unreleased)
SOAK     ?= 10m
RATE     ?= 200000
KILLS    ?= 200
LIVES    ?= 200
SEED     ?= 1
FUZZTIME ?= 10m
GO       ?= go

.PHONY: run build test test-race lint soak soak-load fuzz docs generate check-generated clean

bin/weir: FORCE
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.release=$(VERSION)" -o $@ ./cmd/weir
FORCE:

build: bin/weir

# The archive's directory must be there: the sink makes files, not directories.
run: bin/weir
	@mkdir -p archive
	@printf '%s\n' 'Emulated routers send NetFlow v9 and IPFIX to 127.0.0.1:2055; Weir decodes it, leaves DNS out,' \
		'shows the flows here and writes them to ./archive. Ctrl-C drains both pipelines and proves the ledger.' \
		'Meanwhile: bin/weir inspect pipeline' ''
	@bin/weir run pipelines/quickstart --log-level warn

test:
	$(GO) test ./...

test-race:
	$(GO) test -race ./...

lint:
	@out=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$out" || { echo "not formatted: $$out"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

soak:
	$(GO) run ./tools/soak -kills $(KILLS) -seed $(SEED)
	WEIR_SOAK=$(LIVES) $(GO) test -count=1 -timeout 60m -run 'TestNothingIsLost' ./core/engine
	@$(MAKE) --no-print-directory fuzz FUZZTIME=$(FUZZTIME)

# Both processes end with their ledgers, and with an error if one does not balance.
soak-load: bin/weir
	@mkdir -p archive
	@bin/weir run pipelines/quickstart/collect.yaml --set sinks.screen.type=discard --set sinks.screen.with= --admin 127.0.0.1:8686 --log-level warn & \
	collector=$$!; sleep 1; \
	bin/weir generate --to 127.0.0.1:2055 --protocol v9,ipfix --exporters 50 --rate $(RATE) --for $(SOAK); sent=$$?; \
	sleep 1; kill -TERM $$collector; wait $$collector && exit $$sent

fuzz:
	@tools/ci/fuzz.sh selftest
	@GO=$(GO) tools/ci/fuzz.sh $(FUZZTIME)

docs:
	$(GO) run ./tools/docs

generate:
	$(GO) generate ./bpf/...

check-generated: generate docs
	@git diff --exit-code -- bpf docs README.md || { echo 'generated files are not what the tree makes of their sources'; exit 1; }

clean:
	rm -rf bin

include bench/bench.mk
