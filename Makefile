# Everything a person or CI does with this checkout. Needs Python 3.11 or later and make.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-all test-rest slow check lint tables peers reliability costs fuzz mutations audit sbom bench scale screenshots docs clean

# Train on real photographs, evaluate on held-out ones, classify one of them.
demo: $(VENV)/installed
	$(PIP) --no-deps elpv-dataset
	$(BIN)/python tools/demo.py

# Bytecode is kept, whatever the machine's habit: hundreds of processes import the same modules.
export PYTHONDONTWRITEBYTECODE :=

# Memory as the command has it (inceptive/__main__.py).
KEPT := GLIBC_TUNABLES=$${GLIBC_TUNABLES-glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=1000000000000}

# Two processes of one thread each beat one of two: most tests are small.
PYTEST := $(KEPT) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

# What a test needs beyond this process, a core and seconds (pyproject.toml says what each means).
NEEDS := faults or scale or peers or browser or training or nets

# The quick tier: every room, every net, every command once; at most four minutes on two cores.
test: $(VENV)/tested
	$(PYTEST) -m "not ($(NEEDS) or slow)"

# All that CI runs: the quick tier, then the rest.
test-all: test test-rest

test-rest: $(VENV)/tested
	$(PYTEST) -m "($(NEEDS)) and not slow"

# What takes longer than either may.
slow: $(VENV)/tested
	$(PYTEST) -m slow

# What has to hold before a change lands.
check: lint test-all

lint: $(VENV)/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# docs/family.md, written from the nets and the catalogue of weights.
tables: $(VENV)/installed
	$(BIN)/python tools/family.py

# docs/peers.md, as the tests beside the peers' own classes find it: minutes.
peers: $(VENV)/tested
	$(PYTEST) -m "slow or not slow" tests/weights/test_peers.py --junitxml=build/peers.xml
	$(BIN)/python tools/peers.py build/peers.xml

# The tests that record what inceptive survives.
RELIABILITY := $(patsubst %,tests/%.py,training/test_resume training/test_together faults/test_whole_files \
	faults/test_hostile faults/test_no_network data/test_shards data/test_remote scale/test_score \
	data/test_split data/test_depth data/test_folder images/test_deep images/test_colour images/test_images \
	weights/test_checkpoints evaluation/test_evaluate engines/test_novelty faults/test_systems training/test_train \
	cli/test_paths images/test_limit serving/test_serve)

# docs/reliability.md, as the tests that kill, fill disks and hand in rubbish find it: half an hour.
reliability: $(VENV)/tested
	$(PYTEST) -m "slow or not slow" $(RELIABILITY) --junitxml=build/reliability.xml
	$(BIN)/python -m tools.reliability build/reliability.xml $(wildcard build/*_cost.json)

# What several processes and Ray cost beside one, for docs/reliability.md: 15 minutes on two quiet cores.
costs: $(VENV)/tested $(VENV)/benched
	mkdir -p build
	$(BIN)/python -m tools.scoring_cost --images 2000 --rounds 3 --out build/scoring_cost.json
	$(BIN)/python tools/training_cost.py --out build/training_cost.json

# Each reader on bytes that reach ever more of its code, FUZZ_SECONDS each.
FUZZ_SECONDS ?= 120
fuzz: $(VENV)/tested
	$(PIP) --no-deps atheris
	for target in decoder weights model checkpoint recipe pickle; do \
	  OMP_NUM_THREADS=1 nice $(BIN)/python tools/fuzz.py $$target $(FUZZ_SECONDS) || exit 1; done

# Photographs of PHOTOS written anew and damaged, each read here and by libvips: a quarter of an hour.
# Needs Debian's libvips42, libjpeg-turbo-progs and libtiff-tools.
MUTATIONS ?= 10000
mutations: $(VENV)/tested
	$(PIP) pyvips
	OMP_NUM_THREADS=1 nice $(BIN)/python tools/mutations.py $(PHOTOS) $(MUTATIONS)

# What is known against the pinned packages; asks over the network, and says if nobody answers.
audit: $(VENV)/audit/ready
	$(BIN)/python tools/audit.py $(VENV)/audit/bin/pip-audit

# build/sbom.cdx.json: what stands beside inceptive in $(VENV), as CycloneDX; for each release.
sbom: $(VENV)/installed $(VENV)/audit/ready
	mkdir -p build
	$(VENV)/audit/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
	  -o build/sbom.cdx.json $(BIN)/python

# In an environment of their own, so that they are not among what they look at.
$(VENV)/audit/ready: constraints.txt
	$(PYTHON) -m venv $(VENV)/audit
	$(VENV)/audit/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
	  pip-audit cyclonedx-bom
	touch $@

# docs/performance.md, as measured here and on other machines (docs/measured) beside torchvision and timm:
# about an hour on two quiet cores.
bench: $(VENV)/benched
	$(BIN)/python -m benchmarks --out build/bench.json
	$(BIN)/python -m tools.performance build/bench.json

# The part "On paper" of docs/scale.md: what an image costs here, and a simulation of larger machines.
scale: $(VENV)/benched
	$(PIP) -e '.[bench,scale]'
	$(BIN)/python -m tools.scale

# docs/page/*.jpg: the page and the report of models trained for it, in Debian's Chromium.
screenshots: $(VENV)/tested
	$(BIN)/python tools/screenshots.py

# build/site: the book, its cells executed, and the documents; a warning is an error.
docs: $(VENV)/documented
	$(KEPT) $(BIN)/python -m sphinx -q -T -W --keep-going -c docs -d build/doctrees . build/site

$(VENV)/documented: $(VENV)/installed
	$(PIP) -e '.[docs]'
	$(PIP) --no-deps torchvision
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
	$(PIP) --no-deps torchvision timm pytorchcv pytorch-fid torch-fidelity clean-fid prdc \
	  facenet-pytorch pretrainedmodels torch-lucent
	$(PIP) keras
	touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
