# Everything a newcomer needs: `make demo`, `make test`. Bare `make` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYPROJECTS := pyproject.toml $(wildcard backend/packages/factflow-*/pyproject.toml \
	backend/packages/workflows/factflow-*/pyproject.toml)
SOURCES := $(wildcard backend/packages/*/src backend/packages/workflows/*/src)
# Folders of loose modules, checked one by one: names such as conftest stand in several.
FOLDERS := $(wildcard backend/packages/*/tests backend/packages/workflows/*/tests \
	backend/packages/*/tests/stand_in tests bench demo docs/generator)
CODE := backend tests conftest.py docs/generator $(wildcard bench demo)
# One more at a time than two processors: a third of its time a test waits for what it started.
PYTEST := $(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder
POSTGRES := postgresql://postgres@127.0.0.1:5432/postgres

# The virtualenv's own interpreter serves; uv downloads none and uses no other environment.
export UV_PYTHON_DOWNLOADS := never
export UV_PROJECT_ENVIRONMENT := $(VENV)
unexport VIRTUAL_ENV

.PHONY: help setup docs demo test test-long test-services test-cli chaos chaos-services lint types contracts check bench bench-scale bench-services bench-peers format clean

help: ## list the targets
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/\1\t\2/p' Makefile | while IFS=$$'\t' read -r name text; do \
		printf '  make %-11s %s\n' "$$name" "$$text"; done

setup: $(READY) ## make .venv with everything in it; .venv/bin/factflow is ready then

demo: $(READY) ## run the example pipeline, then replay it (SITEMAP=URL: on a real site; STACK=services: by workers)
	@$(BIN)/python demo/run.py $${SITEMAP:+--sitemap "$$SITEMAP"} $${STACK:+--stack "$$STACK"} $(ARGS)

docs: $(READY) ## write the reference pages that are made from the code (commands, endpoints)
	$(BIN)/python docs/generator/run.py

test: $(READY) ## all tests but the long ones
	$(PYTEST) -m 'not long and not alone' $(ARGS)

test-long: $(READY) ## the tests that take minutes
	$(PYTEST) -n 2 -m 'long and not alone' --timeout 1800 $(ARGS)

test-services: $(READY) ## what depends on servers, with PostgreSQL as the database; none is skipped
	FACTFLOW_TEST_REQUIRE_SERVICES=1 \
		FACTFLOW_TEST_DATABASE_URL=$${FACTFLOW_TEST_POSTGRES_URL:-$(POSTGRES)} \
		$(PYTEST) -m 'not long or alone' backend/packages/factflow-infra/tests backend/packages/factflow-execution/tests \
		backend/packages/factflow-server/tests tests/acceptance $(ARGS)

test-cli: $(READY) ## the documented shell sessions against a real server
	$(PYTEST) tests/test_cli tests/acceptance/test_documented_shell.py $(ARGS)

chaos: $(READY) ## kill a server 50 times at random moments and count what was lost (SEED=N: the same again)
	$(BIN)/factflow selftest chaos --kills 50 --seconds 1800 --output table $${SEED:+--seed "$$SEED"} $(ARGS)

chaos-services: $(READY) ## ten minutes of kills of servers, workers, broker and PostgreSQL; lost and done twice: 0
	rm -rf .chaos
	$(BIN)/python -m factflow_testing.stack_chaos .chaos --seconds 600 --messages 20000 $${SEED:+--seed "$$SEED"} $(ARGS)

lint: $(READY) ## style and likely mistakes
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)

types: $(READY) ## strict types
	$(BIN)/mypy $(SOURCES)
	@for folder in $(FOLDERS); do echo $$folder; MYPYPATH=$$folder $(BIN)/mypy \
		$$(find $$folder -name '*.py' -not -path "$$folder/stand_in/*") || exit 1; done

contracts: $(READY) ## which package may import which
	$(BIN)/lint-imports

check: lint types contracts ## lint, types and contracts

bench: $(READY) ## measure speed against the limit of durable work, in about ten minutes
	$(BIN)/python bench/run.py $(ARGS)

bench-scale: $(READY) ## measure what much of everything costs: messages, rows, executions (minutes)
	$(BIN)/python bench/run_scale.py $(ARGS)

bench-services: $(READY) ## measure what PostgreSQL, brokers, S3 and workers cost beside the default (minutes)
	$(BIN)/python bench/run_services.py $(ARGS)

bench-peers: $(READY) ## install what `make bench` compares with, into .peers
	$(BIN)/python -m venv .peers
	.peers/bin/python -m pip install --quiet --disable-pip-version-check -r bench/peers/requirements.txt

format: $(READY) ## put the code into its format
	$(BIN)/ruff check --fix-only --quiet $(CODE)
	$(BIN)/ruff format $(CODE)

clean: ## remove .venv and what tools and demos left
	rm -rf $(VENV) .peers .demo .chaos .factflow .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Done again when a pyproject changes, or when the Python behind the virtualenv is gone.
ifneq ($(shell $(BIN)/python -c 'print(1)' 2>/dev/null),1)
.PHONY: $(READY)
endif
$(READY): $(PYPROJECTS) .ci/make-venv
	@.ci/make-venv $(VENV)
	@touch $@
