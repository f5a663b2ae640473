# A few verbs; each makes what it needs. PYTHON chooses the interpreter (3.11 to 3.13).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SLIDE ?=

.PHONY: demo test lint javascript bench hunt clean

# The stamp is remade when the dependencies change.
$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[embed,cluster,convert,pretrain,dev]"
	touch $@

# make demo [SLIDE=path/to/slide.svs]: annotate the synthetic slide, or your own, in the browser.
demo: $(VENV)/.installed
	$(BIN)/tissuumaps-sic $(if $(SLIDE),open "$(SLIDE)",demo)

# Two processes: whole files to each, since what they share is made once a file.
test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile

# ESLint and TypeScript from npm, run by the Node of the environment.
tests/javascript/node_modules: tests/javascript/package-lock.json $(VENV)/.installed
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/npm ci --silent --prefix tests/javascript
	touch $@

# The page's modules: their style, their types, and what those do that need no browser.
javascript: $(VENV)/.installed tests/javascript/node_modules
	$(BIN)/node tests/javascript/node_modules/eslint/bin/eslint.js \
	  --config tests/javascript/eslint.config.js tissuumaps_sic/plugin tests/javascript/*.js
	$(BIN)/node tests/javascript/node_modules/typescript/bin/tsc --project tests/javascript
	$(BIN)/node --disable-warning=MODULE_TYPELESS_PACKAGE_JSON --test --test-isolation=none --test-reporter=dot tests/javascript/*.test.js

lint: javascript
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed
	for script in benchmarks/bench_*.py; do $(BIN)/python $$script || exit 1; done

# Damaged files, each opened in a process of its own; make hunt FILES=20000 SEED=7 for others.
FILES ?= 3000
SEED ?= 0
hunt: $(VENV)/.installed
	cd tests && PYTHONPATH=. ../$(BIN)/python -m hostile.hunt --files $(FILES) --seed $(SEED)

clean:
	rm -rf $(VENV) tests/javascript/node_modules demo test-artifacts .pytest_cache .mypy_cache .ruff_cache
