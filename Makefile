# make demo: install, audit the digits task, write a report.   make test: lint, types, rooms, tests.
# make wide: the tests too slow for make test; what they show is committed and compared.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Where bytecode may not be written, each of some hundred processes compiles the package anew.
export PYTHONDONTWRITEBYTECODE :=

# Public data sets for the tests: your own ALGOBIAS_DATA, or unpacked once into a cache folder where a sibling
# folder offers them. Without either the tests that need them are skipped.
UNPACK := $(firstword $(wildcard ../*/data/unpack.py))
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/algobias/test-data
ifeq ($(origin ALGOBIAS_DATA),undefined)
  ifneq ($(UNPACK),)
    export ALGOBIAS_DATA := $(CACHE)
    UNPACKED := $(CACHE)/.complete-2
  endif
endif

.PHONY: demo test lint wide install clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[dev]'
	# Every core compiles what was installed; pip would use one. Some packages hold files of other Pythons.
	$(BIN)/python -m compileall -q -j 0 $(VENV)/lib > /dev/null || true
	touch $(STAMP)

# Packed sets are unpacked in the layouts of their sites; texts lie there as they are.
TEXTS := tinyshakespeare books wikitext-2 multi30k sentence_polarity

$(CACHE)/.complete-2: | $(STAMP)
	mkdir -p $(CACHE)
	$(BIN)/python $(UNPACK) $(CACHE) mnist fashion cifar10 gtsrb fsdd driving
	cp -R $(wildcard $(addprefix $(dir $(UNPACK)),$(TEXTS))) $(CACHE)
	touch $@

demo: $(STAMP)
	$(BIN)/algobias audit digits --change batch:x16,lr=sqrt

lint: $(STAMP)
	$(BIN)/ruff check --no-cache .
	$(BIN)/ruff format --no-cache --check .
	$(BIN)/lint-imports

test: $(STAMP)
	$(MAKE) --no-print-directory -j 2 lint $(UNPACKED)
	# Types are checked while the tests run: alone they would leave a core idle for a minute.
	$(BIN)/mypy > $(VENV)/types.txt 2>&1 & types=$$!; \
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -rs; tests=$$?; \
	wait $$types; typed=$$?; cat $(VENV)/types.txt; exit $$(( tests ? tests : typed ))

wide: $(STAMP) $(UNPACKED)
	$(BIN)/python benchmarks/wide.py

clean:
	rm -rf $(VENV) .algobias build dist *.egg-info src/*.egg-info
