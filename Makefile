# make demo   the whole workflow on the embedded cohort, CPU only
# make test   the whole test suite
# make lint   the linters
# make environment-synthseg   the environment of a backend that needs its own, from requirements-synthseg.txt
# Each makes its own environment in .venv; `make clean` forgets the environments, never results.

PYTHON ?= python3
BIN := $(CURDIR)/.venv/bin
# Rules call `python`: the environment's own, whatever the shell has.
export PATH := $(BIN):$(PATH)
# Threads that wait without spinning: tests that run side by side do not starve each other.
export OMP_WAIT_POLICY := PASSIVE

.PHONY: demo test test-short test-demo test-long test-slurm test-tensorflow lint install install-dev clean

demo: install
	snakemake --profile profiles/demo all
	@echo "report: results/report.html"
	@echo "tables: results/tables/"

# What takes long comes second, side by side: what runs on a Slurm cluster, which MSDIFF_SLURM=1 allows to install and to
# start, mostly waits, and goes first where all want a core.
test: install-dev environment-synthseg
	$(MAKE) test-short
	$(MAKE) --jobs 4 --output-sync=target test-slurm test-demo test-long test-tensorflow

# Two workers, one thread each.
test-short:
	OMP_NUM_THREADS=1 python -m pytest -n 2 -m "not slow and not slurm"

test-demo:
	nice python -m pytest tests/workflow/test_demo.py

test-long:
	nice python -m pytest -m "slow and not slurm" --ignore tests/workflow/test_demo.py

test-slurm:
	python -m pytest tests/slurm

test-tensorflow:
	nice .environments/synthseg/bin/python -m pytest tests/tensorflow

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

environment-%: .environments/%/installed ;

.environments/%/installed: requirements-%.txt requirements-dev.txt pyproject.toml
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $< "$$(grep ^pytest== requirements-dev.txt)"
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

# Made through a pattern, and still to be kept.
.PRECIOUS: .environments/%/installed

clean:
	rm -rf .venv .environments .mypy_cache .ruff_cache .pytest_cache
