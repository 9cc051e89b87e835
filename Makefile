# Everything a developer needs; `make help` lists it. Nothing has to be installed by hand but Python 3.11, Go and make.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
CLUSTER := $(PY) hack/cluster
PYTEST := $(PY) -m pytest
SOURCES := operator/src hack tests benchmarks
DEMO ?= quickstart

.PHONY: help demo demo-down test test-long lint fmt type unit golden property feature integration e2e generate verify lock \
        local-cluster-up local-cluster-down images

help: ## Show the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sort | sed -E 's/:.*## /\t/' | expand -t 22

$(VENV)/.ready: requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'Python 3.11 or newer is needed: set PYTHON=...' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { echo 'Python cannot make virtual environments: install python3-venv' >&2; exit 1; }
	@echo 'Setting up $(VENV) ...'
	@$(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --quiet --require-hashes -r requirements/dev.txt
	@$(PY) -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

venv: $(VENV)/.ready ## Set up the virtual environment

demo: $(VENV)/.ready ## Cluster, chart, quickstart, real requests: see who gets in; DEMO=certificates: every way to a certificate
	@$(PY) hack/demo run '$(DEMO)'

demo-down: $(VENV)/.ready ## Remove what `make demo` made
	@$(PY) hack/demo down

test: $(VENV)/.ready ## Everything: checks, and all tests against the real proxy and a real cluster
	@$(PY) hack/testing

test-long: local-cluster-up images ## Nightly: ten times as many random inputs, a CA replaced in real time, 10 000 certificates, a list of 100 000
	@MTLS_TEST_DEPTH=long $(PYTEST) tests/property tests/e2e/test_rotation.py
	@PYTHONPATH=operator/src:. $(PY) benchmarks/scale.py list --issued 1000000 --revoked 100000
	@PYTHONPATH=operator/src:. $(PY) benchmarks/scale.py restart --certificates 10000
	@PYTHONPATH=. $(PY) benchmarks/fleet.py --certificates 10000

lint: $(VENV)/.ready ## Style, and the direction of imports
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/lint-imports --no-cache | tail -12

fmt: $(VENV)/.ready ## Format the code
	@$(VENV)/bin/ruff format .
	@$(VENV)/bin/ruff check --fix .

type: $(VENV)/.ready ## Types
	@$(VENV)/bin/mypy

unit: $(VENV)/.ready ## Pure tests
	@$(PYTEST) tests/unit

golden: $(VENV)/.ready ## Generated configuration against golden files; UPDATE=1 rewrites them
	@$(PYTEST) tests/golden $(if $(UPDATE),--update-golden)

property: $(VENV)/.ready ## Property-based tests
	@$(PYTEST) tests/property

feature: $(VENV)/.ready ## The whole operator in process, against an API server in memory
	@$(PYTEST) tests/feature

integration: $(VENV)/.ready ## The real Envoy and real streams, without a cluster
	@$(PYTEST) tests/integration -m 'not cluster'

e2e: local-cluster-up images ## The chart on a real cluster, real pods, real requests
	@$(PYTEST) tests/e2e tests/integration -m cluster

generate: $(VENV)/.ready ## Write the generated files
	@$(PY) hack/manifests/render.py

verify: $(VENV)/.ready ## Check that the generated files are up to date
	@$(PY) hack/manifests/render.py --check

lock: $(VENV)/.ready ## Lock the dependencies
	@$(PY) -m pip install --quiet uv==0.13.9
	@$(VENV)/bin/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header pyproject.toml -o requirements/runtime.txt
	@$(VENV)/bin/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header pyproject.toml --group dev -o requirements/dev.txt

local-cluster-up: $(VENV)/.ready ## Start the local cluster (kind where Docker works)
	@$(CLUSTER) up

local-cluster-down: $(VENV)/.ready ## Stop it and remove every trace
	@$(CLUSTER) down

images: $(VENV)/.ready ## Build our images and load them into the cluster
	@$(CLUSTER) images
