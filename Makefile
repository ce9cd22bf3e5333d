# Two commands do everything: `make demo` and `make test`. Each builds what it needs.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
DEMO := demo

.PHONY: demo test lint docs bench fuzz clean

# Modules are compiled when they are first imported, and kept, even where the shell says not to: pip
# would compile all 13,000 files of the libraries, most of which nobody imports, in 50 s.
export PYTHONDONTWRITEBYTECODE :=

# The folder may have any name: the shell reads it from the environment.
demo: export DEMO := $(DEMO)
demo: $(READY)
	$(BIN)/python -m pipeline demo "$$DEMO/midi" --restart
	$(BIN)/python -m pipeline run "$$DEMO/midi" --out "$$DEMO/shards" --name demo --test $(TEST) --restart
	$(BIN)/python -m pipeline verify "$$DEMO/shards"
	rm -rf "$$DEMO/runs/micro"
	$(BIN)/python -m trainer fit "$$DEMO/shards" --run "$$DEMO/runs/micro" --preset micro --steps $(STEPS) --set evaluate_whole_at_end=false
	$(BIN)/python -m trainer generate "$$DEMO/runs/micro" -o "$$DEMO/song.mid" -o "$$DEMO/song.png" $(SONG) --overwrite
	@echo
	@echo "What to do next; each line can be pasted here:"
	@echo
	@echo "Hear the song: open $$DEMO/song.mid in a MIDI player (VLC, MuseScore, GarageBand), or write sound. This needs"
	@echo "FluidSynth and a soundfont: apt install libfluidsynth3 timgm6mb-soundfont"
	@echo "    $(BIN)/trainer generate \"$$DEMO/runs/micro\" -o \"$$DEMO/song.wav\" --bars 16 --seed 2"
	@echo "Look at it: $$DEMO/song.png"
	@echo "Write more on a page, and hear it while it is written:"
	@echo "    $(BIN)/trainer play \"$$DEMO/runs/micro\""
	@echo "Read what was kept, what was rejected, and why; with charts in $$DEMO/shards/demo/report.html"
	@echo "    $(BIN)/pipeline report \"$$DEMO/shards\""
	@echo "Search the dataset, see its songs and hear them:"
	@echo "    $(BIN)/pipeline browse \"$$DEMO/shards\""
	@echo "Train on, and watch it:"
	@echo "    $(BIN)/trainer fit \"$$DEMO/shards\" --run \"$$DEMO/runs/micro\" --resume --steps $$((2 * $(STEPS)))"
	@echo "    $(BIN)/tensorboard --logdir \"$$DEMO/runs\""
	@echo "Measure the model on the songs it has not seen:"
	@echo "    $(BIN)/trainer evaluate \"$$DEMO/runs/micro\""

# Steps of training in the demo: five minutes in all on two cores. CI takes fewer.
STEPS ?= 750
# A model of three minutes' training needs to be told who plays, and to keep to likely tokens.
SONG := --bars 16 --seed 5 --top-p 0.8 --ending --tempo 110 --meter 4/4 --key Am \
	--instruments piano,strings,bass,drums
# Share of the test split: 27 songs, enough for confidence intervals.
TEST ?= 0.1

# One process per core, up to eight: each imports torch and makes its own datasets. One that has
# nothing left to do takes tests from the end of another's.
test: $(READY)
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/pyright

# The documentation, as a folder of pages: open build/site/index.html.
docs: .venv/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

.venv/docs: $(READY)
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-compile -c constraints.txt -e '.[docs]'
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
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-compile -c constraints.txt -e '.[test]'
	touch $@

clean: export DEMO := $(DEMO)
clean:
	rm -rf .venv "$$DEMO" build *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
