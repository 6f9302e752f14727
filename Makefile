# Every target sets up what it needs. Environments are made by uv from constraints.txt and rebuilt
# when that or pyproject.toml changes.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

# The clients that stock users have. The newest is the one of the main environment.
HUB := 2.4.0
HUB036 := 0.36.2
HUB133 := 1.33.0
export MODELKEEP_TEST_CLIENTS := $(HUB036)=$(CURDIR)/.venv-hub036/bin/python,$(HUB133)=$(CURDIR)/.venv-hub133/bin/python

WORKERS ?= 2
PYTEST_ARGS ?=
CHECKED := src tests benchmarks scripts
PY := .venv/bin/python
PYTEST := $(PY) -m pytest --numprocesses $(WORKERS) --dist loadfile
INPUTS := pyproject.toml constraints.txt scripts/environment scripts/uv

.PHONY: help
help: ## list the targets
	@sed -En 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 24

.PHONY: demo
demo: .venv/.ready ## run the main job on a real model (REPO=org/name, KEEP=dir to look at the result)
	@$(PY) scripts/demo.py $(if $(KEEP),--keep "$(KEEP)") $(if $(REPO),"$(REPO)")

.PHONY: test
test: system-packages clients lint types ## everything: lint, types, all tests except the stress runs
	$(PYTEST) -m "not stress" --durations 15 $(PYTEST_ARGS)

.PHONY: unit
unit: .venv/.ready ## the quick tests, without real clients, kernel file systems and other users
	$(PYTEST) -m "not real and not stress" $(PYTEST_ARGS)

.PHONY: lint
lint: .venv/.ready ## ruff, its formatter, shellcheck
	.venv/bin/ruff check --quiet $(CHECKED)
	.venv/bin/ruff format --check --quiet $(CHECKED)
	.venv/bin/shellcheck .ci/run $$(grep --files-with-matches '^#!.*bash' scripts/*)

.PHONY: format
format: .venv/.ready ## let ruff rewrite what it can
	.venv/bin/ruff check --quiet --fix $(CHECKED)
	.venv/bin/ruff format --quiet $(CHECKED)

.PHONY: types
types: .venv/.ready ## mypy, strict
	.venv/bin/mypy

.PHONY: bench
bench: .venv/.ready system-packages ## list the benchmarks
	@$(PY) scripts/list_benchmarks.py

.PHONY: readme-help
readme-help: .venv/.ready ## put the output of modelkeep --help into both READMEs
	$(PY) scripts/readme_help.py

.PHONY: environments
environments: .venv/.ready clients ## only set up what the tests need

.PHONY: clean
clean: ## remove caches and built packages
	rm -rf dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find $(CHECKED) -name __pycache__ -prune -exec rm -rf {} +

.PHONY: distclean
distclean: clean ## remove the environments as well
	rm -rf .venv .venv-hub036 .venv-hub133 .venv-uv

.PHONY: system-packages
system-packages:
	@scripts/install-system-packages

.PHONY: clients
clients: .venv-hub036/.ready .venv-hub133/.ready

.venv/.ready: $(INPUTS)
	@scripts/environment .venv huggingface_hub==$(HUB) --editable '.[torch]' --group test
	@touch $@

.venv-hub036/.ready: $(INPUTS)
	@scripts/environment .venv-hub036 huggingface_hub==$(HUB036) --editable . --group client
	@touch $@

.venv-hub133/.ready: $(INPUTS)
	@scripts/environment .venv-hub133 huggingface_hub==$(HUB133) --editable . --group client
	@touch $@
