# One door for people and CI. Needs Python 3.11 or newer, make and a package registry; written for GNU make 3.81 and up.
.DEFAULT_GOAL := help
.PHONY: help setup demo check test bench audit clean

VENV := .venv
RUN := $(VENV)/bin/python
OLD_ENOUGH := import ensurepip, sys; sys.exit(sys.version_info < (3, 11))
PYTHON := $(or $(PYTHON),$(shell for python in python3 python3.13 python3.12 python3.11 python3.14; do \
	"$$python" -c '$(OLD_ENOUGH)' 2>/dev/null && echo "$$python" && break; done))

# What an installation depends on: where it lies, which Python it has, and what it was asked to hold.
KEY = { pwd; "$(PYTHON)" -VV; $(RUN) -VV; cat pyproject.toml constraints.txt; } 2>&1 | cksum

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s %s\n", $$1, $$2 }' Makefile

setup: ## create .venv and install into it; quick when nothing changed
	@test "$$(cat $(VENV)/.installed 2>/dev/null)" = "$$($(KEY))" || { $(INSTALL); }

demo: setup ## build a small world, train, print three people's feeds and serve them (ARGS=--once to stop there)
	@$(VENV)/bin/huozhao demo $(ARGS)

check: setup ## ruff, mypy strict and the arrows between packages
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy
	@$(VENV)/bin/lint-imports --no-cache --no-logo

test: check ## check, then every test (ARGS="-k name" to choose)
	@$(RUN) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(ARGS)

bench: setup ## the quick benchmarks
	@$(RUN) -m benchmarks --quick all

audit: setup ## known faults of the pinned versions, asked of PyPI; needs a network
	@$(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[audit]'
	@said=$$($(RUN) -m pip_audit --strict --disable-pip --no-deps --progress-spinner off --requirement constraints.txt 2>&1); \
	code=$$?; printf '%s\n' "$$said" | tail -n 20; \
	case "$$said" in *'could not be audited'* | *onnection*) \
		echo 'Not audited: PyPI does not say here what is known to be at fault. Run it where there is a network.' >&2; exit 2;; \
	esac; exit $$code

clean: ## remove what kernels, tests and checks cached, as after a class that kernels know has moved
	@find . -path ./$(VENV) -prune -o \( -name '*.nb[ic]' -o -name '*.pyc' \) -exec rm -f {} +
	@rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache

define INSTALL
"$(PYTHON)" -c '$(OLD_ENOUGH)' 2>/dev/null || { \
	echo 'Huozhao needs Python 3.11 or newer with its venv module. Install it, or name it: make PYTHON=/path/to/python3.11' >&2; exit 1; }; \
{ test "$$($(RUN) -VV 2>&1)" = "$$("$(PYTHON)" -VV)" && grep -qF "$(CURDIR)/$(VENV)" $(VENV)/pyvenv.cfg || \
	"$(PYTHON)" -m venv --clear $(VENV); } && \
echo 'Setting up $(VENV): about a minute the first time.' && \
$(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[fast,pictures,test,traces]' && \
$(KEY) > $(VENV)/.installed
endef
