# The commands of this project; `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
DATA := $(or $(MA_DATA_DIR),var)

.PHONY: help run install models avatars widget thumbnails test check lint types imports unit faults bench lock clean

help: ## list these commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-17s %s\n", $$1, $$2}'

run: install ## set everything up and start the server with its demo page on http://localhost:8000
	@$(BIN)/machineavatars serve

install: $(BIN)/.installed widget models avatars ## set everything up: environment in .venv, widget, models, avatars

$(BIN)/.installed: requirements.lock pyproject.toml
	@echo "== Python packages"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps -r requirements.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(BIN)/.dev: $(BIN)/.installed requirements-dev.lock
	@echo "== development packages"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps -r requirements-dev.lock
	@touch $@

node_modules/.installed: package.json package-lock.json
	@echo "== browser packages"
	@npm ci --no-audit --no-fund --loglevel=error
	@touch $@

WIDGET_SOURCES := $(shell find static/embed/src static/embed/*.mjs server/wire.py pipelines/core/visemes.py -type f -not -path '*/generated/*' 2>/dev/null)
static/embed/dist/manifest.json: node_modules/.installed $(BIN)/.installed $(WIDGET_SOURCES)
	@echo "== widget"
	@npm run --silent build

static/docs/dist/.built: node_modules/.installed
	@node static/docs/build.mjs
	@touch $@

widget: static/embed/dist/manifest.json static/docs/dist/.built ## build the widget and the API pages

models: $(DATA)/models/.pulled ## pull the models that the default configuration needs

$(DATA)/models/.pulled: $(BIN)/.installed pipelines/models/manifest.toml
	@echo "== models"
	@$(BIN)/machineavatars models pull
	@touch $@

AVATAR_SOURCES := $(wildcard avatars/*/avatar.toml avatars/builder/*.py avatars/spec.py)
avatars: avatars/dist/.built ## build the avatars from their recipes

avatars/dist/.built: $(AVATAR_SOURCES) $(DATA)/models/.pulled
	@echo "== avatars"
	@$(BIN)/python -m avatars.builder --data $(DATA)/models/avatar-base --out avatars/dist
	@touch $@

thumbnails: widget avatars browser-installed ## draw the avatars' portraits (needs Chromium)
	@node static/embed/thumbnails.mjs

test: install $(BIN)/.dev ## everything: lint, types, import rules, unit, contract, real models, browser
	@$(MAKE) --no-print-directory browser-installed thumbnails lint types imports unit

check: $(BIN)/.dev lint types imports ## the quick part: lint, types, import rules, unit and contract tests without models
	@$(BIN)/pytest -m "not models and not browser"
	@npm test --silent

lint: $(BIN)/.dev
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(BIN)/.dev node_modules/.installed
	@$(BIN)/mypy
	@npm run --silent check

imports: $(BIN)/.dev
	@$(BIN)/lint-imports --no-cache

unit: $(BIN)/.dev
	@npm test --silent
	@$(BIN)/pytest -m "not browser"
	@$(BIN)/pytest -m browser -p no:randomly

.PHONY: browser-installed
browser-installed:
	@command -v "$${MA_TEST_CHROMIUM:-chromium}" >/dev/null || { echo "== Chromium"; apt-get update -qq && apt-get install -y -qq chromium >/dev/null; } || \
		{ echo "Chromium is needed for the browser tests: install it, or set MA_TEST_CHROMIUM to its path"; exit 1; }

.PHONY: contract-split contract-postgres
contract-split: $(BIN)/.dev ## the REST contract with every row on a port of its own, behind the gateway
	@MA_TEST_SHAPE=split $(BIN)/pytest tests/contract -m "not models and not browser"

contract-postgres: $(BIN)/.dev ## the REST contract on PostgreSQL (127.0.0.1:5432, user postgres, database test)
	@MA_TEST_SHAPE=postgresql $(BIN)/pytest tests/contract -m "not models and not browser"

faults: $(BIN)/.dev ## break things on purpose: every promise about faults, and a server that breaks it, which must be noticed
	@$(BIN)/python -m tests.faults

.PHONY: schemathesis
schemathesis: $(BIN)/.dev ## requests made up from the OpenAPI document, 25 an operation, and every check of the answers
	@SCHEMATHESIS_EXAMPLES=25 $(BIN)/pytest tests/contract/test_schemathesis.py -s

bench: $(BIN)/.dev ## measure latency and write it to the terminal
	@$(BIN)/python -m bench.latency

.PHONY: load
load: install $(BIN)/.dev ## what one core must carry, held against its bars: about ten minutes on a quiet machine
	@$(BIN)/python -m tests.load

lock: ## pin the newest versions that pyproject.toml allows
	@rm -rf build/lock && $(PYTHON) -m venv build/lock && build/lock/bin/pip install --quiet --upgrade pip setuptools
	@build/lock/bin/pip install --quiet . && build/lock/bin/pip freeze --all --exclude machineavatars --exclude pip > requirements.lock
	@build/lock/bin/pip install --quiet '.[dev]' && build/lock/bin/pip freeze --all --exclude machineavatars --exclude pip | grep -vxFf requirements.lock > requirements-dev.lock
	@rm -rf build

clean: ## remove what was built (not the data directory)
	@rm -rf .venv node_modules static/embed/dist static/docs/dist avatars/dist build
