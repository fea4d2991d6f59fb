# Every developer command, and what CI runs. `make` alone lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SOURCES := coordinator participants schemas wire tests
# Folders that exist from a certain day on; a tool must not fail on the days before.
# Tests wait for servers more than they compute: two cores are busy with three.
WORKERS ?= 3
OPTIONAL_SOURCES := $(wildcard benchmarks) $(wildcard examples) $(wildcard interop)
REQUIREMENTS := requirements/participant.txt requirements/coordinator.txt requirements/example.txt requirements/test.txt

.DEFAULT_GOAL := help
.PHONY: help install servers test check format demo picture compose-test fuzz interop bench bench-listing bench-deciding diagrams requirements clean

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Create .venv with everything that development needs

$(INSTALLED): pyproject.toml tools/create-venv
	@tools/create-venv "$(PYTHON)" "$(VENV)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]' --group test
	@touch $(INSTALLED)

servers: ## Make sure that the tests can start RabbitMQ, Redis and PostgreSQL
	@tools/install-servers

test: install servers ## Run all tests, on real servers; each of the WORKERS has its own
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

check: install ## Format, lint, types, import directions, the wheel, documents
	$(BIN)/ruff format --check $(SOURCES) $(OPTIONAL_SOURCES)
	$(BIN)/ruff check $(SOURCES) $(OPTIONAL_SOURCES)
	@# Every folder of tests has a conftest, and mypy wants a module's name once.
	$(BIN)/mypy --exclude '(examples/.*|interop)/conftest\.py$$' $(SOURCES) $(OPTIONAL_SOURCES)
	$(BIN)/mypy examples
	$(BIN)/mypy interop
	$(BIN)/lint-imports --config .importlinter --no-cache
	$(BIN)/python tools/diagrams --check
	$(BIN)/python tools/protocol --check
	$(BIN)/python tools/lint-table --check
	$(BIN)/python -m pytest tests/tidy

fuzz: install ## Attack the development broker with frames of every kind, for an hour (or SECONDS=60 SEED=7)
	cd tests && ../$(BIN)/python -m amqp.fuzz --seconds $(or $(SECONDS),3600) --seed $(or $(SEED),1)

interop: install servers ## Clients in other languages, on both brokers; needs Node.js and npm
	$(BIN)/python -m pytest interop

bench-listing: install servers ## Measure that a page costs the same however many sagas there are
	$(BIN)/python -m benchmarks.listing

bench-deciding: install ## Measure that a saga of 1,000 items costs as much for each item as one of 125
	$(BIN)/python -m benchmarks.deciding

diagrams: install ## Write the documents that are made from the code
	$(BIN)/python tools/diagrams
	$(BIN)/python tools/protocol
	$(BIN)/python tools/lint-table

format: install ## Format and mend what the linter can mend
	$(BIN)/ruff check --fix $(SOURCES) $(OPTIONAL_SOURCES)
	$(BIN)/ruff format $(SOURCES) $(OPTIONAL_SOURCES)

demo: install ## Run 200 orders through crashes and balance the ledgers
	$(BIN)/countermand demo

picture: install ## Write docs/pictures/demo.svg from a run of the demo
	$(BIN)/python tools/picture

compose-test: ## Run both compose files with Docker: 200 orders, a crash, balanced books
	@compose/smoke-test

bench: install servers ## Measure sagas per second beside a bare loop
	$(BIN)/python -m benchmarks.throughput

requirements: install ## Pin every dependency by hash, without naming a registry
	@tools/pin-requirements "$(BIN)/python" $(REQUIREMENTS)

clean: ## Remove what the commands above created
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find $(SOURCES) $(OPTIONAL_SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +
