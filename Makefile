# Everything runs in .venv, which the first target to need it builds with plain venv and pip.
#
#   make demo     train a β-VAE and a GRAE on MNIST and write a report that compares them
#   make test     the tests (a few minutes);  make test ARGS="-m slow" for the long ones
#   make test-all every test, the long ones too (for the night)
#   make check    lint, format, types, layering, documentation, packaging
#   make package  build the wheel and try it in an empty environment, in dist/
#   make bench    speed against other ways of computing the same thing;  make bench ARGS="--device cuda" on a GPU
#   make gpu      full width on one card in ten minutes, in GPU_OUT;  make gpu SCALE=smoke tries the script on a CPU
#   make docs     the documentation as a site, in site/
#   make clean    remove .venv and everything that was built (runs/ stays)
#
# Settings: PYTHON=python3.12, SCALE=smoke (a demo in seconds, for continuous integration), DEMO_STEPS, DEMO_WIDTH,
# DEMO_LIMIT (how many held-out digits are evaluated).

PYTHON ?= python3
SCALE ?= quick
GPU_OUT ?= runs/gpu$(if $(filter smoke,$(SCALE)),-smoke)
ARGS ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
READY := .venv/.ready
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
BENCH_READY := .venv/.bench-ready
EMPTY := .venv/.empty
EMPTY_PIP := $(EMPTY)/bin/python -m pip --disable-pip-version-check
TORCH := $(shell sed -n 's/^torch==//p' constraints.txt)

ifeq ($(SCALE),smoke)
override DEMO := runs/demo-smoke
# beside other work two threads that wait by spinning take many times as long; one core is enough for this
export OMP_NUM_THREADS := 1
DEMO_STEPS ?= 20
DEMO_WIDTH ?= 0.03125
DEMO_LIMIT ?= 100
else ifeq ($(SCALE),quick)
override DEMO := runs/demo
DEMO_STEPS ?= 1500
DEMO_WIDTH ?= 0.125
DEMO_LIMIT ?= 1000
else
$(error SCALE is '$(SCALE)'; expected smoke or quick)
endif

# One architecture, one posterior structure, one seed: the objective is the only difference between the two runs.
TRAIN := $(BIN)/curvae train --data mnist --structure diagonal --likelihood gaussian --network paper \
	--width $(DEMO_WIDTH) --beta 0.2 --latents 12 --steps $(DEMO_STEPS) --batch-size 64 --lr 2e-3 --schedule cosine \
	--seed 0

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test test-all check package bench gpu docs clean

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

install: $(READY)

# PyTorch comes first and alone, so that a machine with a build of its own for this version uses that one; what follows
# only ever finds it there. The build backend comes from the constraints too, hence no isolated build.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "curvae needs Python 3.11 or newer, but \
	$(PYTHON) is %d.%d: name another one, as in  make PYTHON=python3.12" % sys.version_info[:2])'
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	$(PIP) install torch==$(TORCH)
	$(PIP) install --constraint constraints.txt hatchling editables
	$(PIP) install --constraint constraints.txt --no-build-isolation --editable '.[cli,mnist,uniqueness,features,faces,adapters,pandas,anndata,tensorboard,dev]'
	@touch $@

$(BENCH_READY): $(READY)
	$(PIP) install --constraint constraints.txt --no-build-isolation --editable '.[bench]'
	$(PIP) install --constraint constraints.txt --no-deps pythae
	$(PIP) install --constraint constraints.txt setuptools
	$(PIP) install --constraint constraints.txt --no-deps --no-build-isolation stochman
	@touch $@

demo: $(READY)
	rm -rf $(DEMO)
	$(TRAIN) --objective beta-vae --out $(DEMO)/beta-vae
	$(TRAIN) --objective grae --estimator columns:1 --out $(DEMO)/grae
	$(BIN)/curvae evaluate $(DEMO)/beta-vae --limit $(DEMO_LIMIT)
	$(BIN)/curvae evaluate $(DEMO)/grae --limit $(DEMO_LIMIT)
	$(BIN)/curvae report $(DEMO)/beta-vae $(DEMO)/grae --out $(DEMO)/report.html
	@printf '\nThe report, one page to open in any browser:\n  %s\n' '$(CURDIR)/$(DEMO)/report.html'

# One thread for each process: the tests are many and small, so that processes share the cores better than threads do.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadscope $(ARGS)

test-all: override ARGS += -m "slow or not slow"
test-all: test

check: $(READY) package
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MKDOCS) --quiet

# What a stranger installs: the source distribution, the wheel that is built from it, and that wheel with PyTorch and
# what the core asks for in an environment of its own. There an objective is computed, the command line names the extra
# that it needs, and with that extra it starts.
package: $(READY)
	rm -rf dist
	$(BIN)/python -m build --no-isolation > $(READY).build || { cat $(READY).build; exit 1; }
	$(BIN)/twine check --strict dist/*
	! tar tzf dist/*.tar.gz | grep -E '^[^/]+/(results|docs)/'  # neither results nor the documentation
	$(PYTHON) -m venv --clear $(EMPTY)
	$(EMPTY_PIP) install --quiet torch==$(TORCH)
	$(EMPTY_PIP) install --quiet --constraint constraints.txt dist/*.whl
	$(EMPTY)/bin/python -I tests/packaging/core.py
	$(EMPTY)/bin/curvae --help 2> $(EMPTY)/said; test $$? -eq 2
	grep 'run: pip install "curvae\[cli\]"$$' $(EMPTY)/said
	$(EMPTY_PIP) install --quiet --constraint constraints.txt "$$(echo dist/*.whl)[cli]"
	$(EMPTY)/bin/curvae --version
	rm -rf $(EMPTY)

bench: $(BENCH_READY)
	$(BIN)/python -m benchmarks $(ARGS)

gpu: $(READY)
	$(BIN)/python -m benchmarks.gpu --scale $(if $(filter smoke,$(SCALE)),smoke,full) --out $(GPU_OUT) $(ARGS)

docs: $(READY)
	$(MKDOCS)

clean:
	rm -rf .venv .tutorials_cache site dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
