# Needs Python >= 3.11, git and make; everything else is installed into .venv from requirements.lock.
# The two commands: `make demo` (train, translate, draw) and `make test` (every promise).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
UV_VERSION := 0.13.9
WORKDIR ?= runs/demo
BASELINES := .venv-baselines
# On Linux PyPI's torch brings CUDA along, some gigabytes; name a smaller build here if pip knows one.
TORCH ?= torch==2.13.0
JOBS ?= 2

# glibc keeps freed memory: a training step on a CPU then maps no pages anew (docs/training.md).
export MALLOC_ARENA_MAX := 1
export MALLOC_MMAP_MAX_ := 0
export MALLOC_TRIM_THRESHOLD_ := 2147483647

# uv uses the Python at hand; it never downloads one.
export UV_PYTHON_DOWNLOADS := never

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# Stamp files make the environment a target like any other: rebuilt when the lock changes.
$(UV):
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v >= (3, 11) else f"attention_jax needs Python >= 3.11, but $(PYTHON) is {v[0]}.{v[1]}; try: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

# Compiled once here: every program then starts in two seconds instead of six, also where
# PYTHONDONTWRITEBYTECODE is set.
$(VENV)/.installed: requirements.lock pyproject.toml | $(UV)
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes --compile-bytecode -r requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

.PHONY: env
env: $(VENV)/.installed ## the environment alone

$(BASELINES)/.installed: requirements.lock pyproject.toml | $(UV)
	$(PYTHON) -m venv $(BASELINES)
	$(UV) pip install --quiet --python $(BASELINES)/bin/python --require-hashes -r requirements.lock
	$(UV) pip install --quiet --python $(BASELINES)/bin/python --no-deps --editable .
	$(UV) pip install --quiet --python $(BASELINES)/bin/python --constraint requirements.lock tokamax==0.0.12
	$(BASELINES)/bin/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	@touch $@

.PHONY: baselines
baselines: $(BASELINES)/.installed ## a second environment, with torch and tokamax to benchmark against

.PHONY: demo
demo: env ## train a Chinese-English translator on built-in phrases and draw its attention
	$(BIN)/python -m experiments.demo --workdir=$(WORKDIR)

# Most of a test's time is XLA's compiling; on a CPU these make that some five times quicker, and
# the code slower. `test-full` compiles as users do.
QUICK_XLA := --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true \
  --xla_cpu_use_fusion_emitters=false

.PHONY: test
test: env ## the whole suite but the proofs marked `full`, quickly compiled
	XLA_FLAGS="$(QUICK_XLA) $$XLA_FLAGS" $(BIN)/python -m pytest -n $(JOBS) -m "not full"

.PHONY: test-full
test-full: env ## everything, the slow proofs too, compiled as users do
	$(BIN)/python -m pytest -n $(JOBS)

.PHONY: lint
lint: env ## ruff: lint and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.PHONY: types
types: env ## pyrefly
	$(BIN)/pyrefly check

.PHONY: docs
docs: env ## the site with the API reference, in site/; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

.PHONY: notebook
notebook: env ## docs/tutorial.ipynb from docs/tutorial.md
	$(BIN)/jupytext --quiet --to ipynb --update --set-kernel python3 \
	  -o docs/tutorial.ipynb docs/tutorial.md

.PHONY: check
check: lint types test docs ## what CI runs

.PHONY: lock
lock: $(UV) ## re-resolve requirements.lock (hashes, no addresses)
	$(UV) pip compile --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --extra dev --quiet -o requirements.lock pyproject.toml

.PHONY: clean
clean: ## remove the environments and caches (never runs/)
	rm -rf $(VENV) $(BASELINES) site .pytest_cache .ruff_cache
