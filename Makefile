# make demo: install, audit the digits task, write a report.   make test: lint, types, rooms, tests.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Public data sets for the tests: your own ALGOBIAS_DATA, or unpacked once into a cache folder where a sibling
# folder offers them. Without either the tests that need them are skipped.
UNPACK := $(firstword $(wildcard ../*/data/unpack.py))
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/algobias/test-data
ifeq ($(origin ALGOBIAS_DATA),undefined)
  ifneq ($(UNPACK),)
    export ALGOBIAS_DATA := $(CACHE)
    UNPACKED := $(CACHE)/.complete
  endif
endif

.PHONY: demo test install clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(STAMP)

$(CACHE)/.complete: | $(STAMP)
	mkdir -p $(CACHE)
	$(BIN)/python $(UNPACK) $(CACHE) mnist fashion cifar10
	touch $@

demo: $(STAMP)
	$(BIN)/algobias audit digits --change batch:x16,lr=sqrt

test: $(STAMP) $(UNPACKED)
	$(BIN)/ruff check --no-cache .
	$(BIN)/ruff format --no-cache --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -rs

clean:
	rm -rf $(VENV) .algobias build dist *.egg-info src/*.egg-info
