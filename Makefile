# `make demo`: set up, and the main job on the built-in data. `make test`: the tools too, and the quick tests; `make test-all`: all.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-all lint docs clean

demo: .venv/runtime
	$(BIN)/seefar run demo

# The nets of the tests are too small for two threads: a process for each core is faster.
test: .venv/ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto -m "not slow"

test-all: .venv/ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The site, into dist/site. Offline; a broken link fails (not with --quiet, which hides warnings from strict mode).
docs: .venv/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

.venv/docs: .venv/ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

# What a developer needs on top: half of all packages, which `make demo` does not wait for.
.venv/ready: .venv/runtime
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# The environment is updated when what it is built from has changed.
.venv/runtime: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

clean:
	rm -rf .venv dist .pytest_cache .mypy_cache .ruff_cache
