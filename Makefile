# Everything a person needs: `make demo`, `make ui`, `make test`, `make check`. Each sets itself up.
PYTHON ?= python3.11
BIN := .venv/bin
STAMP := .venv/.installed
PEERS ?= build/peers
unexport PYTHONDONTWRITEBYTECODE # compiling the tests anew costs each of their processes ten seconds

.PHONY: help setup demo ui old-clients test test-fast laws crash-matrix stress mutants check format snapshots lock clean bench bench-peers

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) ## virtual environment in .venv, locked dependencies

$(STAMP): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $(STAMP)

demo: setup ## the whole pipeline on the embedded sandbox, in data/demo
	$(BIN)/crm-attribution demo

ui: setup ## sandbox and Dagster on the instance the demo used
	$(BIN)/crm-attribution ui

test: setup ## every test
	$(BIN)/python -m pytest -n 3 --dist loadscope --no-loadscope-reorder

test-fast: setup ## rules, parsers, contracts, models, HTTP: under a minute on two cores
	$(BIN)/python -m pytest -n 2 --dist loadscope -m "not (pipeline or sandbox or crash or warehouse or slow)"

laws: setup ## every law of hypothesis with LAWS times the examples, drawn anew
	LAWS=$(or $(LAWS),20) $(BIN)/python -m pytest -n 2 -m hypothesis

crash-matrix: setup ## deliveries killed and raced: KILLS=10000 RACES=200 SEED=1; lost, doubled, ghost, unrecorded
	$(BIN)/python -m crm_attribution_tests.crash_matrix --kills $(or $(KILLS),1000) --races $(or $(RACES),200) \
		--seed $(or $(SEED),1)

stress: setup ## the warehouse under load, kills and neighbours: four minutes, one line of JSON a part
	$(BIN)/python -m crm_attribution_tests.stress

mutants: setup ## change the code in small ways: does a test fail? Changed files; ALL=1 SAMPLE=100 AGAIN=1 GO_ON=1 BUDGET=40
	$(BIN)/python -m crm_attribution_tests.mutants $(if $(ALL),--all) $(if $(SAMPLE),--sample $(SAMPLE)) \
		$(if $(AGAIN),--again) $(if $(GO_ON),--go-on) $(if $(BUDGET),--seconds $(BUDGET)) $(FILES)

check: setup ## formatter, linter, strict type checker
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: setup ## rewrite the code in the house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

snapshots: setup ## rewrite what tests compare word for word: asset keys, checks, docs/settings.md
	$(BIN)/python -m crm_attribution_tests.snapshots

lock: setup ## re-resolve requirements.lock from pyproject.toml
	$(BIN)/python -m pip install --quiet 'uv>=0.9'
	$(BIN)/uv pip compile pyproject.toml --group dev --generate-hashes --no-strip-extras --no-emit-index-url \
		--no-emit-find-links --no-header --no-annotate --python-version 3.11 --upgrade -o requirements.lock

bench: setup ## calls, speed and memory of extraction and attribution, as ratios
	$(BIN)/python -m benchmarks.extraction --peers $(PEERS)
	$(BIN)/python -m benchmarks.attribution --peers $(PEERS)

bench-peers: ## dlt, tap-hubspot, marketing-attribution-models in build/peers, each in an environment of its own
	$(PYTHON) -m venv $(PEERS)/dlt && $(PYTHON) -m venv $(PEERS)/tap-hubspot
	$(PEERS)/dlt/bin/python -m pip install --quiet 'dlt[duckdb]==1.31.0' 'duckdb==2.0.1'
	$(PEERS)/tap-hubspot/bin/python -m pip install --quiet 'tap-hubspot==4.5.0'
	$(PYTHON) -m venv $(PEERS)/attribution
	$(PEERS)/attribution/bin/python -m pip install --quiet 'marketing-attribution-models==2.1.1'

old-clients: ## asks the questions of docs/finance.md on the demo's file, in DuckDB 1.1 with nothing else installed
	$(PYTHON) -m venv build/duckdb-1.1
	build/duckdb-1.1/bin/python -m pip install --quiet 'duckdb==1.1.3'
	build/duckdb-1.1/bin/python crm_attribution_tests/questions.py data/demo/finance.duckdb

clean: ## remove the demo's data
	rm -rf data/demo
