# `make demo` and `make test` need Python 3.11 or newer, and nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
ARGS ?=

.PHONY: install demo test lint docs clean

install: $(VENV)/.installed

# The stamp follows the files that say what is installed, so a second call starts at once.
$(VENV)/.installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# MNIST instead of the embedded digits: REDUNET_DATA=folder make demo, or ARGS='--data-dir folder'.
demo: install
	$(BIN)/python -m redunet.demo $(ARGS)

lint: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check

test: lint
	$(BIN)/python -m pytest $(ARGS)

# A warning is an error.
docs: install
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

clean:
	rm -rf $(VENV) build *.egg-info docs/_build docs/generated docs/gallery
