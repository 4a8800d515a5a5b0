# `make serve` and `make test` need only Python 3.11 or newer, make, and a network to install packages.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
MINUTES ?= 10
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
EVERYDAY := not long and not container and not blender and not browser and not kubernetes and not prometheus and not ray and not node
SOURCES := rendersight model_store app training deploy tests benchmarks

.PHONY: help serve test test-all format lock bench bench-env soak render-env ray-env node-env reference clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

serve: $(VENV)/serve.stamp ## start the service with the embedded release
	@$(if $(HOST),RENDERSIGHT_HOST=$(HOST)) $(if $(PORT),RENDERSIGHT_PORT=$(PORT)) $(BIN)/python -m app

test: $(VENV)/dev.stamp ## run the linter, the type checker and the everyday tests
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy & types=$$!; $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --max-worker-restart 0 -m "$(EVERYDAY)"; tests=$$?; \
	wait $$types && exit $$tests

test-all: $(VENV)/dev.stamp render-env ray-env node-env ## run all tests, including the slow ones
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/python -m pytest

format: $(VENV)/dev.stamp ## format the sources
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/serve.stamp: requirements/serve.txt | $(VENV)/bin/python
	$(PIP) install --quiet --require-hashes -r requirements/serve.txt
	@touch $@

$(VENV)/dev.stamp: requirements/dev.txt | $(VENV)/bin/python
	$(PIP) install --quiet --require-hashes -r requirements/dev.txt
	@touch $@

lock: $(VENV)/dev.stamp ## resolve the dependencies again; the locks have hashes and no index address
	$(BIN)/uv pip compile pyproject.toml requirements/dev.in $(LOCK) -o requirements/dev.txt
	for name in serve slim ray; do $(BIN)/uv pip compile pyproject.toml requirements/$$name.in -c requirements/dev.txt \
		$(LOCK) -o requirements/$$name.txt || exit; done
	$(BIN)/uv pip compile requirements/bench.in $(LOCK) -o requirements/bench.txt
	$(BIN)/uv pip compile requirements/render.in $(LOCK) -o requirements/render.txt

LOCK := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --quiet \
	--custom-compile-command "make lock"

reference: $(VENV)/dev.stamp ## write docs/api.md and docs/settings.md from the code
	$(BIN)/python -m app.reference docs

bench: $(VENV)/dev.stamp bench-env ## print every figure of docs/performance.md; takes twenty minutes on an idle machine
	$(BIN)/python -m benchmarks

bench-env: $(VENV)-bench/stamp ## install the servers we compare with, in their own environment

$(VENV)-bench/stamp: requirements/bench.txt
	$(PYTHON) -m venv $(VENV)-bench
	$(VENV)-bench/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes -r $<
	@touch $@

soak: $(VENV)/dev.stamp ## send every kind of request for ten minutes while newer releases take over; MINUTES=30 for longer
	$(BIN)/python -m benchmarks.soak --minutes $(MINUTES)

clean: ## remove all environments and caches; datasets, runs and releases stay
	rm -rf $(VENV) $(VENV)-* .hypothesis .mypy_cache .pytest_cache .ruff_cache .schemathesis *.egg-info
	find $(SOURCES) -name __pycache__ -prune -exec rm -rf {} +

render-env: $(VENV)-render/stamp ## install Blender (bpy, GPL) in its own environment, for `training render`

$(VENV)-render/stamp: requirements/render.txt
	$(PYTHON) -m venv $(VENV)-render
	$(VENV)-render/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes -r $<
	@touch $@

ray-env: $(VENV)-ray/stamp ## install Ray in its own environment, for deploy/ray

$(VENV)-ray/stamp: requirements/ray.txt
	$(PYTHON) -m venv $(VENV)-ray
	$(VENV)-ray/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes -r $<
	@touch $@

node-env: $(VENV)-node/stamp ## install what the JavaScript example of docs/export.md needs; takes Node.js with npm

$(VENV)-node/stamp: requirements/node/package.json requirements/node/package-lock.json
	mkdir -p $(VENV)-node
	cp $^ $(VENV)-node
	npm ci --prefix $(VENV)-node --ignore-scripts --no-audit --no-fund --silent
	@touch $@
