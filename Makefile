# make demo        the stack from nothing on this machine, and a switchover under a client's eyes (SUITE=trixie for newer)
# make test        everything: fmt, clippy, unit tests, the real stack on bookworm and trixie (SUITES=bookworm for one)
# make clean-demo  remove what either left: containers, volumes, networks, images
# `cargo test` alone runs all that needs no Docker.

SUITE ?= bookworm
SUITES ?= bookworm trixie
export SUITE SUITES

.PHONY: help demo test clean-demo
help:
	@sed -n 's/^# //p' Makefile
demo:
	@scripts/demo
test:
	@scripts/test
clean-demo:
	@scripts/stack clean
