# Everything here does its own set-up: a virtual environment in .venv, made once and again when pyproject.toml or
# constraints.txt change.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
STAMP  := $(shell date -u +%Y%m%dT%H%M%SZ)
DEMO   := demo/$(STAMP)

.DEFAULT_GOAL := help
.PHONY: help setup demo test check fix bench bench-audit bench-ablation bench-distillation bench-dpsgd bench-rationales bench-recipes bench-ledger clean

help:
	@echo "make demo    a private synthetic corpus from film reviews: generated, audited, released, verified"
	@echo "make test    the tests"
	@echo "make check   formatting, lint, types, import rules"
	@echo "make bench   quality against real data (long)"
	@echo "make bench-recipes  every recipe, epsilon and corpus beside each other (long; goes on where it stopped)"
	@echo "make bench-ablation  what each part of the default recipe is worth (long; goes on where it stopped)"
	@echo "make bench-ledger  the ledger under a crowd and under kill -9"
	@echo "make bench-dpsgd  held-out likelihood under DP-SGD, the rule beside a sweep, a shortlist, cost of a step (long)"
	@echo "make bench-distillation  soft labels and several teachers, against using neither (goes on where it stopped)"
	@echo "make bench-rationales  students with and without rationales, on word problems made by code"
	@echo "make bench-audit  what the examiner finds, and how often it cries wolf (long; goes on where it stopped)"
	@echo "make fix     let ruff format and mend what it can"

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "privdistill needs Python 3.11 or newer; say which: make PYTHON=python3.12 ..."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(READY)

setup: $(READY)

# The demo keeps a ledger of its own, because its corpus is public. A real source keeps one ledger for all its runs.
demo: $(READY)
	@mkdir -p $(DEMO)
	$(BIN)/privdistill doctor --fetch
	@start=$$(date +%s); set -e; \
	$(BIN)/privdistill run demo --epsilon 8 --rows 1000 --label-column category --labels fresh,rotten --size 12000 \
		--describe "short movie reviews" --ledger $(DEMO)/ledger.sqlite3 --run $(DEMO)/run --policy internal \
		--out $(DEMO)/bundle; \
	$(BIN)/privdistill verify $(DEMO)/bundle; \
	echo; \
	echo "made in $$(( $$(date +%s) - start )) seconds. Look at:"; \
	echo "  $(DEMO)/bundle/README.md    what a receiver reads first"; \
	echo "  $(DEMO)/bundle/PRIVACY.md   what is promised, to whom, and what is not"; \
	echo "  $(DEMO)/bundle/data/        the synthetic reviews"; \
	echo "  $(BIN)/privdistill report $(DEMO)/run    what the examiner found (internal)"

# Two workers of one thread each: two programs of several threads slow each other down many times over.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)
	$(BIN)/python -m benchmarks $(ARGS)

bench-recipes: $(READY)
	$(BIN)/python -m benchmarks.recipes $(ARGS)

bench-ablation: $(READY)
	$(BIN)/python -m benchmarks.ablation $(ARGS)

bench-dpsgd: $(READY)
	$(BIN)/python -m benchmarks.dpsgd_cost
	$(BIN)/python -m benchmarks.dpsgd_cost --memory
	$(BIN)/python -m benchmarks.dpsgd_cost --whole
	$(BIN)/python -m benchmarks.rounded
	$(BIN)/python -m benchmarks.dpsgd_shortlist
	$(BIN)/python -m benchmarks.dpsgd_sweep
	$(BIN)/python -m benchmarks.recipes --recipes distribution finetune --epsilons 8 4 1 --corpora reviews questions --minutes 600 $(ARGS)

bench-distillation: $(READY)
	$(BIN)/python -m benchmarks.distillation $(ARGS)

bench-rationales: $(READY)
	$(BIN)/python -m benchmarks.rationales $(ARGS)

bench-audit: $(READY)
	$(BIN)/python -m benchmarks.audit $(ARGS)

bench-ledger: $(READY)
	$(BIN)/python -m benchmarks.ledger $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
