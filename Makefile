# Everything that the suite does, from a machine with Python 3.11, make and a C++ compiler.
# `make help` lists the targets. Each may be repeated: what is done is not done again.

PYTHON ?= $(shell command -v python3.11 || echo python3)
VENV ?= .venv
SCALE ?= paper
SEEDS ?= 0,1,2
LAUNCHER ?= basic
JOBS ?= 2
EXPERIMENT ?=
YES ?=

# A misspelled variable would be a run of something else
KNOWN = SCALE SEEDS LAUNCHER JOBS EXPERIMENT YES VENV PYTHON
UNKNOWN := $(strip $(foreach word,$(filter-out $(addsuffix =%,$(KNOWN)),$(MAKEOVERRIDES)),\
	$(if $(findstring =,$(word)),$(word))))
$(if $(UNKNOWN),$(error unknown variable: $(UNKNOWN); known are $(KNOWN)))

# Names the environment that a set-up has gone through in, so that another VENV is set up anew.
STAMP = $(VENV)/.lrd-installed
RUN = $(VENV)/bin/python -m
PYTEST = $(RUN) pytest --numprocesses $(JOBS) --dist worksteal
HEAVY = slow or fault or distributed or integration or browser
ONE_EXPERIMENT = $(if $(EXPERIMENT),--experiment $(EXPERIMENT))

# Table 1's curves: a figure for each experiment; another experiment's go with Figure 5's name
FIGURE_mnist = figure5
FIGURE_cifar10 = figure6
FIGURE_cifar100 = figure7
FIGURES = $(if $(EXPERIMENT),$(or $(FIGURE_$(EXPERIMENT)),figure5),figure5 figure6 figure7)

# What is made of the runs: $(call table,<name>), $(call figure,<name>)
table = $(RUN) scripts.tables $(1) --scale $(SCALE) $(ONE_EXPERIMENT)
figure = $(RUN) scripts.figures $(1) --scale $(SCALE) $(ONE_EXPERIMENT)

# How each launcher is told that JOBS runs may go on at a time
at_a_time_joblib = hydra.launcher.n_jobs=$(JOBS)
at_a_time_ray = hydra.launcher.ray.init.num_cpus=$(JOBS)
at_a_time_submitit_local = hydra.sweeper.max_batch_size=$(JOBS)
at_a_time_submitit_slurm = hydra.launcher.array_parallelism=$(JOBS)

# A sweep's command line: $(call sweep,<name>,<experiment or nothing>)
sweep = $(RUN) experiments.run +sweep=$(1) $(if $(2),experiment=$(2)) 'seed=$(SEEDS)' \
	scale=$(SCALE) hydra/launcher=$(LAUNCHER) $(at_a_time_$(LAUNCHER))

# At the paper's scale and without a GPU, the plan comes first: more than a day needs YES=1
gate = $(if $(filter-out paper,$(SCALE))$(YES),,$(call plan,$(1),$(2)) --limit 24 || { \
	echo "error: more than a day's work on this machine: repeat with YES=1 to begin" >&2; exit 1; };)
plan = $(RUN) scripts.plan $(1) --scale $(SCALE) --seeds $(SEEDS) $(if $(2),experiment=$(2))

# A sweep, and then what is made of it, from the runs that there are even if some have failed;
# the sweep's status comes last, so that a failed run fails the target.
# $(call reproduce,<name of the sweep>,<experiment or nothing>,<commands joined by &&>)
reproduce = @$(call gate,$(1),$(2)) status=0; set -x; $(call sweep,$(1),$(2)) || status=$$?; \
	$(3) && exit $$status

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all lint data \
	reproduce-table1 reproduce-table2 reproduce-table3 reproduce-table4 \
	reproduce-figure1 reproduce-figure2 reproduce-figure3 reproduce-figure4 \
	reproduce-figure5 reproduce-figure6 reproduce-figure7 reproduce-figure8 reproduce-figure9 \
	reproduce-figure10 reproduce-figure11 reproduce-figure12 reproduce-figure13 \
	reproduce-controls reproduce-authors reproduce-settings \
	reproduce report verify benchmark clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z][a-z0-9%-]*:.*## / { printf "  %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  SCALE=$(SCALE) (paper, lite, smoke)  SEEDS=$(SEEDS)  EXPERIMENT=$(EXPERIMENT) (empty: all)  YES=$(YES)"
	@echo "  LAUNCHER=$(LAUNCHER) (basic, joblib, ray, submitit_slurm, ...)  JOBS=$(JOBS) (tests, and runs but with basic, at a time)  VENV=$(VENV)  PYTHON=$(PYTHON)"

setup: $(STAMP)  ## Install the pinned environment into VENV, once

$(STAMP): requirements.lock pyproject.toml
	@python=$(VENV)/bin/python; \
	$$python -m pip --version >/dev/null 2>&1 || python="$(PYTHON)"; \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "error: $$python is not Python 3.11 or newer: install that, or name it with" \
			"make PYTHON=/path/to/python3.11" >&2; exit 1; }; \
	if [ "$$python" = "$(PYTHON)" ]; then \
		$$python -c 'import ensurepip, venv' 2>/dev/null || { \
			echo "error: $$python has no venv module: install it (python3-venv on Debian), or" \
				"name an environment with make VENV=/path/to/environment" >&2; exit 1; }; \
		$$python -m venv "$(VENV)"; \
	fi
	@echo "Installing into $(VENV), once: some gigabytes and a few minutes, mostly PyTorch"
	$(RUN) pip install --quiet --disable-pip-version-check -r requirements.lock
	$(RUN) pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: SCALE = paper
demo: SEEDS = 0
demo: LAUNCHER = joblib
demo: EXPERIMENT = digits
demo: YES = 1
demo: $(STAMP)  ## Table 1's row and curves for 5,000 digits that need no download, in minutes
	$(call reproduce,table1,$(EXPERIMENT),\
		$(call table,table1) && $(call figure,figure5))

test: $(STAMP)  ## The fast tests
	$(PYTEST) -m "not ($(HEAVY))"

test-all: $(STAMP)  ## The tests that `make test` leaves out: slow, fault, distributed, ...
	$(PYTEST) -m "$(HEAVY)"

lint: $(STAMP)  ## Check style and format
	$(RUN) ruff check .
	$(RUN) ruff format --check .

data: $(STAMP)  ## Download the data sets that are missing, and check those that are there
	$(RUN) scripts.fetch

reproduce-table1: $(STAMP)  ## Table 1 and its curves, Figures 5 to 7
	$(call reproduce,table1,$(EXPERIMENT),\
		$(call table,table1) $(foreach each,$(FIGURES),&& $(call figure,$(each))))

reproduce-table2: $(STAMP)  ## Table 2 and Figure 10: the probability of an update
	$(call reproduce,table2,$(EXPERIMENT),$(call table,table2) && $(call figure,figure10))

reproduce-table3: $(STAMP)  ## Table 3 and Figure 11: other regularizations
	$(call reproduce,table3,$(EXPERIMENT),$(call table,table3) && $(call figure,figure11))

reproduce-table4: $(STAMP)  ## Table 4 and Figure 13: standard dropout
	$(call reproduce,table4,$(EXPERIMENT),$(call table,table4) && $(call figure,figure13))

reproduce-figure1: $(STAMP)  ## A saddle point, without and with learning rate dropout
	$(RUN) scripts.figures figure1

reproduce-figure2: $(STAMP)  ## What back-propagation, dropout and LRD update in a net
	$(RUN) scripts.figures figure2

reproduce-figure3: $(STAMP)  ## The eight descent paths of three parameters
	$(RUN) scripts.figures figure3

reproduce-figure4: $(STAMP)  ## The toy example: paths, and where 400 starts end
	$(call reproduce,figure4,,$(RUN) scripts.tables figure4 --scale $(SCALE) && \
		$(RUN) scripts.figures figure4 --scale $(SCALE))

reproduce-figure5: $(STAMP)  ## Table 1's curves on MNIST
	$(call reproduce,table1,mnist,$(RUN) scripts.figures figure5 --scale $(SCALE))

reproduce-figure6: $(STAMP)  ## Table 1's curves on CIFAR-10
	$(call reproduce,table1,cifar10,$(RUN) scripts.figures figure6 --scale $(SCALE))

reproduce-figure7: $(STAMP)  ## Table 1's curves on CIFAR-100
	$(call reproduce,table1,cifar100,$(RUN) scripts.figures figure7 --scale $(SCALE))

reproduce-figure8: $(STAMP)  ## PSPNet on VOC: curves, table and pictures
	$(call reproduce,figure8,,$(RUN) scripts.tables figure8 --scale $(SCALE) && \
		$(RUN) scripts.figures figure8 --scale $(SCALE))

reproduce-figure9: $(STAMP)  ## SSD on VOC: curves, table and pictures
	$(call reproduce,figure9,,$(RUN) scripts.tables figure9 --scale $(SCALE) && \
		$(RUN) scripts.figures figure9 --scale $(SCALE))

reproduce-figure10: reproduce-table2  ## Table 2's curves
reproduce-figure11: reproduce-table3  ## Table 3's curves

reproduce-figure12: $(STAMP)  ## Learning rate dropout and dropout on the gradient
	$(call reproduce,figure12,$(EXPERIMENT),$(call figure,figure12))

reproduce-figure13: reproduce-table4  ## Table 4's curves

reproduce-controls: $(STAMP)  ## Not in the paper: is it the mask, or the smaller mean step?
	$(call reproduce,controls,$(EXPERIMENT),\
		$(call table,controls) && $(call figure,controls))

reproduce-authors: $(STAMP)  ## Not in the paper: RMSprop with LRD as the authors released it
	$(call reproduce,authors,$(EXPERIMENT),$(call table,authors) && $(call figure,authors))

reproduce-settings: $(STAMP)  ## Not in the paper: settings that it leaves open, on MNIST
	$(call reproduce,settings,$(EXPERIMENT),\
		$(call table,settings) && $(call figure,settings))

# Toy runs are small enough for the paper's scale everywhere
EVERYTHING = figure4 table1 table2 table3 table4 figure12 figure8 figure9 controls authors settings
reproduce: $(STAMP)  ## Everything at SCALE, and then the report
	@$(call gate,table1,$(EXPERIMENT)) status=0; for item in $(EVERYTHING); do \
		scale=$(SCALE); [ $$item-$$scale != figure4-lite ] || scale=paper; \
		$(MAKE) --no-print-directory reproduce-$$item SCALE=$$scale || status=$$?; \
	done; $(MAKE) --no-print-directory report && exit $$status

report: $(STAMP)  ## What holds: verdicts, tables, figures and what is missing, from the runs
	$(RUN) scripts.report

plan-%: $(STAMP)  ## The runs of a sweep, and what they would take: plan-table2
	$(call plan,$*,$(EXPERIMENT))

verify: $(STAMP)  ## Check that every run folder is whole
	$(RUN) scripts.verify

benchmark: $(STAMP)  ## Measure the speed of the step and of an epoch
	$(RUN) scripts.benchmark

clean:  ## Remove caches, builds and the results of smoke runs
	rm -rf build dist lrd.egg-info .pytest_cache .ruff_cache
	rm -rf results/runs/smoke results/tables/smoke results/figures/smoke
	find lrd models data experiments scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +
