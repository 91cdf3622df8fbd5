# make demo: compare nine methods on four real tasks.  make test: what CI runs.  Both set themselves up.
PYTHON ?= python3
BIN := .venv/bin
METHODS = cpt_text,e5_instruct,echo,llm2vec,prompteol,repllama,sentence_encoder,sgpt,udever

.PHONY: help demo next test bench interop clean

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

demo: .venv/installed  ## fetch the demo model and data, run nine methods, print and write the tables
	$(BIN)/dec2vec evaluate -m method=$(METHODS) tasks=demo runs=runs/demo
	$(BIN)/dec2vec report runs/demo
	@$(MAKE) --no-print-directory --silent next

next:  # what demo ends with; tests read it
	@echo
	@echo 'What to try next: your own texts; the larger draws of the same tasks (half a million tokens);'
	@echo 'an adapter trained and scored, before and after, which evaluate then takes as adapter=DIR:'
	@echo
	@echo '  $(BIN)/dec2vec try "how do I boil an egg" "eggs, six minutes" "a history of Rome"'
	@echo "  $(BIN)/dec2vec evaluate -m method=$(METHODS) tasks=demo_full runs=runs/demo_full"
	@echo "  $(BIN)/dec2vec train recipe=sgpt_nli_demo 'evaluate.names=[DemoReutersSmall,DemoLeeSmall]'"

test: .venv/installed  ## ruff, pyright and pytest
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/pytest

bench: .venv/installed  ## what the engine gains, measured; about half an hour on one thread
	$(BIN)/python tests/benchmarks/bench.py --out tests/benchmarks/RESULTS.md

interop: .venv/installed  ## load exported folders in other programs, each in an environment of its own
	$(BIN)/python -m tests.interop

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "dec2vec needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,faiss,joblib]'
	touch $@

clean:  ## remove the virtual environment; runs stay
	rm -rf .venv
