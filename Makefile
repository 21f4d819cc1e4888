# Each target is complete on a fresh machine with Python 3.11 or later: it makes the environment it needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: help setup demo browser picture test test-all soak fuzz bench check lint types imports format lock clean
.DEFAULT_GOAL := help

help:  ## what can be made
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

setup: $(VENV)/ready  ## the virtual environment, from the locked dependencies

$(VENV)/ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.11 …")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup  ## the whole way on this machine, without an account; ARGS=--keep stays up
	$(BIN)/forwarder demo $(ARGS)

AXE := 4.14.1
APT := export DEBIAN_FRONTEND=noninteractive && apt-get update -qq && apt-get install -y -qq --no-install-recommends

browser:  ## what the page's tests need: Debian's Chromium, where there is none, and axe-core
	command -v chromium || command -v chromium-browser || command -v google-chrome || { $(APT) chromium fonts-dejavu-core; }
	command -v npm || { $(APT) npm; }
	test -e build/node/node_modules/axe-core/axe.min.js || \
	  npm install --prefix build/node --no-save --no-fund --no-audit --ignore-scripts axe-core@$(AXE)

picture: setup browser  ## the README's picture of the page, made anew by the page's own test
	$(BIN)/python -m pytest -n 0 --browser -m browser -k retries
	cp build/screenshots/page.png tests/browser/page.png

test: setup  ## the test suite
	$(BIN)/python -m pytest $(ARGS)

test-all: setup browser  ## the test suite, its long runs, and the page in a browser
	$(BIN)/python -m pytest --long --browser $(ARGS)

SEED ?=
STEPS ?= 2000
SEEDS ?= 1
JOBS ?= 1

soak: setup  ## the fault simulation; SEED=… STEPS=… SEEDS=… JOBS=…
	$(BIN)/python -m tests.faults.soak $(if $(SEED),--seed $(SEED)) --steps $(STEPS) --seeds $(SEEDS) --jobs $(JOBS)

QUICK ?=
ONLY ?=

bench: setup  ## the benchmarks, into build/bench; QUICK=1 in two to three minutes, ONLY=publishing
	$(BIN)/python -m tests.benchmarks $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))

check: lint types imports test  ## all that main must pass

fuzz: setup  ## whatever takes bytes from outside, on bytes that nobody has seen yet; ARGS=-k … picks
	$(BIN)/python -m pytest --hypothesis-profile fresh tests/fuzz tests/alloy tests/aws/test_responses.py tests/settings tests/vault $(ARGS)

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: setup
	$(BIN)/mypy

imports: setup
	$(BIN)/lint-imports

format: setup  ## the layout of the code
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

dist: setup  ## the sdist, and the wheel made from it, in dist/
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/python -m twine check --strict dist/*

COMPILE := .venv/lock/bin/uv pip compile --universal --python-version 3.11 --generate-hashes \
  --no-annotate --no-header --no-emit-index-url --no-emit-find-links
# What goes into the container is a part of what is tested, version by version.
AS_LOCKED := --constraint requirements.lock

lock: setup  ## resolve the dependencies anew; uv reads pyproject.toml
	$(PYTHON) -m venv .venv/lock
	.venv/lock/bin/python -m pip install --quiet uv
	$(COMPILE) pyproject.toml --extra demo --group dev --upgrade --output-file requirements.lock
	$(COMPILE) pyproject.toml $(AS_LOCKED) --output-file infra/container/requirements.lock
	$(COMPILE) --group build $(AS_LOCKED) --output-file infra/container/build.lock

clean:  ## what can be made again
	rm -rf .venv .venv-* build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
