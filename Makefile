# Two commands do all the set-up: `make demo` and `make test`.

SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check fast lock clean help

help:  ## say what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/.installed: requirements-dev.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13) and "Python 3.11 to 3.13 is needed: set PYTHON=")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: $(VENV)/.installed  ## a whole simulated site on real sockets, through a demand-response event
	@$(BIN)/python -c 'from simulators.nvml.build import library; library()' 2>/dev/null \
	  || $(BIN)/python -m pip install -q --disable-pip-version-check ziglang
	$(BIN)/wattshift demo

check: $(VENV)/.installed  ## format, lint, types, arrows, fast tests: the only command to know while writing
	$(BIN)/ruff format .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -m "not slow and not socket" -n 2

# One worker more than two cores: some tests wait for sockets, and for seconds that are no virtual ones.
test: $(VENV)/.installed tools  ## everything, as continuous integration runs it
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder -rs

.PHONY: tools
tools:  ## the Debian packages that tests use; installed where allowed, named where not
	@deploy/tools.sh mosquitto:mosquitto mosquitto_pub:mosquitto-clients prometheus:prometheus promtool:prometheus cc:gcc openssl:openssl systemd-analyze:systemd snmpwalk:snmp mbpoll:mbpoll

.PHONY: bench-discovery
bench-discovery: $(VENV)/.installed  ## find 2,000 simulated miners, all healthy and with dead and silent ones among them
	$(BIN)/python -m tests.bench.discovery

HIGHS ?= 0
.PHONY: bench-allocation
bench-allocation: $(VENV)/.installed  ## what an allocation costs, and how far from the best it may be; HIGHS=60: beside a solver given so long
	$(BIN)/python -m tests.bench.allocation --highs $(HIGHS)

.PHONY: bench-economics
bench-economics: $(VENV)/.installed  ## which of 10,000 machines are worth their power, and in which order they are shed
	$(BIN)/python -m tests.bench.economics

.PHONY: bench-step
bench-step: $(VENV)/.installed  ## what one decision costs at 100, 1,000 and 10,000 devices
	$(BIN)/python -m tests.bench.step

.PHONY: bench-storms
bench-storms: $(VENV)/.installed  ## what a decision costs at worst: limits, dead switches, liars, heat; STORMS= some of them
	$(BIN)/python -m tests.bench.storms $(STORMS)

.PHONY: bench-settlement
bench-settlement: $(VENV)/.installed  ## what a baseline and the report of an event cost, from a journal of months
	$(BIN)/python -m tests.bench.settlement

.PHONY: bench-recording
bench-recording: $(VENV)/.installed  ## what recording a tick costs, in bytes and in CPU
	$(BIN)/python -m tests.bench.recording

.PHONY: bench-journal
bench-journal: $(VENV)/.installed  ## what sealing a second of evidence costs, in CPU and bytes, and an audit of it
	$(BIN)/python -m tests.bench.journal

.PHONY: bench-reaction
bench-reaction: $(VENV)/.installed tools  ## from an operator's publish to the first command, at 10,000 machines: fifteen minutes
	$(BIN)/python -W ignore -m tests.bench.reaction --devices 10000 --events 100

SEEDS ?= 100
FIRST ?= 0
.PHONY: soak-daemon
soak-daemon: $(VENV)/.installed  ## the whole daemon in virtual time under faults: SEEDS= how many, FIRST= from which
	$(BIN)/python -W ignore -m tests.sim.daemon.soak --first $(FIRST) --seeds $(SEEDS)

.PHONY: bench-polling
bench-polling: $(VENV)/.installed  ## CPU of one poll of a miner, against the least that it could cost
	$(BIN)/python -m tests.bench.polling

.PHONY: check-fidelity
check-fidelity: $(VENV)/.installed  ## the simulated machines before independent clients, on true ports, in a throw-away environment
	$(BIN)/python -m tests.fidelity

.PHONY: bench-gpu
bench-gpu: $(VENV)/.installed  ## what reading a GPU costs beside the bare NVML calls, and fitting a curve
	$(BIN)/python -m tests.bench.gpu

.PHONY: soak
soak: $(VENV)/.installed  ## seeds SEEDS=100 from FIRST=1 on: two virtual hours of faults each; OUT= a file to go on with
	$(BIN)/python -m tests.sim.soak --seeds $(SEEDS) --first $(FIRST) $(if $(OUT),--out $(OUT) --resume)

.PHONY: fuzz
fuzz: $(VENV)/.installed  ## a million broken messages over every topic of every dialect: ten to twenty minutes
	$(BIN)/python -m tests.bench.fuzz --count 1000000

.PHONY: bench-kill
bench-kill: $(VENV)/.installed tools  ## kill -9 in the middle of events, 1,000 times, against a real broker: about eight minutes
	$(BIN)/python -m tests.bench.kill --kills 1000

.PHONY: bench-capstep bench-regulation bench-regulation-site
bench-capstep: $(VENV)/.installed  ## half of 10,000 machines off at once: seconds until the site is below the cap
	$(BIN)/python -m tests.bench.capstep

bench-regulation: $(VENV)/.installed  ## following a regulation signal, with and without GPUs: the score; SIGNAL= a csv
	$(BIN)/python -m tests.bench.regulation $(SIGNAL)

bench-regulation-site: $(VENV)/.installed  ## the same by the whole daemon and its drivers on a container: about ten minutes
	$(BIN)/python -m tests.bench.regulation_site $(SIGNAL)

RESOLVE := $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 \
  --generate-hashes --no-annotate --no-header -q
# All at once first: what runs is locked in the versions that the tests ran with, whatever the test tools ask of them.
lock: $(VENV)/.installed  ## resolve the dependencies again: all, and of those what a controller's host gets
	$(RESOLVE) --extra dev --extra demo -o requirements-dev.lock
	$(RESOLVE) --extra rs --extra build -c requirements-dev.lock -o requirements.lock

clean:  ## remove what the other targets made
	rm -rf $(VENV) var .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
