# Redoubt: everything a person does here is one word. `make help` lists the words.
#
# Two environments: .venv is editable and interpreted, .venv-compiled holds a wheel compiled by mypyc, so that no
# compiled module ever shadows an edited one. Downloads and the Kubernetes binaries live in a cache outside the
# tree ($REDOUBT_CACHE, else ~/.cache/redoubt).

SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
COMPILED := .venv-compiled
BIN := $(CURDIR)/$(VENV)/bin
SOURCES := server operator devcluster bench tests setup.py
FAST := not process and not differential and not cluster and not slow
.DEFAULT_GOAL := help
.PHONY: help install compiled demo test check format soak bench bench-server bench-operator image clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

ifdef REDOUBT_MYPYC
install: $(VENV)/.installed $(COMPILED)/.installed ## make .venv (REDOUBT_MYPYC=1: and the compiled .venv-compiled)
else
install: $(VENV)/.installed
endif

compiled: $(COMPILED)/.installed ## make .venv-compiled, the mypyc build of the image

$(VENV)/.installed: pyproject.toml tools/install
	@PYTHON=$(PYTHON) tools/install $(VENV) && touch $@

$(COMPILED)/.installed: pyproject.toml setup.py tools/install $(shell find server operator -name '*.py' 2>/dev/null)
	@PYTHON=$(PYTHON) REDOUBT_MYPYC=1 tools/install $(COMPILED) && touch $@

demo: $(VENV)/.installed ## the main job: a control plane, the operator, one resource, a killed master
	@$(BIN)/python -u -m devcluster.demo

check: $(VENV)/.installed ## the fast loop: format, lint, types, layers, tidy, unit tests
	@$(BIN)/ruff format --check --quiet $(SOURCES) || { echo "run: make format"; exit 1; }
	@$(BIN)/ruff check --quiet $(SOURCES)
	@$(BIN)/mypy --no-error-summary server/redoubt operator/redoubt_operator devcluster
	@$(BIN)/lint-imports --no-logo >$(VENV)/lint-imports.log 2>&1 || { cat $(VENV)/lint-imports.log; exit 1; }
	@$(BIN)/python -m pytest -n 2 -m "$(FAST)" tests

format: $(VENV)/.installed ## bring the sources into the one format
	@$(BIN)/ruff check --quiet --fix-only $(SOURCES)
	@$(BIN)/ruff format --quiet $(SOURCES)

test: $(VENV)/.installed $(COMPILED)/.installed ## all tests: checks, both builds, real redis-server, devcluster
	@tools/test

soak: $(VENV)/.installed ## 10,000 power failures, and half an hour under everything that clients can do
	@POWER_SEEDS=10000 $(BIN)/python -m pytest -n 2 tests/redoubt/persist/test_power_loss.py
	@$(BIN)/python -u -m bench.soak --minutes 30

bench: bench-server bench-operator ## all figures: the server beside redis-server, the operator's times

bench-server: $(VENV)/.installed $(COMPILED)/.installed
	@$(BIN)/python -u -m bench.server --only compiled --write docs/benchmarks.md
	@$(BIN)/python -u -m bench.server --only compiled --form one --write docs/benchmarks.md
	@$(BIN)/python -u -m bench.latency --write docs/benchmarks.md
	@$(CURDIR)/$(COMPILED)/bin/python -u -m bench.pauses --write docs/benchmarks.md
	@$(BIN)/python -u -m bench.memory --write docs/benchmarks.md
	@$(BIN)/python -u -m bench.memory_accuracy --write docs/benchmarks.md
	@$(BIN)/python -u -m bench.hit_rates --write docs/benchmarks.md
	@$(BIN)/python -u -m bench.persistence --write docs/benchmarks.md

bench-operator: $(VENV)/.installed $(COMPILED)/.installed
	@$(BIN)/python -u -m bench.operator_times
	@$(BIN)/python -u -m bench.slot_moves

image: ## build both images with docker or buildah (BASE=... for another base image)
	@tools/image

clean: ## remove what was built in the tree (the cache stays)
	rm -rf $(VENV) $(COMPILED) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
