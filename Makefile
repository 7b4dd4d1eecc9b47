# pbxhub: everything a newcomer, a developer and CI do. Every target sets up what it needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SHELL := /bin/bash
# kept even where the environment says otherwise: every process of a test would compile the hub, every pytest its tests
export PYTHONDONTWRITEBYTECODE :=

.PHONY: design help install run test hub-tests outside-tests check lint format fast pythons docs bench bench-check chaos hosts pbx constraints migration packages clean

help: ## what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

install: $(READY) ## the hub and its tools, in .venv

run: $(READY) ## start the hub with a demo project: no Asterisk needed
	@$(BIN)/pbxhub run --demo

# real processes, browsers and phones on a busy machine: what failed is tried once more, by itself
define part
TIMEFORMAT='== $(2): %0lR (CPU %0U + %0S s)'; time { $(1) $(3) -m "$(2)" $(PYTEST) || $(1) -m "$(2)" --lf $(PYTEST); }
endef
# parts run at the same time: each remembers for itself what failed
HUB_TESTS = nice -n 2 $(BIN)/pytest -q -o cache_dir=.cache/hub-tests
OUTSIDE_TESTS = $(BIN)/pytest -q -o cache_dir=.cache/outside-tests

test: $(READY) packages ## everything: real PostgreSQL, real Asterisk 22 and 16, real browser
	@$(BIN)/python -m pbxhub.testing.pbx.asterisk_install
	@$(MAKE) --no-print-directory -k -j2 hub-tests outside-tests

# three side by side on two cores: each waits for others a third of its time
hub-tests:
	@$(call part,$(HUB_TESTS),not asterisk and not browser,-n 3 --dist worksteal)

# phones, browsers and calls under load wait most of their time, for a clock of the outside world. They run beside the
# other tests, which leave the cores to them whenever they want one, and are shown when they are done
outside-tests:
	@mkdir -p .cache; ( failed=0; \
		$(call part,$(OUTSIDE_TESTS),asterisk and load,) || failed=1; \
		$(call part,$(OUTSIDE_TESTS),browser,) || failed=1; \
		$(call part,$(OUTSIDE_TESTS),asterisk and not load,-n 3 --dist worksteal) || failed=1; \
		exit $$failed ) > .cache/outside-tests.log 2>&1; failed=$$?; cat .cache/outside-tests.log; exit $$failed

check: lint fast ## ruff, mypy, import-linter, the formatters and the fast tests, in under a minute

lint: $(READY)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports --no-logo
	@$(BIN)/djlint --check --quiet templates && $(BIN)/deno fmt --check --quiet

format: $(READY) ## lay out Python, templates, CSS and JavaScript as `make lint` wants them
	@$(BIN)/ruff format . && $(BIN)/deno fmt --quiet && { $(BIN)/djlint --reformat --quiet templates || true; }

fast: $(READY)
	@$(BIN)/pytest -q -n 2 --dist worksteal -m "not slow and not asterisk and not browser" \
		--ignore tests/asterisk --ignore tests/browser $(PYTEST)

pythons: $(READY) packages ## the fast tests on the oldest and newest Python, from Debian's packages; needs root
	@$(BIN)/python -m tests.support.other_pythons

docs: $(READY) ## the documentation as a site, in .cache/site; a broken link is an error
	@$(BIN)/sphinx-build -q -W --keep-going -n -c docs . .cache/site && echo "file://$(CURDIR)/.cache/site/docs/index.html"

bench: $(READY) packages ## speed and memory, beside something to compare with in the same run
	@for bench in bench/*.py bench/scale; do echo "== $$bench"; $(BIN)/python $$bench || exit 1; done

bench-check: $(READY) packages ## fails when a delivery costs 20 % more CPU than bench/line.json says, beside a plain script
	@$(BIN)/python bench/line.py --databases sqlite+postgresql --pbxs 1,10 --rates 40,400 --limit 0 --check bench/line.json

hosts: $(READY) ## four hosts in network namespaces, their power and cables cut; needs root: make hosts HOSTS="failovers --seed 1"
	@tests/packages.sh hosts
	@$(BIN)/python bench/hosts $(HOSTS)

chaos: $(READY) ## tracker and outbox while everything fails, by a seed: make chaos SEED=7 STEPS=1000000
	@$(BIN)/python -m tests.support.simulation $(if $(SEED),--seed $(SEED)) $(if $(STEPS),--steps $(STEPS))

pbx: $(READY) packages ## a real Asterisk with asterisk-conf/ on loopback, for trying by hand
	@$(BIN)/python -m pbxhub.testing.pbx.asterisk_by_hand

migration: $(READY) ## draft a migration: make migration NAME="what changes"
	@$(BIN)/pbxhub migrate --draft "$(NAME)"

design: $(READY) ## a development server with a lived-in project; the page /design shows what pages are made of
	@$(BIN)/python -m tests.support.design

packages: ## the Debian packages that tests use; installed when that is allowed, named otherwise
	@tests/packages.sh

constraints: ## renew the exact versions in constraints.txt
	@rm -rf .cache/constraints && $(PYTHON) -m venv .cache/constraints && .cache/constraints/bin/pip install -q -e '.[dev]'
	@{ sed -n '/^#/p' constraints.txt; .cache/constraints/bin/pip freeze --exclude-editable; } > .cache/constraints.txt
	@mv .cache/constraints.txt constraints.txt

clean: ## remove what the other targets made here
	@rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "pbxhub needs Python 3.11 or newer"; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) || { echo "no venv: apt-get install python3-venv"; exit 1; }
	@echo "installing into $(VENV) …" && $(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(READY)
