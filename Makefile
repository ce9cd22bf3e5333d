# Two commands do everything: `make demo` and `make test`. Each builds what it needs.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
DEMO := demo

.PHONY: demo test lint docs bench fuzz clean

demo: $(READY)
	$(BIN)/python -m pipeline demo $(DEMO)/midi --restart
	$(BIN)/python -m pipeline run $(DEMO)/midi --out $(DEMO)/shards --name demo --restart
	$(BIN)/python -m pipeline verify $(DEMO)/shards
	rm -rf $(DEMO)/runs/tiny
	$(BIN)/python -m trainer fit $(DEMO)/shards --run $(DEMO)/runs/tiny --preset tiny --steps $(STEPS)
	$(BIN)/python -m trainer generate $(DEMO)/runs/tiny -o $(DEMO)/song.mid --bars 16 --seed 1
	@echo
	@echo "corpus       $(DEMO)/midi"
	@echo "dataset      $(DEMO)/shards/demo"
	@echo "report       $(DEMO)/shards/demo/report.html"
	@echo "run          $(DEMO)/runs/tiny"
	@echo "TensorBoard  $(BIN)/tensorboard --logdir $(DEMO)/runs"
	@echo "generated    $(DEMO)/song.mid"

# Steps of training in the demo: five minutes in all on two cores. CI takes fewer.
STEPS ?= 320

test: $(READY)
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/pyright

# The documentation, as a folder of pages: open build/site/index.html.
docs: .venv/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

.venv/docs: $(READY)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[docs]'
	touch $@

# Compares with libraries from PyPI, on the real files in the folder that LAKHXL_CORPUS names.
bench: $(READY)
	@test -n "$$LAKHXL_CORPUS" || { echo "set LAKHXL_CORPUS to a folder that holds songs/"; exit 2; }
	$(BIN)/python -m pip install -q -r benchmarks/requirements-bench.txt -c constraints.txt
	$(BIN)/python -m benchmarks speed read-files "$$LAKHXL_CORPUS/songs"
	$(BIN)/python -m benchmarks correctness read-damaged
	$(BIN)/python -m benchmarks correctness hostile-files mutated --files 10000

# Input that lies, by the thousands: minutes instead of the seconds that the tests take for a few.
fuzz: $(READY)
	$(BIN)/python -m benchmarks correctness hostile-archives --cases 10000
	$(BIN)/python -m benchmarks correctness hostile-datasets --cases 10000
	$(BIN)/python -m pipeline demo build/fuzz/midi --songs 24 --restart
	$(BIN)/python -m pipeline run build/fuzz/midi --out build/fuzz/shards --name demo --restart
	$(BIN)/python -m benchmarks correctness hostile-runs build/fuzz/shards --cases 10000

# A virtual environment with tested versions; made again when what it is made from changes.
$(READY): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "lakhxl needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@

clean:
	rm -rf .venv $(DEMO) build *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
