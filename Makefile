# A360: `make demo` shows the whole line, `make test` proves it. Everything else is a part of these two.
# Needs Python 3.11, Node 20, git and make; uv is installed beside the checkout's own things if it is missing.

SHELL := /bin/bash
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
export A360_HOME ?= $(CURDIR)/.a360
RUN := $(UV) run --no-sync
PYTEST := $(RUN) pytest
JOBS ?= 2

.PHONY: demo up down test unit lint format rows openapi docs test-long test-flavors test-s3 test-kubernetes bench benchmark-serving base-image clean

demo: .venv/.hub            ## From data to a protected endpoint; ARGS=--exit ends with an exit code
	$(RUN) python -m examples.demo $(ARGS)

up: .venv/.hub              ## Start the platform alone
	$(RUN) a360 up $(ARGS)

down: .venv/.hub            ## Stop what `up` or `demo` left running; ARGS=--all stops endpoints too
	$(RUN) a360 down $(ARGS)

test: lint                  ## Lint, types and every test that needs no cluster; ARGS="--reruns 2" on a busy machine
	$(PYTEST) -n $(JOBS) --dist loadgroup -m "not s3 and not kubernetes and not flavors and not alone and not long" $(ARGS)
	$(PYTEST) -m alone $(ARGS) tests/integration/test_event_loop.py || [ $$? = 5 ]

unit: .venv/.dev            ## The tests that start nothing
	$(PYTEST) tests/unit $(ARGS)

test-long: .venv/.dev       ## The few tests that take most of a minute each; CI runs them after `test`
	$(PYTEST) -n $(JOBS) --dist loadgroup -m "long and not flavors" $(ARGS)

test-flavors: .venv/.dev    ## Each framework's tests in the environment of its image; FLAVORS="pytorch xgboost" for some
	$(RUN) python -m tests.flavors $(FLAVORS)
	$(PYTEST) -m flavors $(ARGS) tests/e2e

test-s3: .venv/.dev         ## The storage contract on a real S3 server (A360_TEST_S3_ENDPOINT and keys)
	$(PYTEST) -m s3 $(ARGS)

test-kubernetes: .venv/.dev ## Endpoints in a real cluster (A360_TEST_KUBECONFIG or KUBECONFIG), images from Debian's docker-registry
	$(PYTEST) -m kubernetes $(ARGS) tests/integration

lint: .venv/.dev node_modules/.stamp ## ruff, mypy --strict, import-linter, and no drift of the OpenAPI document
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy
	$(RUN) lint-imports
	$(RUN) python -c "from a360_hub_service.app import print_openapi; print_openapi()" | diff -q - docs/openapi.json
	npm run check --silent

format: .venv/.dev          ## Let ruff put things right
	$(RUN) ruff format .
	$(RUN) ruff check --fix .

rows: .venv/.dev            ## Which rows of the acceptance lists a passing test proves, and which none does
	@$(RUN) python -m tests.rows

openapi: .venv/.dev         ## Write docs/openapi.json
	$(RUN) python -c "from a360_hub_service.app import print_openapi; print_openapi()" > docs/openapi.json

docs: .venv/.dev            ## The reference of the notebook kit, into docs/_build/kit-reference
	$(RUN) python docs/reference.py docs/_build/kit-reference

bench: .venv/.dev           ## Benchmarks, as ratios against a peer in the same run
	@for file in benchmarks/bench_*.py; do echo "== $$file"; $(RUN) python $$file || exit 1; done

benchmark-serving: .venv/.dev ## Endpoints beside MLflow's scoring server and BentoML (needs wrk; ARGS="--rounds 5")
	$(RUN) python -m benchmarks.serving $(ARGS)

base-image: .venv/.hub      ## The base image of served models (needs Docker and a Debian host)
	$(RUN) python -m a360_hub_service.backends.images.base_image

node_modules/.stamp: package-lock.json
	npm ci --silent --ignore-scripts --no-audit --no-fund
	@touch $@

clean:                      ## Remove environments and caches; the state directory stays (it is yours)
	rm -rf .venv .uv node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist docs/_build

.uv/bin/uv:
	python3 -m pip install --quiet --disable-pip-version-check --no-warn-script-location --target .uv uv

# Drivers of data sources that are large, and whose servers no test can start.
HEAVY := --no-extra mssql --no-extra snowflake --no-extra bigquery

# The stamps are inside the environment, so that removing it removes them too.
.venv/.hub: pyproject.toml uv.lock | $(filter .uv/bin/uv,$(UV))
	$(UV) sync --quiet --frozen --inexact --extra hub --extra s3 --extra sklearn
	@touch $@

.venv/.dev: pyproject.toml uv.lock | $(filter .uv/bin/uv,$(UV))
	$(UV) sync --quiet --frozen --inexact --all-extras $(HEAVY)
	@touch .venv/.hub $@
