# Two commands on a fresh machine: make demo, make test. Each sets up what it needs on first use.
VENV ?= .venv
# The first interpreter that runs and is one the dependencies exist for
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
  $$python -c "import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))" 2>/dev/null \
  && echo $$python && break; done)
WORKDIR ?= runs/demo
# Tests of one file share its compiled programs, so a file stays on one worker; conftest.py orders them
PYTEST_ARGS ?= -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

BIN := $(VENV)/bin
# Tests start a hundred processes, and each would compile all of its modules again
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo smoke test lint check docs clean

demo: $(VENV)/.demo
	$(BIN)/python -m alignreg_jax.main --config configs/demo.py --workdir $(WORKDIR)
	@test -e $(WORKDIR)/served || $(BIN)/python -m alignreg_jax.deploy $(WORKDIR) --out $(WORKDIR)/served --rows 60 || test $$? = 3
	$(BIN)/python $(WORKDIR)/served/predict.py "turn off the lights" "Schalte das Licht ein" "allume la lumière du salon"

smoke: $(VENV)/.demo
	$(BIN)/python -m alignreg_jax.main --config configs/demo.py:smoke --workdir $(WORKDIR)-smoke

# Each group has its own XLA flags (tests/conftest.py), which a process reads once
test: $(VENV)/.test
	$(BIN)/python -m pytest -m "not torch and not exact and not sharded" $(PYTEST_ARGS)
	$(BIN)/python -m pytest -m "sharded and not exact" $(PYTEST_ARGS)
	$(BIN)/python -m pytest -m "exact" $(PYTEST_ARGS)

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed: make PYTHON=/path/to/python3.13" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

# A stamp for each set of extras, renewed when pyproject.toml changes
$(VENV)/.demo: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable ".[deploy]"
	@touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable ".[test]"
	@touch $@ $(VENV)/.demo

$(VENV)/.lint: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable ".[test,lint]"
	@touch $@ $(VENV)/.test $(VENV)/.demo

# Before a commit: what takes little time
check: lint
	$(BIN)/python -m pytest -q tests/pruning/test_criteria.py tests/config tests/test_rooms.py tests/test_cli.py

# An environment of its own: nothing of the package is imported
docs:
	@test -e $(VENV)-docs/bin/mkdocs || { $(PYTHON) -m venv $(VENV)-docs && $(VENV)-docs/bin/pip install --quiet "mkdocs>=1.6,<2" "mkdocstrings[python]>=1.0,<2"; }
	$(VENV)-docs/bin/mkdocs build --quiet
	@echo "site/ is written; python -m http.server --directory site shows it"

clean:
	rm -rf $(VENV) $(VENV)-docs build dist site *.egg-info
