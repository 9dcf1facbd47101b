# `make run` and `make test` need Python 3.11 or newer and pip; everything else goes into .venv.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# The pinned pyright is the one that is meant; it need not look for a newer one.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.DEFAULT_GOAL := help
.PHONY: help run test check lock clean $(VENV)

help: ## List what can be made
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

run: $(READY) ## Start the daemon with the shipped application
	@$(BIN)/sagad run

# In the order of the folders: sorted by how many tests they have, the soaks, which are one each, would come last.
test: $(READY) ## Run the tests, with the RabbitMQ and the PostgreSQL that they need
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

check: $(READY) ## Run the formatter's check, the linters and the type checkers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy $(wildcard daemon workflows subscribers jobs tests benchmarks)
	$(if $(wildcard tests/typing),$(BIN)/pyright)
	$(BIN)/lint-imports

lock: $(READY) ## Pin the newest versions that pyproject.toml allows in requirements.lock
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --all-extras --group dev \
		--no-annotate --custom-compile-command "make lock" --output-file requirements.lock pyproject.toml

clean: ## Remove the environment and what the tools left behind
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .bench build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV): $(READY)

# Made anew when what is pinned changes; otherwise a second `make run` starts at once.
$(READY): requirements.lock pyproject.toml tools/environment
	@tools/environment $(VENV)
	@touch $@
