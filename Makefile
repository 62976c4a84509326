# Each target does its own set-up: a virtual environment in .venv, the package and what it needs.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
SECONDS = 600
JOBS ?= auto
# Processes side by side, one core each: two that use all cores wait for each other.
PARALLEL = -n $(JOBS) --maxprocesses 8 --dist loadfile
READY = $(VENV)/.ready

.PHONY: demo test test-slow faults fuzz lint docs clean

demo: $(READY)
	$(BIN)/python tools/demo.py

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PARALLEL) -m "not slow and not faults" $(ARGS)

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow $(ARGS)

faults: $(READY)
	$(BIN)/python -m pytest tests/faults $(ARGS)

fuzz: $(READY)
	$(BIN)/python tests/fuzz/fuzz.py --seconds $(SECONDS) $(ARGS)

lint: $(READY)
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

# The site of README.md and docs/, in site/: open site/index.html.
docs: $(READY)
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

$(READY): setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist site *.egg-info
