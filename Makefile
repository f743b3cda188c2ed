# make demo: install, audit the digits task, write a report.   make test: lint, types, rooms, tests.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Real data for the tests, where a sibling folder offers to unpack them; never part of the project.
SIBLING_DATA := $(firstword $(wildcard ../shared/data/unpack.py))
DATA_CACHE ?= $(CURDIR)/.data-cache
ifneq ($(SIBLING_DATA),)
  ALGOBIAS_DATA ?= $(DATA_CACHE)
  export ALGOBIAS_DATA
endif

.PHONY: demo test install data clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(STAMP)

data: $(STAMP)
ifneq ($(SIBLING_DATA),)
	@test -f $(ALGOBIAS_DATA)/.complete || { mkdir -p $(ALGOBIAS_DATA) && \
	  $(BIN)/python $(SIBLING_DATA) $(ALGOBIAS_DATA) mnist fashion cifar10 && touch $(ALGOBIAS_DATA)/.complete; }
else
	@echo "no sibling data folder: tests on public data sets will be skipped"
endif

demo: $(STAMP)
	$(BIN)/algobias audit digits --change batch:x16,lr=sqrt

test: $(STAMP) data
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -rs

clean:
	rm -rf $(VENV) $(DATA_CACHE) .algobias build dist *.egg-info src/*.egg-info
