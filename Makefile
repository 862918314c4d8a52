# Two commands on a fresh machine: `make quickstart` and `make test`. Needs Python 3.11 or newer, make and git.
#   PYTHON=/path/to/python3   another interpreter than the first fitting one in PATH
#   VENV=folder               another place than .venv for the environment
#   ARGS=...                  more arguments for pytest: make test ARGS='tests/dsl -x'

PYTHON ?=
VENV ?= .venv
PEER_VENV ?= .venv-peer
ARGS ?=
SPREAD = --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder
ENVIRONMENT = @PYTHON='$(PYTHON)' sh .ci/environment

.DEFAULT_GOAL := help
.PHONY: help quickstart test test-all lint fmt bench docs reference constraints vscode clean run-environment dev-environment peer-environment

help: ## Print this list.
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1|\2/p' Makefile | while IFS='|' read -r target text; do printf '%-19s %s\n' "$$target" "$$text"; done

quickstart: run-environment ## Install, and run the smallest whole study: specs/quickstart.mix.
	$(VENV)/bin/mixc run specs/quickstart.mix

test: dev-environment ## Install, and run the tests that need neither torch nor much time.
	$(VENV)/bin/python -m pytest -m 'not slow' $(SPREAD) $(ARGS)

test-all: peer-environment ## Run every test, the slow ones and those against torch too (Python 3.11).
	XLA_FLAGS= $(PEER_VENV)/bin/python -m pytest $(ARGS)

lint: dev-environment ## Check format, lint and types.
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/ruff check
	$(VENV)/bin/pyright --pythonpath $(VENV)/bin/python

fmt: dev-environment ## Format the code and mend what ruff can mend.
	$(VENV)/bin/ruff format
	$(VENV)/bin/ruff check --fix

bench: peer-environment ## Run the benchmarks against their peers (Python 3.11); they write bench/results.md.
	$(PEER_VENV)/bin/python bench/train_step.py
	$(PEER_VENV)/bin/python bench/sampling.py
	$(PEER_VENV)/bin/python bench/checkpoint.py
	$(PEER_VENV)/bin/python bench/documents.py
	$(PEER_VENV)/bin/python bench/chats.py
	$(PEER_VENV)/bin/python bench/language.py
	$(PEER_VENV)/bin/python bench/inspect_tasks.py
	$(PEER_VENV)/bin/python bench/report_page.py
	$(PEER_VENV)/bin/python bench/coverage.py

docs: run-environment ## Check that the reference and the schema are up to date, and that links in Markdown lead to a file.
	$(VENV)/bin/python -m dsl.reference --check
	$(VENV)/bin/python .ci/links.py

reference: run-environment ## Make docs/reference/ and editors/mix.schema.json from the declarations.
	$(VENV)/bin/python -m dsl.reference

constraints: ## Pin what pyproject.toml asks for in constraints.txt, keeping its versions; UPGRADE=1 takes the newest.
	python3.11 .ci/constraints.py $(if $(UPGRADE),--upgrade)

vscode: ## Build the VS Code extension: editors/vscode/mixc-VERSION.vsix (needs node and npm).
	cd editors/vscode && npm ci && npm test && npm run package

clean: ## Remove environments made here, build outputs and caches of tools. Runs and their results stay.
	@for folder in $(VENV) $(PEER_VENV); do if [ ! -e $$folder/.made-by-mixc ]; then continue; fi; rm -rf $$folder.old; mv $$folder $$folder.old; done
	rm -rf $(VENV).old $(VENV).new $(VENV).lock $(PEER_VENV).old $(PEER_VENV).new $(PEER_VENV).lock
	rm -rf dist build .pytest_cache .ruff_cache .hypothesis
	rm -rf editors/vscode/node_modules editors/vscode/dist editors/vscode/*.vsix
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

run-environment:
	$(ENVIRONMENT) $(VENV) run

dev-environment:
	$(ENVIRONMENT) $(VENV) dev

peer-environment:
	$(ENVIRONMENT) $(PEER_VENV) peer
