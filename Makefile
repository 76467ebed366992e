# Every target prepares .venv first (binder/prepare.py); what is there already takes no time and no network.
#   make lab PYTHON=/path/to/python3.12 PORT=8899 BROWSER=no        make test ARGS="-k setup -x"

PYTHON ?= python3
PORT ?=
BROWSER ?=
ARGS ?=
VLLM ?=
QUANTIZERS ?=
FUSION ?=
# `make lock` renews all versions but torch's, which decides about CUDA and Colab: make lock TORCH=2.14.0
TORCH ?= $(shell sed -n 's/^torch==//p' requirements.lock)

# What belongs to another Python breaks this one before it can say so.
unexport PYTHONHOME PYTHONPATH PYTHONINSPECT PYTHONOPTIMIZE PYTHONWARNINGS
JUPYTER = .venv/bin/python binder/start.py $(if $(PORT),--port=$(PORT)) $(if $(filter no,$(BROWSER)),--no-browser)

.PHONY: help lab setup formgrader test course render grade-demo bench bench-grading bench-scaling bench-serving bench-api bench-quantizers bench-fusion bench-executorch soak lint lock clean for-learners for-instructors for-all

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

lab: for-learners ## open the course in JupyterLab
	@$(JUPYTER) lab

setup: for-instructors ## what grading needs, and whether this host is fit for it
	@.venv/bin/autograder doctor

formgrader: for-instructors ## open nbgrader's formgrader
	@$(JUPYTER) formgrader

test: for-all ## style, then all tests (ARGS goes to pytest)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	@# Tests type `make`, too, as a reader does: not as one that runs below this one, and tells so in its output.
	unset MAKEFLAGS MFLAGS MAKELEVEL; .venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

course: for-instructors ## masters in solutions/ to handouts in course/
	.venv/bin/autograder build

render: for-instructors ## execute the masters' pairs, for their figures and the README's
	.venv/bin/autograder render
	.venv/bin/python -m autograder.authoring.readme_figure

grade-demo: for-instructors ## three made-up learners, graded, with feedback and a table
	.venv/bin/autograder demo

bench: bench-grading bench-scaling bench-serving ## all; three quarters of an hour on an idle machine

bench-grading: for-instructors ## submissions per minute, ours and stock nbgrader; JSON in autograder/measurements/
	.venv/bin/autograder bench

bench-scaling: for-instructors ## classes of 10 to 500, one worker and two; JSON in autograder/measurements/
	.venv/bin/autograder bench --scaling

# The peer vLLM needs an environment of its own (4 GB): make bench-serving VLLM=--install-vllm, once.
bench-serving: for-all ## the serving engine and its peers on one trace; JSON in course/fridge/serving/measurements/
	.venv/bin/python -m fridge.serving.bench --out course/fridge/serving/measurements/serving.json $(VLLM)

bench-api: for-all ## the API servers under the same arrivals; three quarters of an hour; JSON in course/fridge/serving/measurements/
	.venv/bin/python -m fridge.serving.bench.api --out course/fridge/serving/measurements/api.json $(VLLM)

soak: for-all ## half an hour of clients, well-behaved and not: nothing may be left of it
	.venv/bin/python -m fridge.serving.bench.soak --out course/fridge/serving/measurements/soak.json

# auto-round and llm-compressor have environments of their own (8 GB): make bench-quantizers QUANTIZERS=--install, once.
bench-quantizers: for-all ## what others make of the model at three bits, beside unit 07's; JSON in course/fridge/quantization/measurements/
	.venv/bin/python solutions/07-gptq-awq/bench_quantizers.py $(QUANTIZERS)

# OpenVINO has an environment of its own (0.3 GB): make bench-fusion FUSION=--install, once. torch.compile wants a C++ compiler.
bench-fusion: for-all ## what fused engines make of one user's tokens; JSON in course/fridge/fusion/measurements/
	.venv/bin/python solutions/10-kernel-fusion/measure_fusion.py $(FUSION)

# ExecuTorch has an environment of its own (1 GB): make bench-executorch EXECUTORCH=--install, once.
bench-executorch: for-all ## the exported step of unit 11, lowered and run by ExecuTorch; JSON in course/fridge/fusion/measurements/
	.venv/bin/python solutions/11-edge/measure_executorch.py $(EXECUTORCH)

lint: for-all ## ruff, and the rules for notebooks
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/autograder lint

# Without the packages of CUDA: torch pins its own, and only some machines have them.
lock: for-all ## renew requirements.lock
	echo "torch==$(TORCH)" | .venv/bin/uv pip compile --universal --python-version 3.11 --all-extras --quiet \
	  --no-header --no-annotate --upgrade --constraint /dev/stdin pyproject.toml --output-file .venv/requirements.lock
	grep -v -E '^(nvidia|cuda)' .venv/requirements.lock > requirements.lock

clean: ## remove .venv and caches (not grading/, nor the model in your cache folder)
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis *.egg-info

for-learners:
	@$(PYTHON) binder/prepare.py lab

for-instructors:
	@$(PYTHON) binder/prepare.py setup

for-all:
	@$(PYTHON) binder/prepare.py test
