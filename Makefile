# Two commands for a newcomer: `make demo` and `make test`; both set everything up first. `make test-all` is what
# continuous integration runs.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

.PHONY: setup demo test test-all lint types quick unit board site gpu-check slurm-check constraints clean

setup: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name it: make setup PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Everything goes into .venv: some minutes, and about 7 GB."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade --constraint constraints.txt pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: setup
	$(BIN)/kdbench run --method sgm_ft --dataset motionsim --preset smoke

test: lint types quick

test-all: lint types unit board

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: setup
	$(BIN)/mypy

# Everything that takes no more than a few seconds.
quick: setup
	$(BIN)/pytest --numprocesses 2 --dist worksteal -m "not slow"

unit: setup
	$(BIN)/pytest --numprocesses 2 --dist worksteal

board: setup
	$(BIN)/kdbench leaderboard verify

# Documentation and leaderboard as one site, which opens from the disk: site/index.html.
site: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "site/index.html"

# Every check that needs a GPU, the most valuable first, within ten minutes; writes the folder gpu-check/. With a packed
# copy of the recordings in packed/: kdbench data pack utd_mhad --preset paper --out packed
gpu-check:
	PY=$(or $(wildcard $(BIN)/python),python3) bash benchmarks/gpu/check.sh

# The launcher slurm on a real cluster of two nodes on this machine; as root, with Debian's slurm-wlm and munge.
slurm-check: setup
	$(BIN)/python benchmarks/slurm_check.py

# After a change of pyproject.toml: writes down the versions that the tests passed with.
constraints: setup
	$(BIN)/python -m pip freeze --exclude-editable | grep -E '^[A-Za-z0-9_.-]+==' > constraints.txt

clean:
	rm -rf .venv build dist site .pytest_cache .ruff_cache .mypy_cache
