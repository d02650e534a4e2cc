# Needs python3 (3.11 or newer), git and make; uv is used where it is there, pip otherwise.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help up down test test-docker test-slow lint bench docs lock clean

help: ## Show what can be made
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: ## Deliver campaign-console from the current commit to a verified production on this machine
	@$(PYTHON) scripts/setup.py --venv $(VENV) --lock local
	@$(BIN)/akashic -C campaign-console up --approve

down: ## Stop everything that `make up` started
	@if [ -x $(BIN)/akashic ]; then $(BIN)/akashic -C campaign-console down; else echo "nothing is installed, so nothing runs"; fi

test: ## Run the tests (what a machine lacks is reported as skipped, with the reason)
	@$(PYTHON) scripts/setup.py --venv $(VENV) --lock dev
	@$(BIN)/python scripts/tests.py

test-docker: ## Run the tests that need a container engine
	@$(PYTHON) scripts/setup.py --venv $(VENV) --lock dev
	@$(BIN)/python -m pytest -m docker

test-slow: ## Run what takes minutes: 10,000 steps, a log of a gigabyte, previews and a published release
	@$(PYTHON) scripts/setup.py --venv $(VENV) --lock dev
	@AKASHIC_TEST_SLOW=1 $(BIN)/python -m pytest tests/e2e/test_large_runs.py tests/e2e/test_branches_and_releases.py

lint: ## Format, lint, types, and the import contract of the rooms
	@$(PYTHON) scripts/setup.py --venv $(VENV) --lock dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: ## Print the figures: akashic against act, and the figures of delivery
	@$(PYTHON) scripts/setup.py --venv $(VENV) --lock dev
	@$(BIN)/python -m bench

docs: ## Write the generated pages of the reference anew
	@$(PYTHON) scripts/setup.py --venv $(VENV) --lock dev
	@$(BIN)/python scripts/reference.py

lock: ## Resolve the locked dependencies anew (needs uv)
	@$(PYTHON) scripts/lock.py

clean: down ## Stop everything and remove what was installed and kept
	rm -rf $(VENV) .akashic campaign-console/.akashic
