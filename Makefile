# Everything a newcomer types. Needs Python 3.11 or newer, git and make; all else goes into .venv.
# Arguments for a command: make up ARGS="--port 9090"

.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= $(shell for each in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$each; break; }; done)
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
# Each worker has a PostgreSQL server of its own; tests of one file share what they start.
WORKERS ?= 2
PG15_BIN ?= /usr/lib/postgresql/15/bin
# Stores, buses, migrations, books, and whole platforms on both real buses.
PG15_TESTS := tests/integration/stores tests/integration/messaging tests/integration/bus tests/integration/http \
	tests/integration/audit tests/conformance tests/e2e/test_flows.py tests/e2e/test_audit.py \
	tests/e2e/test_postgres_down.py tests/e2e/test_failover.py
# Which of them; test-all takes all, also those that take minutes.
PG15_WHICH ?= -m "not long"
ARGS ?=

.PHONY: help env env-dev env-bench run up test test-all test-pg15 lint unit bench kafka clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

env:  ## Make the environment in .venv (again only when the lock file changed)
	@PYTHON="$(PYTHON)" sh scripts/environment.sh requirements.lock

env-dev:
	@PYTHON="$(PYTHON)" sh scripts/environment.sh requirements-dev.lock

env-bench:
	@PYTHON="$(PYTHON)" sh scripts/environment.sh requirements-bench.lock

run: env  ## Start a platform, replay the sample orders, audit the books, stop
	@exec $(BIN)/holdfast run $(ARGS)

up: env  ## Start a platform and keep it up until Ctrl-C
	@exec $(BIN)/holdfast up $(ARGS)

test: lint  ## Lint, types, import rules and every test but the long ones
	$(PYTEST) tests/simulation -m "every_core and not long" $(ARGS)
	$(PYTEST) tests -m "not every_core and not long" -n $(WORKERS) --dist loadfile $(ARGS)

test-all: test  ## The same, the tests that take minutes each, and all of test-pg15
	$(PYTEST) tests -m long --timeout 3600 $(ARGS)
	@$(MAKE) --no-print-directory test-pg15 PG15_WHICH="--timeout 3600"

test-pg15: env-dev  ## The tests of the database on Debian's PostgreSQL 15
	@test -x $(PG15_BIN)/postgres || { \
		echo "PostgreSQL 15 is needed: apt-get install postgresql-15, or name its programs: make test-pg15 PG15_BIN=..."; \
		exit 1; } >&2
	HOLDFAST_POSTGRES_BIN=$(PG15_BIN) $(PYTEST) $(PG15_TESTS) $(PG15_WHICH) -n $(WORKERS) --dist loadfile $(ARGS)

lint: env-dev  ## Lint, formatting, types and import rules
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy $(wildcard src tests scripts benchmarks)
	$(BIN)/lint-imports

unit: env-dev  ## The tests that start nothing
	$(PYTEST) tests/unit tests/simulation $(ARGS)

bench: env-bench  ## Measure throughput, latency and cost on this machine, beside other systems
	@exec $(BIN)/python -m benchmarks $(ARGS)

kafka: env-dev  ## Start a real Apache Kafka on the loopback address until Ctrl-C
	@exec $(BIN)/python -m holdfast.local.kafka $(ARGS)

clean:  ## Remove the environment and caches; data folders (.data) stay
	rm -rf .venv .kafka .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	rm -rf src/*.egg-info
	find src tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
