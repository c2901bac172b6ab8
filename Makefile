# Everything that the suite does, from a machine with Python 3.11, make and a C compiler.
# `make help` lists the targets. Each may be repeated: what is done is not done again.

ifeq ($(origin PYTHON),undefined)
PYTHON := $(shell command -v python3.11 || echo python3)
endif
VENV ?= .venv
SCALE ?= paper
SEEDS ?= 0,1,2
LAUNCHER ?= basic
JOBS ?= 2
EXPERIMENT ?=
CLAIM ?=
CLAIMS ?=
HOURS ?= 1
YES ?=

# A misspelled variable would be a run of something else
KNOWN = SCALE SEEDS LAUNCHER JOBS EXPERIMENT CLAIM CLAIMS HOURS YES VENV PYTHON
SPACE := $(subst ,, )
UNKNOWN := $(strip $(foreach word,\
	$(filter-out $(addsuffix =%,$(KNOWN)),$(subst \$(SPACE),_,$(MAKEOVERRIDES))),\
	$(if $(findstring =,$(word)),$(word))))
$(if $(UNKNOWN),$(error unknown variable: $(UNKNOWN); known are $(KNOWN)))

# A variable is a word of a command, whatever it holds: $(call quoted,SEEDS). But make itself would
# run what a $ begins.
$(foreach name,$(KNOWN),$(if $(findstring $$,$(value $(name))),\
	$(error $(name) must not hold a $$, got $(value $(name)))))
quoted = '$(subst ','\'',$(value $(1)))'

# The environment is a target of make, whose names cannot hold everything
REFUSED := $(strip $(foreach char,; : & | < > ( ) * ? ! % " ' \ ` \#,$(findstring $(char),$(value VENV))))
$(if $(REFUSED)$(word 2,$(value VENV)),$(error VENV must be a path without spaces and none of \
	; : & | < > ( ) * ? ! % " ' \ ` \#, got $(value VENV)))

# Names the environment that a set-up has gone through in, so that another VENV is set up anew.
STAMP = $(VENV)/.lrd-installed
RUN = $(VENV)/bin/python -m
PYTEST = $(RUN) pytest --numprocesses $(call quoted,JOBS) --dist worksteal
HEAVY = slow or fault or distributed or integration or browser

# Runs, and then what is made of them: $(call reproduce,<item of the paper>)
HOW = --scale $(call quoted,SCALE) --seeds $(call quoted,SEEDS) \
	--launcher $(call quoted,LAUNCHER) --jobs $(call quoted,JOBS) \
	$(if $(value EXPERIMENT),--experiment $(call quoted,EXPERIMENT)) $(if $(value YES),--yes)
reproduce = @$(RUN) scripts.reproduce $(1) $(HOW)

# Claims, and the seeds that decide them
decide = $(RUN) scripts.decide --scale $(call quoted,SCALE) --hours $(call quoted,HOURS) \
	--launcher $(call quoted,LAUNCHER) --jobs $(call quoted,JOBS) \
	$(if $(value CLAIM),--claim $(call quoted,CLAIM)) $(if $(value CLAIMS),--claims $(call quoted,CLAIMS))

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all test-versions lint data \
	reproduce-table1 reproduce-table2 reproduce-table3 reproduce-table4 \
	reproduce-figure1 reproduce-figure2 reproduce-figure3 reproduce-figure4 \
	reproduce-figure5 reproduce-figure6 reproduce-figure7 reproduce-figure8 reproduce-figure9 \
	reproduce-figure10 reproduce-figure11 reproduce-figure12 reproduce-figure13 \
	reproduce-controls reproduce-step reproduce-choice reproduce-authors reproduce-settings reproduce-family \
	reproduce decide plan-decide report verify benchmark gpu-check clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z][a-z0-9%-]*:.*## / { printf "  %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@printf '  %s=%s%s' SCALE $(call quoted,SCALE) ' (paper, mid, lite, smoke)' SEEDS $(call quoted,SEEDS) '' \
		EXPERIMENT $(call quoted,EXPERIMENT) ' (empty: all)' HOURS $(call quoted,HOURS) '' YES $(call quoted,YES) ''; echo
	@printf '  %s=%s%s' LAUNCHER $(call quoted,LAUNCHER) ' (basic, joblib, ray, submitit_slurm, ...)' \
		JOBS $(call quoted,JOBS) ' (tests, and runs but with basic, at a time)' \
		VENV $(call quoted,VENV) '' PYTHON $(call quoted,PYTHON) ''; echo

setup: $(STAMP)  ## Install the pinned environment into VENV, once

$(STAMP): requirements.lock pyproject.toml
	@python=$(VENV)/bin/python given=$(call quoted,PYTHON); \
	$$python -m pip --version >/dev/null 2>&1 || python="$$given"; \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "error: $$python is not Python 3.11 or newer: install that, or name it with" \
			"make PYTHON=/path/to/python3.11" >&2; exit 1; }; \
	if [ "$$python" = "$$given" ]; then \
		"$$python" -c 'import ensurepip, venv' 2>/dev/null || { \
			echo "error: $$python has no venv module: install it (python3-venv on Debian), or" \
				"name an environment with make VENV=/path/to/environment" >&2; exit 1; }; \
		"$$python" -m venv "$(VENV)"; \
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
	$(call reproduce,table1)

test: $(STAMP)  ## The fast tests
	$(PYTEST) -m "not ($(HEAVY))"

test-all: $(STAMP)  ## The tests that `make test` leaves out: slow, fault, distributed, ...
	$(PYTEST) -m "$(HEAVY)"

test-versions: $(STAMP)  ## lrd's tests on the oldest, a middle and the newest torch: 15 GB
	$(VENV)/bin/python tests/versions.py .versions

lint: $(STAMP)  ## Check style and format
	$(RUN) ruff check .
	$(RUN) ruff format --check .

data: $(STAMP)  ## Download the data sets that are missing, and check those that are there
	$(RUN) scripts.fetch

$(addprefix reproduce-,table1 table2 table3 table4 \
	figure1 figure2 figure3 figure4 figure5 figure6 figure7 figure8 figure9 \
	figure12 controls step choice authors settings family): \
	reproduce-%: $(STAMP)
	$(call reproduce,$*)

reproduce-table1:  ## Table 1 and its curves, Figures 5 to 7
reproduce-table2:  ## Table 2 and Figure 10: the probability of an update
reproduce-table3:  ## Table 3 and Figure 11: other regularizations
reproduce-table4:  ## Table 4 and Figure 13: standard dropout
reproduce-figure1:  ## A saddle point, without and with learning rate dropout
reproduce-figure2:  ## What back-propagation, dropout and LRD update in a net
reproduce-figure3:  ## The eight descent paths of three parameters
reproduce-figure4:  ## The toy example: paths, and where 400 starts end
reproduce-figure5:  ## Table 1's curves on MNIST
reproduce-figure6:  ## Table 1's curves on CIFAR-10
reproduce-figure7:  ## Table 1's curves on CIFAR-100
reproduce-figure8:  ## PSPNet on VOC: curves, table and pictures
reproduce-figure9:  ## SSD on VOC: curves, table and pictures
reproduce-figure10: reproduce-table2  ## Table 2's curves
reproduce-figure11: reproduce-table3  ## Table 3's curves
reproduce-figure12:  ## Learning rate dropout and dropout on the gradient
reproduce-figure13: reproduce-table4  ## Table 4's curves
reproduce-controls:  ## Not in the paper: is it the mask, or the smaller mean step?
reproduce-step:  ## Not in the paper: LRD beside the base at its mean step, by rate
reproduce-choice:  ## Not in the paper: MNIST with LRD and without, each at its best rate
reproduce-authors:  ## Not in the paper: RMSprop with LRD as the authors released it
reproduce-settings:  ## Not in the paper: settings that it leaves open, on MNIST
reproduce-family:  ## Not in the paper: masked updates on a language model, by rate and best

reproduce: $(STAMP)  ## Everything at SCALE, and then the report
	$(call reproduce,all)

decide: $(STAMP)  ## Add seeds until claims are decided: CLAIM="…" or CLAIMS=mnist, HOURS=3
	$(decide)

plan-decide: $(STAMP)  ## The seeds and hours that this is expected to take
	$(decide) --plan

report: $(STAMP)  ## What holds: verdicts, tables, figures and what is missing, from the runs
	$(RUN) scripts.report

plan-%: $(STAMP)  ## The runs of a sweep, and what they would take: plan-table2
	$(RUN) scripts.plan $* --scale $(call quoted,SCALE) --seeds $(call quoted,SEEDS) \
		$(if $(value EXPERIMENT),--experiment $(call quoted,EXPERIMENT))

verify: $(STAMP)  ## Check that every run folder is whole
	$(RUN) scripts.verify

benchmark: $(STAMP)  ## Measure the speed of the step and of an epoch
	$(RUN) scripts.benchmark

gpu-check: $(STAMP)  ## Tests and speed on this machine's GPU, into results/gpu.md, in 8 minutes
	$(RUN) scripts.benchmark.gpu

clean:  ## Remove caches, builds and the results of smoke runs
	rm -rf build dist lrd.egg-info .pytest_cache .ruff_cache .jobs-*
	rm -rf results/runs/smoke results/tables/smoke results/figures/smoke
	find lrd models data experiments scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +
