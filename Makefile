# Every target sets up what it needs. `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PORT ?= 5000
ARGS ?=

.DEFAULT_GOAL := help
SCALE ?= cpu
SEEDS ?= 0
BUDGETS ?=
GIVEN_BUDGETS = $(if $(BUDGETS),--budgets $(BUDGETS))
TAKEN := $(if $(filter-out 0,$(RECORDED)),--recorded)
SPREAD := -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: help setup demo reproduce report docs record train ui server test test-slow test-faults test-engines \
	check format golden bench clean

help: ## list the targets
	@grep -hE '^[a-z][a-z_%-]*:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(READY) ## make the virtual environment and install everything into it

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; choose one with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (torch is large: some minutes on a slow connection)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[dev]'
	@touch $(READY)

demo: $(READY) ## train the baseline and focus at equal compute, and compare them (3 minutes)
	@$(BIN)/python -m experiments.demo.run

reproduce: $(READY) ## the blog's grid and its report (SCALE=smoke|cpu|gpu SEEDS=0,1,2 BUDGETS=short,long RECORDED=1); resumes
	@$(BIN)/python -m experiments.reproduce --scale $(SCALE) --seeds $(SEEDS) $(GIVEN_BUDGETS) $(TAKEN) $(ARGS)

reproduce-%: $(READY) ## one section: reproduce-two_defects, reproduce-efficiency ... (experiments/)
	@$(BIN)/python -m experiments.reproduce $* --scale $(SCALE) --seeds $(SEEDS) $(GIVEN_BUDGETS) $(TAKEN) $(ARGS)

report: $(READY) ## the report on the runs in MLflow, without training (SCALE=cpu; RECORDED=1: and on those recorded)
	@$(BIN)/sbp report --scale $(SCALE) $(TAKEN) $(ARGS)

docs: $(READY) ## the tables in docs/ and README from the code and the recorded results
	@$(BIN)/python -m experiments.readme

record: $(READY) ## add the runs in MLflow to experiments/*/*.csv, and make the tables of docs/results.md from those
	@$(BIN)/sbp report --scale $(SCALE) --record
	@$(BIN)/python -m experiments.readme

train: $(READY) ## one run; overrides in ARGS, for example ARGS="beta=b2 seed=1"
	@$(BIN)/python -m sbp.train $(ARGS)

ui: $(READY) ## the MLflow UI on the recorded runs, on this machine only (PORT=5000)
	@$(BIN)/sbp ui --port $(PORT)

server: $(READY) ## MLflow on PostgreSQL for many jobs at once, on this machine only, until Ctrl-C (PORT=5000)
	@$(BIN)/python -m experiments.server.run --port $(PORT) $(ARGS)

test: $(READY) ## the tests, in two processes (5 minutes)
	@$(BIN)/python -m pytest $(SPREAD) $(ARGS)

test-slow: $(READY) ## the tests that take long: the whole grid, killed and resumed; plugins; the wheel (14 minutes)
	@$(BIN)/python -m pytest $(SPREAD) -m "slow and not faults" $(ARGS)

test-faults: $(READY) ## hurt real runs in every way we know and count what survives (20 minutes)
	@$(BIN)/python -m pytest -m "faults or not faults" tests/faults $(ARGS)

test-engines: $(READY) ## sweeps on Ray and on SLURM, those of the two that are installed (10 minutes)
	@$(BIN)/python -m pytest -m engines tests/engines $(ARGS)

check: $(READY) ## lint, formatting, types, and which way imports run
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache --no-logo

format: $(READY) ## format the code
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format .

golden: $(READY) ## record the golden values anew, after raising RESULTS_VERSION (tests/run/golden.py)
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.run.golden

bench: $(READY) ## measure what the project promises: loop overhead, epoch times, scoring, score book, memory
	@$(BIN)/python -m experiments.bench.run $(ARGS)

clean: ## remove the virtual environment; outputs/ stays
	rm -rf $(VENV)
