# Everything a person or CI does with this checkout. Needs Python 3.11 or later and make.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test slow check lint tables peers bench scale screenshots docs clean

# Train on real photographs, evaluate on held-out ones, classify one of them.
demo: $(VENV)/installed
	$(PIP) --no-deps elpv-dataset
	$(BIN)/python tools/demo.py

# Two processes of one thread each beat one of two: most tests are small.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

# The test suite: about five minutes on two cores.
test: $(VENV)/tested
	$(PYTEST)

# What takes longer than the suite may.
slow: $(VENV)/tested
	$(PYTEST) -m slow

# What has to hold before a change lands.
check: lint test

lint: $(VENV)/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# docs/family.md, written from the nets and the catalogue of weights.
tables: $(VENV)/installed
	$(BIN)/python tools/family.py

# docs/peers.md, as the tests beside the peers' own classes find it: minutes.
peers: $(VENV)/tested
	$(PYTEST) -m "slow or not slow" tests/test_peers.py --junitxml=build/peers.xml
	$(BIN)/python tools/peers.py build/peers.xml

# docs/performance.md, as measured here beside torchvision and timm: half an hour on two quiet cores.
bench: $(VENV)/benched
	$(BIN)/inceptive bench --out build/bench.json
	$(BIN)/python tools/performance.py build/bench.json

# The part "On paper" of docs/scale.md: what an image costs here, and a simulation of larger machines.
scale: $(VENV)/benched
	$(PIP) -e '.[bench,scale]'
	$(BIN)/python tools/scale.py

# docs/page/*.jpg: the page and the report of models trained for it, in Debian's Chromium.
screenshots: $(VENV)/tested
	$(BIN)/python tools/screenshots.py

# build/site: the book, its cells executed, and the documents; a warning is an error.
docs: $(VENV)/documented
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -q -T -W --keep-going -c docs -d build/doctrees . build/site

$(VENV)/documented: $(VENV)/installed
	$(PIP) -e '.[docs]'
	touch $@

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e .
	touch $@

# Nothing depends on the peers; --no-deps keeps the CUDA build of torch away that they ask for.
$(VENV)/benched: $(VENV)/installed
	$(PIP) -e '.[bench]'
	$(PIP) --no-deps torchvision timm
	touch $@

# The peers are only oracles in the tests; --no-deps keeps a CUDA build of torch away, and old pins.
$(VENV)/tested: $(VENV)/installed
	$(PIP) -e '.[dev]'
	$(PIP) --no-deps torchvision timm pytorchcv pytorch-fid facenet-pytorch pretrainedmodels torch-lucent
	$(PIP) keras
	touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
