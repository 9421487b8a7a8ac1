# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
# A file whose hash is not in the lock file is not installed, and no package's setup code runs.
INSTALL := python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all:

.PHONY: demo test unit check docs lock others clean

# A smaller model than the published one, with Adam: it learns something within two minutes.
demo: .venv/ready
	$(BIN)/fedlm simulate shakespeare --set max_clients=200 --set rounds=40 --set eval_every=10 \
		--set "model=lstm(units=128)" --set "client_optimizer=adam(learning_rate=0.003)" \
		--out runs/demo-$$(date +%Y%m%d-%H%M%S)

# Two at a time, a file each; the tests that start many processes come last.
test: .venv/ready
	$(BIN)/pytest tests -m "not flower" -n 2 --dist loadfile
	$(BIN)/pytest tests -m flower -n 2 --dist loadgroup

unit: .venv/ready
	$(BIN)/pytest tests -m "not slow and not flower" -n 2 --dist loadfile

check: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest tests/test_layers.py
	$(BIN)/python -m tests.support.sizes

# The site, into site/: pages that follow from the code are written first; a dead link or anchor fails.
docs: .venv/ready .venv-docs/ready
	$(BIN)/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict --quiet

# The exact versions and the hashes of their files, for every platform; the fuzzer's compiler stays out of it. A version
# that is locked stays: make lock UPGRADE=--upgrade.
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate $(UPGRADE)
lock: .venv/ready
	$(COMPILE) --extra ray --extra corpora --extra keyring --extra hub --extra dev --output-file requirements.lock pyproject.toml
	$(COMPILE) --output-file docs/requirements.txt docs/requirements.in

# The systems that benchmarks/ compares with; docs/performance.md.
others:
	$(PYTHON) -m venv .venv-others
	.venv-others/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements-others.txt

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/$(INSTALL) --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation --editable .
	touch $@

.venv-docs/ready: docs/requirements.txt
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/$(INSTALL) --requirement docs/requirements.txt
	touch $@

clean:
	rm -rf .venv .venv-docs .venv-others site .mypy_cache .ruff_cache dist
