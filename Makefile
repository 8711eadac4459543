# `make demo` and `make test` install what they need on a Debian 12 machine and do nothing twice.

.PHONY: help demo test bench fuzz soak docs format

help:
	@echo 'make demo    boot a Debian guest from a linked clone, from nothing (POOL=dir, rbd, iscsi or tgt)'
	@echo 'make test    build, run the test suites and the system tests'
	@echo 'make bench   compare with qemu-img, qemu-nbd, libiscsi, and fio on a Ceph cluster; measure limits'
	@echo 'make fuzz    fuzz the parsers (SECONDS=600 each)'
	@echo 'make soak    repeat the kill tests (SECONDS=3600)'
	@echo 'make docs    build the documentation into .build/docs'
	@echo 'make format  format the sources'

demo:
	@Fixtures/demo

test:
	@Fixtures/test

bench:
	@Fixtures/bench
	@Fixtures/bench-commands
	@Fixtures/bench-rbd
	@Fixtures/bench-iscsi
	@Fixtures/bench-qos

fuzz:
	@Fixtures/fuzz $(SECONDS)

soak:
	@Fixtures/soak $(SECONDS)

docs:
	@mkdir -p .build
	swift package $(OPTIONS) --allow-writing-to-directory .build/docs generate-documentation --target Sluice \
		--warnings-as-errors --output-path .build/docs

format:
	swift format --in-place --recursive --parallel Package.swift Sources Tests Snippets Benchmarks/Package.swift \
		Benchmarks/Sources
