# make demo    install the core into .venv, run the demo job, verify it, write its pictures
# make test    install everything into .venv, then lint, types and tests
# make bench   the benchmarks (after make test)
# make chaos   kills, poison, storage faults, bad weather; make fuzz: bad input; make privacy: identifiers and secrets
# make cpus    the same bytes from other CPUs and BLAS
# make gpu     what only a GPU can show, in nine minutes; learns from the dataset TREES where it is there

PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/pip --disable-pip-version-check
DEMO := demo
DATA := $(wildcard pyproject.toml constraints.txt)

.PHONY: demo test style lint bench chaos fuzz privacy cpus gpu clean
.DELETE_ON_ERROR:

# Of the 28,000 modules that are installed few are ever imported: Python compiles those, and keeps them, also where the
# environment says no.
INSTALL := $(PIP) install -q --no-compile -c constraints.txt
export PYTHONDONTWRITEBYTECODE :=

demo: $(VENV)/core
	$(VENV)/bin/lesionforge generate jobs/recipes/demo.yaml --out $(DEMO)
	$(VENV)/bin/lesionforge verify $(DEMO)
	$(VENV)/bin/lesionforge preview $(DEMO)
	@echo
	@echo "The dataset is in $(DEMO)/: read $(DEMO)/README.md, look at $(DEMO)/pictures/train.png,"
	@echo "open $(DEMO)/preview/index.html in a browser."

# Three files of tests at a time, whatever the cores: a third of the time they wait (for clusters, time-outs, leases that
# grow stale). In the order of tests/conftest.py, which begins with the longest; types are one of them, as mypy takes a
# minute of one core. One thread each, or they wait for each other.
AT_ONCE ?= 3
test: export OMP_NUM_THREADS := 1
test: $(VENV)/all style
	$(VENV)/bin/python -m pytest -n $(AT_ONCE) --dist loadfile --no-loadscope-reorder --durations=30 -p no:cacheprovider

style: $(VENV)/all
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

lint: style
	$(VENV)/bin/mypy

bench: $(VENV)/all
	$(VENV)/bin/python -m tests.benchmarks

chaos fuzz privacy cpus: $(VENV)/all
	$(VENV)/bin/python -m tests.$@

TREES ?= trees
gpu: $(VENV)/all
	$(VENV)/bin/python -m tests.gpu $(if $(wildcard $(TREES)),--data $(TREES))

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else "Python 3.11 or newer is needed, $(PYTHON) is %d.%d; give another: make PYTHON=python3.11" % v[:2])'
	$(PYTHON) -m venv $(VENV)

$(VENV)/core: $(VENV)/bin/python $(DATA)
	$(INSTALL) -e .
	@touch $@

$(VENV)/all: $(VENV)/bin/python $(DATA)
	$(INSTALL) -e ".[train,yolo,bench,test]"
	@touch $@ $(VENV)/core

clean:
	rm -rf $(DEMO) gpu-results .pytest_cache .mypy_cache .ruff_cache
