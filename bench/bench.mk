# Benchmarks: what they do and what they are measured against stands in bench/README.md. None of them fails for a figure.
#
# make bench             bench-engine and bench-pipelines
# make bench-engine      decoding, the engine, pipelines and hot paths, without a network; ends with the goals (about 2 minutes)
# make bench-pipelines   what each node of the ready-made pipelines costs here
# make bench-peers       decoding beside GoFlow2 as a library, on the same datagrams (about 1 minute)
# make bench-collector   collectors beside each other over loopback UDP: Weir, nfcapd, pmacct, GoFlow2 (below 6 minutes)

BENCH ?=# flags of the program: make bench-collector BENCH='-step 1s -v'

.PHONY: bench bench-engine bench-pipelines bench-peers bench-collector

bench: bench-engine bench-pipelines

bench-engine: bin/weir
	@$(GO) build -o bin/bench-engine ./bench/engine && bin/bench-engine $(BENCH)

bench-pipelines: bin/weir
	@for p in $$(ls pipelines/*.yaml pipelines/quickstart/collect.yaml); do bin/weir bench $$p --for 3s || exit 1; echo; done

# The peers are a module of their own: Weir's does not depend on them. -mod=mod: it follows the versions of Weir's.
bench-peers:
	@cd bench/peers && $(GO) build -mod=mod -o ../../bin/bench-peers . && ../../bin/bench-peers $(BENCH)

# Without the peer (its module could not be had) the others are measured all the same.
bench-collector: bin/weir
	@(cd bench/peers && $(GO) build -mod=mod -o ../../bin/bench-goflow2 ./goflow2) || echo 'goflow2 could not be built: left out'
	@$(GO) build -o bin/bench-collector ./bench/collector && bin/bench-collector $(BENCH)
