# `make run` and `make test` do everything on a fresh machine: environment first, then the job.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PEERS := .venv-peers
PEERS_INSTALLED := $(PEERS)/.installed

.PHONY: run colour fair functions images language data-given nisq parameters sequences speed peers install test test-slow lint format clean selectors

run: install  ## the quickstart: train, compare, carry to every engine
	$(BIN)/python -m benchmarks quickstart

colour: install  ## make the pictures of one camera those of another
	$(BIN)/python -m benchmarks colour

fair: install  ## all families on functions, tables and digits; hours. DATA is a folder with hea_hardness.csv
	$(BIN)/python -m benchmarks fair $(if $(DATA),--data-dir $(DATA))

functions: install  ## fit known functions by L-BFGS
	$(BIN)/python -m benchmarks functions

language: data-given install  ## transformers of characters; DATA is a folder with tinyshakespeare.txt
	$(BIN)/python -m benchmarks language --data-dir $(DATA)

data-given:
	$(if $(DATA),,$(error There is no text to learn: make language DATA=<folder with tinyshakespeare.txt>))

images: install  ## classify digits by one body and many heads
	$(BIN)/python -m benchmarks images

parameters: install  ## count the parameters of every model
	$(BIN)/python -m benchmarks parameters

selectors: install  ## select features by networks and by what is usually taken; twenty minutes
	$(BIN)/python -m benchmarks selectors

sequences: install  ## forecast series with recurrent networks of matched size; an hour
	$(BIN)/python -m benchmarks sequences

nisq: install  ## train for noise, and carry models to the noise of devices
	$(BIN)/python -m benchmarks nisq

speed: install peers  ## time layers and state vectors beside their peers; hours
	$(BIN)/python -m benchmarks speed --peers

peers: $(PEERS_INSTALLED)  ## other people's packages, in an environment of their own

$(PEERS_INSTALLED): benchmarks/peers/requirements.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet -r benchmarks/peers/requirements.txt
	@touch $@

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "daruan needs Python 3.11 or newer, but $(PYTHON) is %d.%d: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[all]'
	@touch $@

test: install  ## the whole suite but what is marked slow
	$(BIN)/python -m pytest

test-slow: install  ## what is marked slow
	$(BIN)/python -m pytest -m slow

lint: install  ## formatting, lint rules, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) $(PEERS) build *.egg-info .pytest_cache .ruff_cache .hypothesis
