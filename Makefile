# make train   set everything up and train an M-FOS shaper over Ray, the project's main job (about 5 minutes on two cores)
# make test    set everything up and run the tests
# make check   what CI checks besides: lint, format, types, layering
# make bench   env steps/s of every world, and what jaxmarl reaches on this machine
# make test-slow   the long trainings behind the README's table

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup train test check test-slow bench clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --upgrade pip
	$(BIN)/pip install -q -c constraints.txt -e '.[dev]'
	touch $@

train: $(STAMP)
	$(BIN)/interplay train ipd-mfos

test: $(STAMP)
	$(BIN)/pytest -n 2 --dist loadgroup -m "not slow"

test-slow: $(STAMP)
	$(BIN)/pytest -m slow --timeout 3600

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright

bench: $(STAMP)
	test -d .venv-jaxmarl || ($(PYTHON) -m venv .venv-jaxmarl && .venv-jaxmarl/bin/pip install -q jaxmarl)
	$(BIN)/interplay bench --jaxmarl .venv-jaxmarl/bin/python

clean:
	rm -rf $(VENV) .venv-jaxmarl build *.egg-info
