# Calanque. `make` alone says what there is to make.

SHELL := /bin/sh
.SHELLFLAGS := -eu -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Any Python from 3.11 to 3.13 does. To choose: make install PYTHON=/path/to/python
PYTHON ?= $(shell for candidate in python3 python3.13 python3.12 python3.11 python; do \
	"$$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
	&& command -v "$$candidate" && break; done)

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TELL := sh infra/tell.sh
MINIO_VERSION := v0.0.0-20260212201848-7aac2a2c5b7c
TESTS ?= tests
# Test files that run at the same time; each process has a lake of its own.
JOBS ?= 2

.PHONY: help install up down status minio minio-if-possible demo test test-fast test-long attack pictures lint format docs bench lock clean

help: ## say what there is to make
	@grep -hE '^[a-z-]+:.*## ' Makefile | awk -F ':.*## ' '{ printf "  make %-10s %s\n", $$1, $$2 }'

install: $(INSTALLED) ## install everything, pinned and hash-checked, into .venv

$(INSTALLED): requirements.lock pyproject.toml infra/bootstrap.txt
	@test -n "$(PYTHON)" || { echo "Calanque needs Python 3.11, 3.12 or 3.13: install one, or name it with make PYTHON=..." >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(TELL) "making $(VENV)" $(PYTHON) -m venv $(VENV)
	@$(TELL) "fetching the installer" $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r infra/bootstrap.txt
	@$(TELL) "installing $$(grep -c == requirements.lock) packages" $(BIN)/uv pip sync $$(test -t 2 || echo --quiet) --python $(BIN)/python --require-hashes --compile-bytecode requirements.lock
	@$(TELL) "installing Calanque" $(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@$(TELL) "compiling Calanque" $(BIN)/python -m compileall -q calanque dags infra ingestion privacy publication stewardship
	@touch $@

up: install ## start the lake: object store, PostgreSQL, Airflow
	@$(BIN)/calanque up

down: install ## stop the lake
	@$(BIN)/calanque down

status: install ## say what runs
	@$(BIN)/calanque status

minio: install ## build the MinIO server with the Go toolchain, into .venv/bin
	@command -v go >/dev/null || { echo "building MinIO needs the Go toolchain: install Go 1.24 or newer" >&2; exit 1; }
	@test -x $(BIN)/minio || GOBIN="$(CURDIR)/$(BIN)" $(TELL) "building MinIO" go install github.com/minio/minio@$(MINIO_VERSION)
	@$(BIN)/minio --version | head -1

minio-if-possible: install
	@if command -v go >/dev/null; then $(MAKE) minio || echo "MinIO cannot be built here: what needs it is not tested" >&2; fi

demo: install ## a seeded city from delivery to figures, through Airflow
	@$(BIN)/calanque demo

PYTEST := $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(TESTS)

test: install minio-if-possible ## run the tests, services included (about forty minutes on 2 cores)
	@$(PYTEST) -m "not long"

test-long: install minio-if-possible ## run the sweeps that make test leaves out: kills at every write, faults, a month
	@$(PYTEST) -m long

test-fast: install ## run the tests that need no services
	@$(PYTEST) -m "not live and not slow and not airflow and not long"

attack: install ## attack the published files of two cities: var/attacks/attack-report.html (half an hour)
	@$(BIN)/python -m tests.attacks

pictures: install ## take the README's screenshots anew, of the running demo (needs a Chromium)
	@$(BIN)/python -m tests.pictures

lint: install ## ruff, mypy, sqlfluff and the rules of the house
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest --quiet --numprocesses 0 tests/test_architecture.py tests/test_documentation.py tests/test_words.py
	@cd dbt_project && ../$(BIN)/sqlfluff lint --disable-progress-bar models tests

format: install ## put Python and SQL in their house style
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .
	@cd dbt_project && ../$(BIN)/sqlfluff fix --disable-progress-bar --quiet models tests

docs: install ## the steward site, with what a running lake knows: var/docs/stewards/index.html
	@$(BIN)/calanque site build --to var/docs

bench: install ## measure against floors taken in the same run
	@$(BIN)/python -m benchmarks

lock: install ## pin every dependency again after editing pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --group dev pyproject.toml -o requirements.lock
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --group image --constraint requirements.lock pyproject.toml -o infra/image.lock

clean: ## remove the environment and caches; never the lake
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dbt_project/target dbt_project/logs
