# Benchmarks: what they do and what they are measured against stands in bench/README.md. None of them fails for a figure.
#
# make bench             bench-engine and bench-pipelines
# make bench-engine      decoding, the engine, pipelines and hot paths, without a network; ends with the goals (about 4 minutes)
# make bench-pipelines   what each node of the ready-made pipelines costs here
# make bench-peers       decoding beside GoFlow2 as a library, on the same datagrams (about 2 minutes)
# make bench-collector   collectors beside each other over loopback UDP: Weir, nfcapd, pmacct, GoFlow2 (about 6 minutes)
# make bench-proofs      goals that are no matter of speed, by the tests that prove them: delivery, ledger, hostile input (about 5 minutes)

BENCH ?=# flags of the program: make bench-collector BENCH='-step 1s -v', make -s bench-engine BENCH='-o json'

.PHONY: bench bench-engine bench-pipelines bench-peers bench-collector bench-proofs

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

bench-proofs:
	@$(GO) build -o bin/bench-proofs ./bench/proofs && bin/bench-proofs $(BENCH)
