# Every target sets up what it needs, in .venv beside this file, and re-installs only when
# pyproject.toml changes. Another interpreter: make demo PYTHON=python3.12
PYTHON ?= python3
VENV ?= .venv
BENCH_VENV ?= .venv-bench
# Works without activation, and whatever PYTHONPATH the caller has set.
BIN := $(VENV)/bin
export PYTHONPATH :=
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test lint bench docs clean
.DEFAULT_GOAL := help

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-7s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/fast.stamp ## train an LSTM on the sunspots and draw it: pictures in out/
	@$(BIN)/tinygrad-lstm demo

test: $(VENV)/dev.stamp ## run the tests (not those marked slow)
	@$(BIN)/python -m pytest -n auto

lint: $(VENV)/dev.stamp ## ruff and pyright
	@$(BIN)/ruff check .
	@$(BIN)/pyright --pythonpath $(BIN)/python

bench: $(BENCH_VENV)/bench.stamp ## race the engine against PyTorch, JAX and others; ARGS=--help
	@$(BENCH_VENV)/bin/python -m benchmarks $(ARGS)

docs: $(VENV)/fast.stamp ## draw the pictures of README and docs again, write the tables of figures
	@$(BIN)/python docs/make.py
	@$(BIN)/python benchmarks/tables.py

clean: ## remove the environments and everything written by the targets
	rm -rf $(VENV) $(BENCH_VENV) out build dist *.egg-info .pytest_cache .ruff_cache .hypothesis

# -- environments: a stamp per set of extras ----------------------------------------------------
# Bytecode is written at once, as pip does for all that it copies: the first import is a quick one.

%/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "make: needs Python 3.11 or newer; '$(PYTHON)' is" \
	    "$$($(PYTHON) --version 2>&1 || true)." \
	    "Name another: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@echo "Setting up $* with $$($(PYTHON) --version) (once)"
	@$(PYTHON) -m venv $* || { rm -rf $*; \
	  echo "make: '$(PYTHON) -m venv' failed; Debian and Ubuntu keep it in the package" \
	    "python3-venv" >&2; exit 1; }

$(VENV)/fast.stamp: pyproject.toml | $(VENV)/bin/python
	@$(BIN)/python -m pip install --quiet --editable '.[fast]'
	@$(BIN)/python -m compileall -q tinygrad_lstm viz
	@touch $@

$(VENV)/dev.stamp: pyproject.toml | $(VENV)/bin/python
	@$(BIN)/python -m pip install --quiet --editable '.[dev,fast]'
	@$(BIN)/python -m compileall -q tinygrad_lstm viz
	@touch $@ $(VENV)/fast.stamp

$(BENCH_VENV)/bench.stamp: pyproject.toml | $(BENCH_VENV)/bin/python
	@$(BENCH_VENV)/bin/python -m pip install --quiet --editable '.[bench,fast]'
	@$(BENCH_VENV)/bin/python -m compileall -q tinygrad_lstm viz
	@touch $@
