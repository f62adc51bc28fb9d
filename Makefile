# The two commands that matter: `make run` and `make test`. Both install what they need first.
SHELL := /bin/bash
.DEFAULT_GOAL := help
export UV_PYTHON_DOWNLOADS := never
export UV_PROJECT_ENVIRONMENT := .venv

UV := .tools/bin/uv
BIN := .venv/bin
MEMBERS := $(wildcard libs/*/pyproject.toml services/*/pyproject.toml)
PACKAGES := $(patsubst %/pyproject.toml,-e ./%,$(MEMBERS))

.PHONY: help install run test lint types contracts unit integration events lock clean

help: ## Show the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(UV):
	python3 -m venv .tools
	.tools/bin/pip install --quiet --disable-pip-version-check uv==0.13.9

.venv/installed: requirements.lock pyproject.toml $(MEMBERS) | $(UV)
	$(UV) venv --quiet --allow-existing --python python3 .venv
	$(UV) pip sync --quiet --require-hashes requirements.lock
	$(UV) pip install --quiet --no-deps $(PACKAGES)
	@touch $@

install: .venv/installed ## Install everything into .venv

run: install ## Start everything, fill an empty installation with the demo, stay up until Ctrl-C
	@exec $(BIN)/crm up --demo

test: lint types contracts unit integration ## Everything that must hold, against the real parts

lint: install ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install ## mypy, strict
	$(BIN)/mypy libs/*/src services/*/src
	$(BIN)/mypy libs/*/tests services/*/tests tests

contracts: install ## import-linter: dependencies point one way
	$(BIN)/lint-imports

unit: install ## Tests that need no server
	$(BIN)/pytest -m "not integration"

integration: install ## Tests against real Kafka, MongoDB and PostgreSQL
	$(BIN)/pytest -m integration

events: install ## Generate docs/events.md from the event classes
	$(BIN)/python -m crm_events.catalogue > docs/events.md

lock: install ## Pin every dependency anew, naming no download host (docs/adr/0001)
	$(UV) lock --upgrade
	$(UV) export --quiet --no-emit-workspace --no-header --format requirements-txt --output-file requirements.lock

clean: ## Remove what install and tests have made; the local data in .local stays
	rm -rf .venv .tools build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
