# make demo   the whole workflow on the embedded cohort, CPU only
# make test   the whole test suite
# make lint   the linters
# Each makes its own environment in .venv; `make clean` forgets the environment, never results.

PYTHON ?= python3
BIN := $(CURDIR)/.venv/bin
# Rules call `python`: the environment's own, whatever the shell has.
export PATH := $(BIN):$(PATH)
# Threads that wait without spinning: tests that run side by side do not starve each other.
export OMP_WAIT_POLICY := PASSIVE

.PHONY: demo test lint install install-dev clean

demo: install
	snakemake --profile profiles/demo all
	@echo "report: results/report.html"
	@echo "tables: results/tables/"

# What runs Snakemake or trains for long comes second and alone, or its threads would wait for the others'.
test: install-dev
	python -m pytest -n 2 -m "not workflow and not slow"
	python -m pytest -m "workflow or slow"

lint: install-dev
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	snakefmt --check Snakefile workflow
	snakemake --lint
	snakemake --lint --profile profiles/demo

install: .venv/installed
install-dev: .venv/installed-dev

.venv/installed: requirements.txt pyproject.toml
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

.venv/installed-dev: .venv/installed requirements-dev.txt
	python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache
