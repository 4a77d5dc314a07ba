.DEFAULT_GOAL := test
.PHONY: setup servers check audit check-deploy secrets test faults kills soak fuzz release-data images calendars demo bench
.DELETE_ON_ERROR:
SHELL := /bin/bash

BIN := .venv/bin
PYTHON ?= python3
SERVERS := .cache/servers
BENCH := throughput live scale
JOBS ?= 3
stamp = $(shell cat $(1) | sha256sum | cut -c1-12)
LOCKED := .venv/locked-$(call stamp,requirements.lock)
INSTALLED := .venv/installed-$(call stamp,requirements.lock pyproject.toml)
FETCHED := $(SERVERS)/fetched-$(call stamp,tools/servers/pom.xml)
PREPARED := $(SERVERS)/prepared-$(call stamp,tools/servers/pom.xml requirements.lock)

setup: $(INSTALLED) servers $(PREPARED)
	@tools/need.sh chromium
	@tools/need.sh openssl

servers: $(FETCHED)

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile

# Known vulnerabilities of what is locked: asks PyPI, so it is no part of `check`. What cannot be asked about is a failure.
audit: $(INSTALLED)
	$(BIN)/pip-audit --strict --no-deps --disable-pip --requirement requirements.lock

# What Docker Compose itself would say of docker-compose.yml; needs Go, but no Docker.
check-deploy:
	mkdir -p .cache
	cd tools/compose-check && test -z "$$(gofmt -l .)" && go vet . && go build -o $(CURDIR)/.cache/compose-check .
	.cache/compose-check docker-compose.yml small full small+producers full+producers

secrets:
	deploy/make-secrets.sh

# Tests often wait, for a session to run out or a paced load: more of them than two keep two processors busy.
# They start hundreds of workers and commands, which had better not be compiled each time.
test: setup check
	PYTHONDONTWRITEBYTECODE= $(BIN)/pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder

# Plans of faults, and the same oracle at the end of each; make faults FAULTS="--seed 1234"
faults: setup
	PYTHONPATH=tests $(BIN)/python -m faults $(FAULTS)

# Two hundred SIGKILLs in a replay of a million ticks; make kills KILLS="--kills 20 --ticks 100000"
kills: setup
	PYTHONPATH=tests $(BIN)/python -m faults.kills $(KILLS)

# Half an hour at 2,000 ticks/s: memory, descriptors, lag; make soak SOAK="--minutes 5"
soak: setup
	PYTHONPATH=tests $(BIN)/python -m faults.soak $(SOAK)

# What a worker of this version leaves behind, for tests of the next ones: docs/releasing.md
release-data: setup
	PYTHONPATH=tests $(BIN)/python -m released

# Damaged inputs for everything that reads foreign bytes; make fuzz FUZZ="--target yahoo --inputs 1000000"
fuzz: $(INSTALLED)
	PYTHONPATH=tests $(BIN)/python -m fuzz $(FUZZ)

# The screenshots of the documentation.
images: setup
	mkdir -p docs/images
	$(BIN)/pytest tests/browser -k fits_screens --images docs/images

# The exchange calendars that are made of a library; look at what changes before it is committed.
calendars: $(INSTALLED)
	$(BIN)/python -W ignore tools/calendars/make.py

# The whole system with nothing else installed; make demo DEMO="--replay sample --speed 600"
demo: $(INSTALLED)
	$(BIN)/stockstream demo $(DEMO)

# Within ten minutes, with the tables of docs/performance.md; one by name: make bench-live, -scale, -recovery, -profile, -ingest
bench: $(INSTALLED) servers
	for each in $(BENCH); do $(BIN)/python -m bench.$$each || exit 1; done
	$(BIN)/python -m bench.report --write

bench-%:
	$(MAKE) bench BENCH=$*

$(LOCKED):
	@tools/need.sh venv $(PYTHON)
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --requirement requirements.lock
	touch $@

$(INSTALLED): $(LOCKED)
	$(BIN)/pip install --quiet --no-deps --editable .
	$(BIN)/pip check
	touch $@

$(FETCHED):
	@tools/need.sh mvn
	rm -rf $(SERVERS)
	mvn -q -B -f tools/servers/pom.xml process-resources -Dservers.dir=$(CURDIR)/$(SERVERS)
	touch $@

# The servers start in half the time from what is written here; they start without it, too.
$(PREPARED): $(FETCHED) $(INSTALLED)
	$(BIN)/python -m stockstream.testing.preparation
	touch $@
