.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3
BIN := .venv/bin
# Written only after a complete install, so an interrupted one is repeated.
READY := .venv/.ready

STACK ?= local

.PHONY: help up down preview check test chaos bench bench-quick matrix docs engine lock setup clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(READY): requirements.txt requirements-dev.txt
	@command -v $(PYTHON) >/dev/null || { echo "there is no $(PYTHON): name a Python of 3.11 or newer with \`make PYTHON=python3.13 ...\`"; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 11) else "Python 3.11 or newer is needed, %s is %d.%d: name another with `make PYTHON=python3.13 ...`" % (sys.executable, v[0], v[1]))'
	@echo "setting up .venv (once)"
	@rm -f $(READY)
	@{ $(PYTHON) -m venv --clear .venv && $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-dev.txt; } \
		|| { echo ".venv is not complete, for the reason above: it needs the venv module of $(PYTHON), a package index (PyPI, or the one of PIP_INDEX_URL) and 1 GB on this disk; then run it again"; exit 1; }
	@touch $(READY)

up: $(READY) ## deploy onto a local cloud on this machine, and send an order through it
	@$(BIN)/python -m sandbox up

down: $(READY) ## destroy what `make up` deployed, and end every process
	@$(BIN)/python -m sandbox down

preview: $(READY) ## what would be deployed, and the policies' verdict (STACK=local, dev or prod)
	@$(BIN)/python -m sandbox preview --stack='$(STACK)'

setup: $(READY) ## make .venv from the locked requirements (every target does it when needed)

check: $(READY) ## formatting, lint, types, and the workflows
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/basedpyright
	@if command -v go >/dev/null; then cd .github && go tool actionlint workflows/*.yml; else echo "skipped: actionlint, which needs Go"; fi

test: $(READY) ## every test this machine can run; says what it skipped and why
	@$(BIN)/pytest

matrix: $(READY) ## the tests that need no cloud, under every Python 3.11+ of this machine
	@$(BIN)/python -m tests.matrix

# Another storm each time, unless SEED says which.
SEED ?=
ORDERS ?= 1000
REPORT ?=

chaos: $(READY) ## place 1,000 orders while everything fails, and account for each (about 10 minutes; SEED=7 ORDERS=1000)
	@$(BIN)/python -m tests.chaos --orders='$(ORDERS)' $(if $(SEED),--seed='$(SEED)') $(if $(REPORT),--json='$(REPORT)')

bench: $(READY) ## measure every goal of docs/performance.md, and write it again (about 17 minutes)
	@$(BIN)/python -m bench
	@$(BIN)/python -m bench report

bench-quick: $(READY) ## the same with fewer rounds and smaller sizes, into build/ (2 minutes)
	@$(BIN)/python -m bench --quick --output build/bench-quick.json
	@$(BIN)/python -m bench report --results build/bench-quick.json --output build/performance-quick.md

docs: $(READY) ## write again what documents say of the rules and of the program
	@$(BIN)/python -c 'from pathlib import Path; from policy.reference import write; write(Path())'
	@$(BIN)/python -m tests.architecture

engine: $(READY) ## find the Pulumi engine, or build it once per version
	@$(BIN)/python -m engine

lock: $(READY) ## resolve the dependencies of pyproject.toml again and pin them by hash
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml --output-file requirements.txt
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml --group dev --constraint requirements.txt --output-file requirements-dev.txt
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --group policy --constraint requirements.txt --output-file policy/requirements.txt

clean: ## end what runs, and remove .venv and everything built
	@if [ -f $(READY) ]; then $(BIN)/python -m sandbox down; fi
	@rm -rf .venv build .pytest_cache .ruff_cache .hypothesis
