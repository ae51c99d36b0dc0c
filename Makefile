# `make run` trains, judges and pushes a generator; `make test` passes the tests. Each does its own
# set-up. ARGS are handed on: make run ARGS="--preset smoke".
.DEFAULT_GOAL := help
PYTHON := .venv/bin/python
MNIST_GAN := .venv/bin/mnist-gan

# The four original MNIST files, where a folder of them is at hand: no network is touched then.
FOLDERS := $(foreach d,data/mnist ../shared/data/mnist,$(if $(wildcard $(d)/train-images-idx3-ubyte.gz),$(d)))
export MNIST_GAN_DATA_DIR ?= $(if $(FOLDERS),$(CURDIR)/$(firstword $(FOLDERS)))

.PHONY: help run test setup lock lint clean

help:  ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: .venv/.complete  ## the whole pipeline: data, training, judgement, push (ARGS="--preset smoke")
	@$(MNIST_GAN) run $(ARGS)

test: .venv/.complete lint  ## style and all tests (ARGS="-m 'not e2e'" for the quick ones)
	@$(PYTHON) -m pytest $(ARGS)

lint: .venv/.complete
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .

setup: .venv/.complete  ## just the environment, in .venv

# A Python that went away (an upgrade of pyenv, say) takes its environment with it.
ifneq ($(wildcard .venv/.complete),)
ifneq ($(shell $(PYTHON) -c 'print(1)' 2>/dev/null),1)
$(shell rm -rf .venv)
endif
endif

.venv/.complete: requirements.lock requirements-uv.lock setup.py tools/setup.sh
	@sh tools/setup.sh

lock: .venv/.complete  ## resolve setup.py anew into requirements.lock
	@cd tools && echo 'uv==0.13.9' | ../$(PYTHON) -m uv pip compile - --quiet --generate-hashes \
	  --no-emit-index-url --no-header --python-version 3.10 -o ../requirements-uv.lock
	@$(PYTHON) -m uv pip compile setup.py --all-extras --quiet --generate-hashes \
	  --upgrade --no-emit-index-url --no-header --python-version 3.10 -o requirements.lock

clean:  ## remove the environment and the caches, keep the workspace
	@rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
