# Everything runs in .venv; `make setup PYTHON=python3.12` chooses what it is made with.
PYTHON ?= python3
MINUTES ?= 8
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/ready

.PHONY: help setup demo examples test lint docs bench gpu
.DELETE_ON_ERROR:

help:  ## show these lines
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY)  ## make .venv and install the package in it, editable, in the pinned versions

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("make setup: expected Python 3.11 or newer, got %d.%d; choose one with PYTHON=" % v[:2])'
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --constraint constraints.txt setuptools
	$(RUN) -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[dev]'
	@touch $@

demo: setup  ## train a GRU on the lyrics that come with the examples and let it write; figure in out/demo
	$(RUN) examples/lyrics.py --epochs 240 --out out/demo

examples: setup  ## run every experiment and write out/report/report.md; QUICK=1: in seconds each
	$(RUN) -m examples.report $(if $(QUICK),--quick)

test: setup  ## run the tests that need no GPU
	$(RUN) -m pytest -n auto --timeout 600 -m "not gpu and not slow"

lint: setup  ## check style, formatting and types
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(RUN) -m mypy

bench: setup  ## time the modules beside torch.nn, in tables for people
	$(RUN) -m pytest benchmarks/measuring/speed.py -q --benchmark-only --benchmark-columns=median,iqr,rounds

gpu: setup  ## on a CUDA machine: which kernels are right, how fast, better launch rows, the GPU tests, in MINUTES
	@if $(RUN) -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; \
	then $(RUN) -m benchmarks.gpu --minutes $(MINUTES); \
	else echo "make gpu: not run: PyTorch finds no CUDA device here"; fi

docs: setup  ## build the documentation into out/docs; a warning is an error
	$(RUN) -m sphinx -W --keep-going -q -b html docs out/docs
	@echo out/docs/index.html
