# Each target sets up what it needs, in .venv, and does nothing twice.
# `make` alone lists the targets: the text behind ## in each line below.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The tests wait for boards more than they compute; the campaigns compute more.
TEST_WORKERS := $(shell echo $$(( 3 * $$(nproc) )))
CAMPAIGN_WORKERS := $(shell echo $$(( 2 * $$(nproc) )))
AXE := $(VENV)/axe/node_modules/axe-core/axe.min.js

.PHONY: help demo demo-signed demo-flash demo-pull demo-fleet demo-hawkbit test screenshots campaigns \
	test-board lint bench bench-server sim flash clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

demo: $(READY) ## Update a simulated board over the air, from garden 1.0.0 to 2.0.0
	@$(BIN)/python examples/demo.py

demo-signed: $(READY) ## The same with signed images, and what is refused
	@$(BIN)/python examples/demo_signed.py

demo-flash: $(READY) ## Flash a blank simulated board over serial, then update it over the air
	@$(BIN)/python examples/demo_flash.py

demo-pull: $(READY) ## A simulated board asks a server by itself; a bad release, a power cut
	@$(BIN)/python examples/demo_pull.py

demo-fleet: $(READY) ## Roll out a good and a broken release to ten simulated boards, by a server
	@$(BIN)/python examples/demo_fleet.py $(ARGS)

demo-hawkbit: $(READY) ## Three simulated boards ask hawkBit's interface: a good and a bad release
	@$(BIN)/python examples/demo_hawkbit.py

test: $(READY) $(AXE) ## Run every test; campaigns are sampled
	@$(BIN)/pytest -n $(TEST_WORKERS)

screenshots: $(READY) ## Make the pictures of the pages in docs/images anew
	@PYTHONPATH=tests:tests/host:tests/system $(BIN)/python tests/browser/screenshots.py docs/images
	@$(BIN)/python examples/demo_fleet.py --pictures docs/images

campaigns: $(READY) ## Run the campaigns whole: power cuts, torn operations, seeded bugs
	@$(BIN)/pytest -n $(CAMPAIGN_WORKERS) --campaigns -m campaign

test-board: $(READY) ## Test updates of a real board: PORT=/dev/ttyUSB0 [HOST=ADDRESS]; its flash is overwritten
	@[ -n "$(PORT)" ] && [ -n "$$MPOTA_WIFI_SSID" ] || { \
		echo "make test-board PORT=/dev/ttyUSB0 [HOST=the board's address] needs an ESP8266 with 2 MiB of"; \
		echo "flash or more on PORT, whose flash is OVERWRITTEN; the Wi-Fi network that this computer is in,"; \
		echo "in MPOTA_WIFI_SSID and MPOTA_WIFI_KEY; and MicroPython's firmware, which is downloaded, or"; \
		echo "MPOTA_TEST_FIRMWARE=FILE"; exit 1; }
	@MPOTA_TEST_PORT=$(PORT) MPOTA_TEST_HOST=$(HOST) $(BIN)/pytest -n0 -v tests/board

lint: $(READY) ## Check style, types, and the subset of Python that the board has
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python tests/device_subset.py

bench: $(READY) ## Measure speed, memory and flash writes
	@$(BIN)/python bench/bench.py

bench-server: $(READY) ## Measure mpota serve beside nginx, and with 100,000 boards
	@for tool in wrk nginx; do command -v $$tool >/dev/null || \
		{ [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -qq -y $$tool; } || \
		{ echo "the benchmark needs wrk and nginx (Debian: apt-get install wrk nginx)"; exit 1; }; done
	@PYTHONPATH=tests:tests/server $(BIN)/python bench/bench_server.py

sim: $(READY) ## Run a simulated board with the example application; board.img keeps its flash
	@if [ -f board.img ]; then $(BIN)/mpota sim; else $(BIN)/mpota sim --app examples/garden/1.0.0; fi

flash: $(READY) ## Set up a real board: PORT=/dev/ttyUSB0 [APP=DIR] [ARGS="more options of mpota flash"]
	@$(BIN)/mpota flash $(if $(PORT),--port $(PORT)) $(if $(APP),--app $(APP)) $(ARGS)

clean: ## Remove what the other targets made
	rm -rf $(VENV) .pytest_cache .ruff_cache board.img
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What judges whether people with a screen reader can use the update page. Not part of this project.
$(AXE): $(READY)
	@tests/tools.sh
	@npm install --silent --no-audit --no-fund --prefix $(VENV)/axe axe-core@4

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
