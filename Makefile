# The two commands that matter: `make run` and `make test`. Both install what they need first.
SHELL := /bin/bash
.DEFAULT_GOAL := help
export UV_PYTHON_DOWNLOADS := never
export UV_PROJECT_ENVIRONMENT := .venv
# The platform is a dozen Python processes. Without compiled modules each compiles all it imports at each start, which
# more than doubles what a start costs; a shell that forbids to keep them would make `run` and `test` crawl.
export UV_COMPILE_BYTECODE := 1
unexport PYTHONDONTWRITEBYTECODE

UV := .tools/bin/uv
TOXIPROXY := .tools/bin/toxiproxy-server
GO := $(or $(shell command -v go),$(wildcard /usr/local/go/bin/go))
BIN := .venv/bin
MEMBERS := $(wildcard libs/*/pyproject.toml services/*/pyproject.toml)
PACKAGES := $(patsubst %/pyproject.toml,-e ./%,$(MEMBERS))

.PHONY: help install run test checks lint types contracts unit integration stories platform erasure others faults mutants \
	toxiproxy bench events lock clean

help: ## Show the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(UV):
	python3 -m venv .tools
	.tools/bin/pip install --quiet --disable-pip-version-check uv==0.13.9

$(TOXIPROXY):
ifeq ($(GO),)
	@echo "No Go here, so toxiproxy is not built; the rows on spoilt links are skipped."
else
	GOBIN=$(CURDIR)/$(@D) $(GO) install github.com/Shopify/toxiproxy/v2/cmd/server@v2.5.0
	mv $(@D)/server $@
endif

.venv/installed: requirements.lock pyproject.toml $(MEMBERS) | $(UV)
	$(UV) venv --quiet --allow-existing --python python3 .venv
	$(UV) pip sync --quiet --require-hashes requirements.lock
	$(UV) pip install --quiet --no-deps $(PACKAGES)
	@touch $@

install: .venv/installed ## Install everything into .venv

run: install ## Start everything, fill an empty installation with the demo, stay up until Ctrl-C
	@exec $(BIN)/crm up --demo

# What `make test` runs, two at a time and the longest first. Each part of the integration tests is a process of its own
# with stacks of its own; `others` is whatever the parts before it do not name, so no test can be forgotten.
# Who stops `make test`, by Ctrl-C or otherwise, interrupts every part, so each still stops its stacks.
PARTS := stories unit platform others erasure checks

test: install ## Everything that must hold, against the real parts
	@rm -f build/*.test.log
	@set -m; $(MAKE) --no-print-directory --keep-going --output-sync=target -j2 $(PARTS) & \
	trap 'kill -INT -- -$$!' INT TERM HUP; wait $$!; failed=$$?; wait; \
	tail -n1 build/*.test.log; exit $$failed

checks: lint types contracts

lint: install ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install ## mypy, strict
	$(BIN)/mypy libs/*/src services/*/src
	$(BIN)/mypy libs/*/tests services/*/tests tests benchmarks
	$(BIN)/mypy conftest.py

contracts: install ## import-linter: dependencies point one way
	$(BIN)/lint-imports

# Of a part: its output is shown in one piece when it has ended, and is kept for the closing lines of all parts.
define pytest
@mkdir -p build; $(BIN)/pytest $(1) > build/$@.test.log 2>&1; failed=$$?; cat build/$@.test.log; exit $$failed
endef
REAL := -m "integration and (not faults or quick)"

unit: install ## Tests that need no server
	$(call pytest,-m "not integration")

integration: stories platform erasure others ## Tests against real Kafka, MongoDB and PostgreSQL

stories: install
	$(call pytest,$(REAL) tests/integration)

platform: install
	$(call pytest,$(REAL) libs/platform)

erasure: install
	$(call pytest,$(REAL) tests/erasure)

others: install
	$(call pytest,$(REAL) $(addprefix --ignore=,tests/integration libs/platform tests/erasure))

faults: install toxiproxy ## Break the running platform in every way, and see each row fail on a mutant; NIGHTLY=1 takes longer
	@mkdir -p build; $(BIN)/python -m tests.faults.mutants.run > build/mutants.log 2>&1 & mutants=$$!; \
	$(BIN)/pytest -m faults tests/faults; rows=$$?; \
	wait $$mutants; survived=$$?; \
	cat build/faults.md build/mutants.log; exit $$((rows | survived))

mutants: install ## The fault suite's mutants alone; WORDS="F03 F10" takes some only
	$(BIN)/python -m tests.faults.mutants.run $(WORDS)

toxiproxy: $(TOXIPROXY) ## Build the proxy that spoils links for the fault suite; needs Go

bench: install ## Measure the platform beside the bare libraries; ROWS="R1 R6" measures some only
	@exec $(BIN)/python -m benchmarks $(ROWS)

events: install ## Generate the events' JSON Schemas, docs/events.md and docs/asyncapi; refuses what breaks released events
	$(BIN)/python -m crm_events.release
	$(BIN)/python -m crm_local.private_events
	$(BIN)/python -m crm_events.catalogue > docs/events.md
	$(BIN)/python -m crm_local.asyncapi docs/asyncapi

lock: install ## Pin every dependency anew, naming no download host (docs/adr/0001)
	$(UV) lock --upgrade
	$(UV) export --quiet --no-emit-workspace --no-header --format requirements-txt --output-file requirements.lock

clean: ## Remove what install and tests have made; the local data in .local stays
	rm -rf .venv .tools build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
