# What a person types. .ci/run types the same.

.PHONY: help run test bench image run-image lint fmt reference

help:
	@echo "make run        build, start the balancer and three demo peers, say what to try"
	@echo "make test       install what the tests need (as root), run them all"
	@echo "make bench      measure beside nginx and HAProxy (root; ONLY=http_small ROUNDS=5 SECONDS=3)"
	@echo "make image      build the appliance, universal and tiny, into target/image (IMAGE=\"--tiny --key FILE\"; its --help says more)"
	@echo "make run-image  boot it in QEMU before demo peers (RUN=\"--uefi --tiny\"; FAIRLEAD_KVM=1 where KVM works)"
	@echo "make lint       clippy and rustfmt, as CI runs them"
	@echo "make reference  write conf/REFERENCE.md anew from the directives' rows"

run:
	cargo build --bin fairlead
	@mkdir -p run
	@exec target/debug/fairlead demo --with-balancer -p . -c conf/fairlead.conf

test:
	@tests/run

bench:
	cargo build --release --bin fairlead
	cargo run --release -p fairlead-bench

IMAGE ?= --universal --tiny

image:
	cargo run --quiet --profile ci -p fairlead-image -- build $(IMAGE)

run-image:
	cargo run --quiet --profile ci -p fairlead-image -- run $(RUN)

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

fmt:
	cargo fmt --all

reference:
	cargo run -q --bin fairlead -- reference > conf/REFERENCE.md
