# A few verbs; each makes what it needs. PYTHON chooses the interpreter (3.11 to 3.13).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SLIDE ?=
OPTIONS ?=
SIC_INSTALL ?= -m pip install --quiet --disable-pip-version-check
# Modules are compiled once, whatever the machine has set: a server starts in 4 seconds instead of 10, and tests start
# some two hundred programs.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test lint javascript schemas bench hunt clean

# The stamp is remade when the dependencies change.
$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	# The pip of an older Python takes three minutes to find versions that fit each other.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python $(SIC_INSTALL) -e ".[embed,cluster,convert,dicom,pretrain,spatialdata,docs,dev]"
	touch $@

# make demo [SLIDE=path/to/slide.svs] [OPTIONS="--slide-mpp 0.25"]: annotate the synthetic slide, or your own, in the
# browser; the options are those of `tissuumaps-sic open`, or of `tissuumaps-sic demo` without a slide.
demo: $(VENV)/.installed
	$(BIN)/tissuumaps-sic $(if $(SLIDE),open "$(SLIDE)",demo) $(OPTIONS)

# Two processes: whole files to each, since what they share is made once a file; in the order of tests/conftest.py.
# Plugins that come with other packages would only take their time.
OTHERS := hydra_pytest zarr fast_array_utils typeguard anyio platformdirs
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 40 $(OTHERS:%=-p no:%)
test: lint suite

suite: $(VENV)/.installed tests/javascript/node_modules
	$(PYTEST)

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

# docs/schemas from the models of sessions and of provenance.
schemas: $(VENV)/.installed
	$(BIN)/python .ci/schemas.py

bench: $(VENV)/.installed
	for script in benchmarks/bench_*.py; do $(BIN)/python $$script || exit 1; done

# make paper DATA=folder POSITIVE=1 [OPTIONS="--truth masks"]: the paper's experiment on embedded slides with truth, beside
# what the paper found; benchmarks/README.md has what came out, and `benchmarks/paper.py --help` the options.
paper: $(VENV)/.installed
	@test -n "$(DATA)" -a -n "$(POSITIVE)" || { echo 'say where: make paper DATA=folder POSITIVE=1 (what is cancer in the truth)' >&2; exit 2; }
	$(BIN)/python benchmarks/paper.py "$(DATA)" --positive "$(POSITIVE)" $(OPTIONS)

# What tells within two minutes whether the work at hand broke something: no browser, no cluster, no real slide.
quick: $(VENV)/.installed
	$(PYTEST) -m "not slow"

# Lines of both packages that the tests run in their own processes (not what those start); a third slower.
coverage: $(VENV)/.installed
	$(PYTEST) --cov=embedder --cov=tissuumaps_sic --cov-report=term:skip-covered

.PHONY: paper quick coverage suite

# Damaged files, each opened in a process of its own, and damaged requests; make hunt FILES=20000 SEED=7 for others.
FILES ?= 3000
SEED ?= 0
hunt: $(VENV)/.installed
	cd tests && PYTHONPATH=. ../$(BIN)/python -m hostile.hunt --files $(FILES) --seed $(SEED)
	SIC_REQUESTS=10000 $(BIN)/python -m pytest -q tests/tissuumaps_sic/viewer/test_safety.py

# The guide, into site/: pages to be opened or served. A link or a name that leads nowhere ends it.
docs: $(VENV)/.installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

.PHONY: docs

clean:
	rm -rf $(VENV) tests/javascript/node_modules demo site test-artifacts .pytest_cache .mypy_cache .ruff_cache
