# Thin doors: `make help` names them. What they do lives in Python, and works without make.

VENV := .venv
BIN := $(VENV)/bin
# The Python that makes the environment; PYTHON=/path/to/python3.12 chooses another.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
MATRIX := 3.12 3.13 3.14

.DEFAULT_GOAL := help
.PHONY: help demo test check matrix bench clean

help:  ## What there is to make
	@grep -E '^[a-z]+:.*##' $(firstword $(MAKEFILE_LIST)) | sed 's/:.*## /|/' | \
	  while IFS='|' read -r name text; do printf '  make %-8s %s\n' "$$name" "$$text"; done

demo: $(VENV)/.demo-installed  ## The whole product on one machine (PORT, SERVER, WEB_PROCESSES, TRAFFIC, DATABASE_URL, REDIS_URL)
	@$(BIN)/python -I project/demonstration/tether.py TERM - $(BIN)/python manage.py demo

test: $(VENV)/.dev-installed  ## The tests (ARGS='-k name' chooses)
	@$(BIN)/python -m tests $(ARGS)

check: $(VENV)/.dev-installed  ## Style, types, the ladder of imports, migrations, Django's checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	DJANGO_SETTINGS_MODULE=project.settings.test $(BIN)/python manage.py makemigrations --check --dry-run
	DJANGO_SETTINGS_MODULE=project.settings.test $(BIN)/python manage.py check

# Every Python found beside the first one, each with the newest Django that pulse allows.
matrix:  ## The tests on every other Python that is found, with the newest Django
	@failed=; for version in $(MATRIX); do \
	  if ! "python$$version" -c '' 2>/dev/null; then echo "== Python $$version: not found, left out"; continue; fi; \
	  echo "== Python $$version"; environment="$(VENV)-$$version"; \
	  "python$$version" -m venv "$$environment" && \
	  "$$environment/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade \
	    --upgrade-strategy eager -e '.[test]' 'Django<6.2' && \
	  "$$environment/bin/python" -m django --version && \
	  "$$environment/bin/python" -m tests $(ARGS) || failed="$$failed $$version"; \
	done; \
	if [ -n "$$failed" ]; then echo "== failed on:$$failed"; exit 1; fi

bench: $(VENV)/.bench-installed  ## pulse beside its peers (ARGS are handed on)
	@$(BIN)/python -m benchmarks $(ARGS)

clean:  ## Remove what was made: environments, caches, the demonstration's data
	rm -rf $(VENV) $(VENV)-* .demo build dist .ruff_cache .mypy_cache .pytest_cache .import_linter_cache .hypothesis .schemathesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Each extra is installed once, and again when pyproject.toml has changed.
$(VENV)/.%-installed: pyproject.toml | $(BIN)/python
	@echo "Installing the extra '$*' into $(VENV)."
	@$(INSTALL) --editable '.[$*]'
	@touch $@

$(BIN)/python:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 or newer is needed; found: $$("$(PYTHON)" --version 2>&1 || echo none)." \
	    "Name one with PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "The environment could not be made. On Debian: apt-get install python3-venv" >&2; exit 1; }
