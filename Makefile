# A thin front to tox, which is set up in .venv first.  Needs Python 3.11 or
# newer and nothing else; PYTHON=... chooses another one.

VENV := .venv
TOX := $(VENV)/bin/tox run -q
CHECKS := pep8 cover lowest docs releasenotes functional functional-2025.1

.PHONY: help demo test unit functional lint docs clean

help:
	@echo 'make demo        a cloud with GPUs on this machine, and what to type'
	@echo 'make test        every check and every test'
	@echo 'make unit        the unit tests'
	@echo 'make functional  real commands against a sandbox'
	@echo 'make lint        style and types'
	@echo 'make docs        the documentation, in doc/build/html'
	@echo 'make clean       remove what these have made here'

# Made last, so that a set-up cut short is begun again.
$(VENV)/complete:
	@PYTHON='$(PYTHON)' tools/bootstrap.sh $(VENV)
	@touch $@

demo: $(VENV)/complete
	@$(TOX) -e demo

test: $(VENV)/complete
	@$(VENV)/bin/python tools/run_tests.py $(CHECKS)

unit functional docs: $(VENV)/complete
	@$(TOX) -e $@

lint: $(VENV)/complete
	@$(TOX) -e pep8

clean:
	rm -rf $(VENV) .tox .stestr .coverage .coverage.* .hypothesis \
	    .mypy_cache .ruff_cache build cover dist doc/build \
	    releasenotes/build *.egg-info
