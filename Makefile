# `make run` trains, judges and pushes a generator; `make test` passes the tests. Each does its own
# set-up. ARGS are handed on: make run ARGS="--preset smoke". STACK=tfx-1.16 or STACK=tfx-1.21
# overrules the choice of versions that tools/setup.sh makes, PYTHON_VERSION=3.12 that of Python.
.DEFAULT_GOAL := help
PYTHON := .venv/bin/python
MNIST_GAN := .venv/bin/mnist-gan

.PHONY: help run test quick coverage run-newest test-newest test-both serve-tf native docs setup lock lint clean

help:  ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: .venv/.complete  ## the whole pipeline: data, training, judgement, push (ARGS="--preset smoke")
	@$(MNIST_GAN) run $(ARGS)

test: lint  ## style and all tests
	@$(PYTHON) -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

quick: lint  ## style and the fast tests, what most edits need
	@$(PYTHON) -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m "not e2e and not slow" $(ARGS)

coverage: override ARGS += --cov
coverage: quick  ## make quick, and how much of the code it runs: at least the threshold in pyproject.toml

run-newest:  ## make run with the newest stack in a Debian 13 root; as root
	@tools/newest.sh run ARGS="$(ARGS)"

test-newest:  ## make test with the newest stack in a Debian 13 root; as root
	@tools/newest.sh test ARGS="$(ARGS)"

test-both:  ## each stack opens and judges what the other made; as root
	@tools/both_stacks.sh

serve-tf:  ## TF Serving itself on the pushed versions, from its program or Docker (ARGS: its flags)
	@serving/serve-tf.sh $(ARGS)

native: .venv/.complete  ## the newest pushed generator as one C++ program (ARGS="--out FILE")
	@TF_CPP_MIN_LOG_LEVEL=3 $(PYTHON) -W ignore -m serving.native.build $(ARGS)

docs: .venv/.complete  ## the documentation as a site, in build/site
	@$(PYTHON) -m mkdocs build --quiet --strict $(ARGS)

lint: .venv/.complete  ## ruff, mypy and import-linter
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy
	@.venv/bin/lint-imports --no-logo --config pyproject.toml

setup: .venv/.complete  ## just the environment, in .venv
	@:

# A Python that went away (an upgrade of pyenv, say) takes its environment with it.
ifneq ($(wildcard .venv/.complete),)
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
ifneq ($(VERSION),$(or $(PYTHON_VERSION),$(VERSION),gone))
$(shell rm -rf .venv)
else ifneq ($(or $(STACK),$(shell cat .venv/.complete)),$(shell cat .venv/.complete))
$(shell rm -f .venv/.complete)
endif
endif

.venv/.complete: locks/tfx-1.16.lock locks/tfx-1.21.lock locks/uv.lock pyproject.toml setup.py tools/setup.sh
	@sh tools/setup.sh

# No --all-extras: `compare` and `and-cuda` would bring gigabytes of CUDA. The lock of tfx-1.21 serves
# two Pythons. What is locked stays as it is where it can; ARGS="--upgrade" takes the newest.
COMPILE = .venv/bin/python -m uv pip compile --quiet --generate-hashes --no-emit-index-url \
  --no-emit-find-links --no-header $(ARGS)
EXTRAS = --extra tfx --extra dev --extra docs --extra notebook

lock: .venv/.complete  ## resolve pyproject.toml into the locks of both stacks (ARGS="--upgrade")
	@echo 'uv==0.13.9' | $(COMPILE) - --python-version 3.10 -o locks/uv.lock
	@$(COMPILE) pyproject.toml $(EXTRAS) --python-version 3.10 -o locks/tfx-1.16.lock
	@$(COMPILE) pyproject.toml $(EXTRAS) --universal --python-version 3.12 -o locks/tfx-1.21.lock

clean:  ## remove the environment and the caches, keep the workspace
	@rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .coverage site
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
