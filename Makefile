# `make demo` and `make test` install what they need on a Debian 12 machine and do nothing twice.

.PHONY: help demo test bench fuzz soak format

help:
	@echo 'make demo    boot a Debian guest from a linked clone, from nothing'
	@echo 'make test    build, run the test suites and the system tests'
	@echo 'make bench   compare with qemu-img bench and qemu-nbd'
	@echo 'make fuzz    fuzz the parsers (SECONDS=600 each)'
	@echo 'make soak    repeat the kill tests (SECONDS=3600)'
	@echo 'make format  format the sources'

demo:
	@Fixtures/demo

test:
	@Fixtures/test

bench:
	@Fixtures/bench

fuzz:
	@Fixtures/fuzz $(SECONDS)

soak:
	@Fixtures/soak $(SECONDS)

format:
	swift format --in-place --recursive --parallel Package.swift Sources Tests Benchmarks/Package.swift \
		Benchmarks/Sources
