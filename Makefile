# Each target sets up what it needs, in .venv, and does nothing twice.
# `make` alone lists the targets: the text behind ## in each line below.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help demo demo-signed test campaigns lint bench sim clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(READY) ## Update a simulated board over the air, from garden 1.0.0 to 2.0.0
	@$(BIN)/python examples/demo.py

demo-signed: $(READY) ## The same with signed images, and what is refused
	@$(BIN)/python examples/demo_signed.py

test: $(READY) ## Run every test; campaigns are sampled
	@command -v openssl >/dev/null || \
		{ [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -qq -y openssl; } || \
		{ echo "openssl is needed, to compare signatures with (Debian: apt-get install openssl)"; exit 1; }
	@$(BIN)/pytest -n auto

campaigns: $(READY) ## Run the campaigns whole: power cuts, torn operations, seeded bugs
	@$(BIN)/pytest -n auto --campaigns -m campaign

lint: $(READY) ## Check style, types, and the subset of Python that the board has
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python tests/device_subset.py

bench: $(READY) ## Measure speed, memory and flash writes
	@$(BIN)/python bench/bench.py

sim: $(READY) ## Run a simulated board with the example application; board.img keeps its flash
	@if [ -f board.img ]; then $(BIN)/mpota sim; else $(BIN)/mpota sim --app examples/garden/1.0.0; fi

clean: ## Remove what the other targets made
	rm -rf $(VENV) .pytest_cache .ruff_cache board.img
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The sources are installed in place, so that a change needs no new set-up.
$(READY): pyproject.toml
	@[ "$$(uname -sm)" = "Linux x86_64" ] || \
		{ echo "the simulated board needs Linux on x86-64: its interpreter exists for that only"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -qq -y python3-venv; } || \
		{ echo "Python 3.11 or later with venv is needed (Debian: apt-get install python3-venv)"; exit 1; }
	@echo "setting up $(VENV) …"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
