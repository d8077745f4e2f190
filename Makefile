# Everything that people run by hand. `make` alone lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-http test fuzz crash lint bench bench-verdict clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Assay needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group dev
	@touch $@

setup: $(STAMP) ## create .venv and install everything for development into it

demo: $(STAMP) ## run both pipelines on the sample data
	@$(BIN)/python sample_data/demo.py

demo-http: $(STAMP) ## run orders with its customers from a local HTTP service
	@$(BIN)/python -m sample_data.demo_http

# Tests start the command line some hundred times: what is compiled once need not be compiled again.
test fuzz crash: export PYTHONDONTWRITEBYTECODE :=

# One more process than cores, since many a test waits for another process.
test: $(STAMP) ## run the tests (long campaigns and benchmarks left out)
	$(BIN)/python -m pytest -q -n 3 -m "not campaign"

fuzz: $(STAMP) ## hold the compiled verdict against Pydantic's at length (60,000 feeds, over 200,000 records: long)
	HYPOTHESIS_PROFILE=campaign $(BIN)/python -m pytest -q -m campaign tests/records

crash: $(STAMP) ## kill runs at every system call that makes something durable, and look at what is left (long)
	ASSAY_CRASH_STRIDE=1 $(BIN)/python -m pytest -q tests/sinks -k "crash_at_any_step"
	$(BIN)/python -m pytest -q -m campaign tests/faults tests/sinks/test_sink_kills.py tests/sinks/test_table_kills.py

lint: $(STAMP) ## style, types, import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

BENCH := $(BIN)/python -m pytest -q -p no:randomly --benchmark-only --benchmark-group-by=group

bench: $(STAMP) ## measure, side by side with peers
	$(BENCH) benchmarks

bench-verdict: export ASSAY_BENCH_SCALE ?= 0.02
bench-verdict: $(STAMP) ## of these the figures of the verdict, on a tenth of the data
	$(BENCH) benchmarks/test_verdict.py

clean: ## remove what was made here: environment, caches, run history, outputs
	rm -rf $(VENV) .assay out .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks
