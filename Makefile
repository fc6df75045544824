# `make demo` and `make test` need Python 3.11 or newer, and nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
ARGS ?=
NUMERICAL = tests/rates tests/coding tests/layers tests/construction tests/lifts tests/training \
	tests/test_network.py tests/test_extension.py
# Tests of graphs, files, pages and processes, in which little depends on the rounding, and trainings whose
# results have wide bounds or are compared with themselves.
STRUCTURAL = export or onnx or graph or saved or killed or looking_inside or drawn or processes \
	or operations or reads or one_entry or report or resume or separates or learns or interrupted \
	or loaders or anywhere
# They take fewer examples than `make test`.
ROUNDINGS = $(NUMERICAL) -k 'not ($(STRUCTURAL))' --hypothesis-profile roundings

# Fast tests, and such that read many files.
FAST = tests/rates/test_partition.py tests/test_algorithm.py tests/test_distribution.py tests/test_docs.py \
	tests/test_layout.py

.PHONY: install demo test test-roundings test-device test-lowest test-dist dist lock \
	lint docs clean

install: $(VENV)/.installed

# The stamp follows the files that say what is installed, so a second call starts at once.
$(VENV)/.installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# MNIST instead of the embedded digits: REDUNET_DATA=folder make demo, or ARGS='--data-dir folder'.
demo: install
	$(BIN)/python examples/demo.py $(ARGS)

lint: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# Two processes of one thread each share the tests. The one that ends first takes over tests of the other.
test: lint
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal $(ARGS)

# The tests of the mathematics once more, with the roundings of other processors.
test-roundings: install
	ATEN_CPU_CAPABILITY=default MKL_CBWR=COMPATIBLE $(BIN)/python -m pytest $(ROUNDINGS) $(ARGS)

# Everything that users do, with samples on a simulated accelerator. REDUNET_TEST_DEVICE=cuda takes a GPU.
test-device: install
	$(BIN)/python -m pytest tests/device $(ARGS)

# The archives for a package index, in dist/. The wheel is made from the unpacked source archive, which must have all
# that its tests need.
SOURCE = build/redunet-$(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' redunet/_version.py)

dist: install
	rm -rf dist $(SOURCE) build/wheel
	$(BIN)/python -c "from setuptools import build_meta as b; b.build_sdist('dist', {'--global-option': ['--quiet']})"
	mkdir -p build && tar --extract --gzip --file dist/redunet-*.tar.gz --directory build
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist $(SOURCE)
	test ! -x $(BIN)/twine || $(BIN)/twine check --strict dist/*

# The fast tests from the unpacked source archive, where all tests can be imported, and the public names from the
# unpacked wheel.
test-dist: dist
	cd $(SOURCE) && $(abspath $(BIN))/python -m pytest --collect-only -q > /dev/null
	cd $(SOURCE) && $(abspath $(BIN))/python -m pytest --numprocesses 2 $(FAST) $(ARGS)
	$(BIN)/python -m zipfile --extract dist/redunet-*.whl build/wheel
	cd build/wheel && $(abspath $(BIN))/python -c "import redunet; [getattr(redunet, n) for n in redunet.__all__]"

# A warning is an error. Two processes of one thread each run the lessons.
docs: install
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

# Renews constraints.txt: the newest version of every package, one for all versions of Python. torch stays as
# it is, unless you name another one: make lock TORCH=2.14.0. Commit the file when `make test` has passed.
TORCH = $(shell sed -n 's/^torch==\([0-9.]*\).*/\1/p' constraints.txt)
COMPILE = build/uv/bin/uv pip compile setup.cfg --extra dev --quiet --no-annotate

lock: build/uv
	echo 'torch==$(TORCH)' | $(COMPILE) - --upgrade --universal --python-version 3.11 --fork-strategy fewest \
		--custom-compile-command 'make lock' --output-file constraints.txt

# The tests with the lowest versions that setup.cfg allows, in an environment of their own.
test-lowest: build/uv
	$(COMPILE) --resolution lowest-direct --python $(PYTHON) --output-file build/lowest.txt
	$(PYTHON) -m venv build/lowest
	build/lowest/bin/python -m pip install --quiet --requirement build/lowest.txt --editable .
	build/lowest/bin/python -m pytest --numprocesses 2 --dist worksteal $(ARGS)

build/uv:
	$(PYTHON) -m venv $@
	$@/bin/python -m pip install --quiet uv

clean:
	rm -rf $(VENV) build dist *.egg-info docs/_build docs/generated docs/gallery
