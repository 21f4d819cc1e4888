# Each target works on a fresh machine with Python 3.11 or later. It creates the environment that it needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
# Some images set it. Then each collection of the tests, and each start of the program, compiles its modules again.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup demo browser dynamodb picture docs test test-all soak soak-fleet fuzz bench check lint types imports format lock clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

setup: $(VENV)/ready  ## create the virtual environment from the locked dependencies

$(VENV)/ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.11 …")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup  ## run the demo on this machine, without an account; ARGS=--keep keeps it running
	$(BIN)/forwarder demo $(ARGS)

AXE := 4.14.1
DYNALITE := 4.0.0
# One command for all packages: npm removes those that it did not install in the same command.
NODE_PACKAGES = test -e build/node/node_modules/axe-core/axe.min.js && test -e build/node/node_modules/dynalite/cli.js \
	|| npm install --prefix build/node --no-save --no-fund --no-audit --ignore-scripts axe-core@$(AXE) dynalite@$(DYNALITE)
APT := export DEBIAN_FRONTEND=noninteractive && apt-get update -qq && apt-get install -y -qq --no-install-recommends

browser:  ## install Chromium (Debian's, if none is installed) and axe-core for the tests of the page
	command -v chromium || command -v chromium-browser || command -v google-chrome || { $(APT) chromium fonts-dejavu-core; }
	command -v npm || { $(APT) npm; }
	$(NODE_PACKAGES)

dynamodb:  ## install dynalite, an emulator of DynamoDB with atomic conditions, for the tests of the shared ledger
	command -v npm || { $(APT) npm; }
	$(NODE_PACKAGES)

picture: setup browser  ## update the README's picture of the page
	$(BIN)/python -m pytest -n 0 --browser -m browser -k retries
	cp build/screenshots/page.png tests/browser/page.png

docs: setup  ## update the generated parts of docs/ from the code
	$(BIN)/python -m tests.doc_generator

test: setup  ## run the test suite
	$(BIN)/python -m pytest $(ARGS)

test-all: setup browser dynamodb  ## run the test suite with the long tests and the tests in a browser
	$(BIN)/python -m pytest --long --browser $(ARGS)

SEED ?=
STEPS ?= 2000
SEEDS ?= 1
JOBS ?= 1

soak: setup  ## run the fault simulation; SEED=… STEPS=… SEEDS=… JOBS=…
	$(BIN)/python -m tests.faults.soak $(if $(SEED),--seed $(SEED)) --steps $(STEPS) --seeds $(SEEDS) --jobs $(JOBS)

WORKFLOWS ?= 400
FAILURES ?= 20000

soak-fleet: setup dynamodb  ## disrupt five forwarders on one table; SEED=… SEEDS=… WORKFLOWS=… FAILURES=…
	$(BIN)/python -m tests.faults.soak_fleet $(if $(SEED),--seed $(SEED)) --seeds $(SEEDS) --workflows $(WORKFLOWS) --failures $(FAILURES)

QUICK ?=
ONLY ?=

bench: setup  ## run the benchmarks, into build/bench; QUICK=1 takes two to three minutes, ONLY=publishing
	$(BIN)/python -m tests.benchmarks $(if $(QUICK),--quick) $(if $(FULL),--full) $(if $(ONLY),--only $(ONLY))

check: lint types imports test  ## run all checks that main must pass

fuzz: setup  ## test all readers of outside data with new random input; ARGS=-k … selects tests
	$(BIN)/python -m pytest --hypothesis-profile fresh tests/fuzz tests/alloy tests/aws/test_responses.py tests/settings tests/vault $(ARGS)

lint: setup  ## check the style of code and prose
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/python -m tests.lint_prose

types: setup
	$(BIN)/mypy

imports: setup
	$(BIN)/lint-imports

format: setup  ## format the code
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

dist: setup  ## build the sdist, and the wheel from it, in dist/
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/python -m twine check --strict dist/*

COMPILE := .venv/lock/bin/uv pip compile --universal --python-version 3.11 --generate-hashes \
  --no-annotate --no-header --no-emit-index-url --no-emit-find-links
# The container gets exactly the versions that are tested.
AS_LOCKED := --constraint requirements.lock

lock: setup  ## update the locked dependencies from pyproject.toml, with uv
	$(PYTHON) -m venv .venv/lock
	.venv/lock/bin/python -m pip install --quiet uv
	$(COMPILE) pyproject.toml --extra demo --group dev --upgrade --output-file requirements.lock
	$(COMPILE) pyproject.toml $(AS_LOCKED) --output-file infra/container/requirements.lock
	$(COMPILE) --group build $(AS_LOCKED) --output-file infra/container/build.lock

clean:  ## delete all generated files
	rm -rf .venv .venv-* build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
