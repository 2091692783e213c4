# Two commands make the house: `make book` and `make test`. `make help` lists the others.
PYTHON  ?= python3
BIN     := .venv/bin
# What is never imported is never compiled.
INSTALL ?= $(BIN)/python -m pip install -q --no-compile
READY   := .venv/.ready
TEST    := $(BIN)/python -m pytest -n 2 --dist worksteal --durations 5
# Where it is set, every process compiles all that it imports again.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup book format test test-long test-all outputs practice bench pretrain scenarios clean

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## .venv with everything that the other targets need

# Debian splits venv off Python; root on a bare machine gets it, anybody else is told what to type.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "$(PYTHON) is older than 3.10. Name a newer one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  echo "==> Python's venv is missing: apt-get install python3-venv"; \
	  [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq python3-venv; } || \
	  { echo "Install it, then run make again: sudo apt-get install python3-venv"; exit 1; }
	@echo "==> Setting up .venv (a few minutes and 6 GB, once)"
	@$(PYTHON) -m venv .venv
	@$(INSTALL) -U pip    # that of the venv can be years old, and takes several times as long
	@$(INSTALL) -e ".[dev,book]"
	@touch $@

book: $(READY) ## build the book, strictly, from the committed outputs
	@echo "==> Building the book"
	@$(BIN)/jupyter-book build . --all -W --keep-going -q
	@echo "==> Open $(CURDIR)/_build/html/index.html"

test: $(READY) ## what a change has to pass: chapters on the drawn set, package, book, browser
	@echo "==> Testing: sources, chapters without a network, package, strict book, browser, stamps"
	@$(TEST) -m "not long"

test-long: $(READY) ## the rest: kills at many moments, all practice notebooks, names and files of every kind
	@echo "==> Testing what takes long: kills, practice notebooks, names and files of every kind"
	@$(TEST) -m long

test-all: $(READY) ## both in one go, as continuous integration does: what they share is made once
	@echo "==> Testing everything"
	@$(TEST)

outputs: $(READY) ## run the stale chapters on the real sets and stamp them (ALL=1: every chapter)
	@echo "==> Running chapters on the real sets"
	@$(BIN)/python book/outputs.py $(if $(ALL),--all)

format: $(READY) ## ruff over notebooks, book, tests and benchmarks: format, and mend what it can
	@$(BIN)/ruff check --fix -q book nbs tests benchmarks tutorial_lib/__init__.py
	@$(BIN)/ruff format book nbs tests benchmarks tutorial_lib/__init__.py
	@$(BIN)/nbdev-export && $(BIN)/nbdev-clean

practice: $(READY) ## write practice/ anew from the chapters' exercises
	@$(BIN)/python book/practice.py

bench: $(READY) ## the long experiments and timings; each writes its CSV beside it
	@for f in benchmarks/[a-z]*.py; do echo "==> $$f"; $(BIN)/python $$f || exit 1; done

pretrain: $(READY) ## train the weights of densenet_tiny anew, if tutorial_lib/pretrain.csv is not there
	@$(BIN)/python benchmarks/pretrain.py

scenarios: $(READY) ## the cells of chapter 11's experiment that are not there yet (hours), and what they say
	@$(BIN)/python benchmarks/scenarios.py
	@$(BIN)/python benchmarks/verdicts.py

clean: ## remove what the other targets built, but not .venv
	@rm -rf _build build dist *.egg-info .pytest_cache .hypothesis
