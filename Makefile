# Two commands matter to a newcomer: `make demo` and `make test`. Both build their own
# virtual environment from constraints.txt and start their own servers.
SHELL  := /bin/bash
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
PYTEST ?= $(BIN)/pytest
TEST_PROCESSES ?= 2
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_PROGRESS_BAR ?= off

SOURCES := $(shell find packages/*/src packages/*/pyproject.toml -type f -not -path '*/__pycache__/*')

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types imports unit prove test-rabbitmq bench docs lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.dependencies: constraints.txt requirements-dev.in
	@echo "Setting up $(VENV) (about a minute, once) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) install --quiet hatchling
	@$(PIP) install --quiet --no-build-isolation -r requirements-dev.in
	@touch $@

$(VENV)/.packages: $(VENV)/.dependencies $(SOURCES)
	@$(PIP) install --quiet --no-deps --no-build-isolation --force-reinstall ./packages/claimwright ./packages/contention
	@touch $@

setup: $(VENV)/.packages ## Build the virtual environment and install both packages, claimwright and contention

demo: setup ## Settle a year of real New York weather and show what was paid
	@$(BIN)/claimwright demo

test: lint types imports unit ## Everything that must hold: ruff, mypy, import-linter, pytest

lint: setup ## ruff, rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup ## mypy, strict, over sources and tests
	$(BIN)/mypy

imports: setup ## import-linter: which room may import which
	$(BIN)/lint-imports

unit: setup ## pytest on real PostgreSQL and Valkey, in two processes with servers of their own
	$(PYTEST) -n $(TEST_PROCESSES) --dist loadfile

prove: setup ## The longer proofs: larger property tests, seeded bugs under more schedules
	CLAIMWRIGHT_TEST_PROFILE=prove $(PYTEST) -n $(TEST_PROCESSES) --dist loadfile -m "prove or not prove"

# RUNLEVEL=1 keeps the package from starting a server of its own.
test-rabbitmq: setup ## The tests of workers on RabbitMQ, which Debian's package brings where it is missing
	@test -x /usr/lib/rabbitmq/bin/rabbitmq-server || { apt-get update -qq && \
	  RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends rabbitmq-server; }
	CLAIMWRIGHT_TEST_BROKER=rabbitmq $(PYTEST) -m "prove or not prove" packages/claimwright/tests/worker

bench: setup ## Benchmarks, each beside its peer, printed as ratios
	@for script in bench/bench_*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

docs: setup ## Rebuild the generated parts of the documents
	$(BIN)/python docs/build.py

lock: setup ## Compile requirements-dev.in into constraints.txt
	$(PIP) install --quiet uv
	$(BIN)/uv pip compile --quiet --python-version 3.11 --universal --no-emit-index-url --no-emit-find-links \
	  --no-annotate --no-header --strip-extras requirements-dev.in | grep -v '^\./' > constraints.txt.new
	mv constraints.txt.new constraints.txt

clean: ## Remove what was built
	rm -rf $(VENV) demo-output .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
