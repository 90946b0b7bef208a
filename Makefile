# On a machine with Python 3.10 or newer (with venv), a C++ compiler and make:
#   make demo   trains, exports, evaluates and measures a detector on a generated set
#   make test   lint, types, import floors and the fast tests (with CI=true the slow ones too)
#   make test-tensorrt   on a machine with a GPU and TensorRT: what only it can prove
#   make operators   edgedet's operators for ONNX Runtime and the C++ runner, in build/native
#   make aarch64     the same for 64-bit ARM, with Debian's g++-aarch64-linux-gnu, in build/aarch64
#   make cuda        the CUDA kernels, in build/cuda, and what they take of a GPU: needs nvcc, but no GPU
#                    TENSORRT_INCLUDE_DIR=... adds the plugins for that TensorRT
#   make tensorrt-python  NVIDIA's Python modules of four TensorRTs, which the tests look at, in build/tensorrt-python
#   make triton-schema    the compiled schema of Triton's configurations, which a test parses ours with
#   make tensorrt TENSORRT_HEADERS=FOLDER   what the plugins' tests need, for the headers in each FOLDER/*/include

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NVCC ?= nvcc
INSTALL := $(BIN)/python -m pip install -c constraints.txt
INSTALLED_FROM := pyproject.toml constraints.txt CMakeLists.txt $(wildcard plugins/*/*)
PACKAGES := edgedet tests $(wildcard benchmarks)

TENSORRT_MODULES := tensorrt-bindings==8.6.1 tensorrt-cu12-bindings==10.3.0 tensorrt-cu13-bindings==10.16.1.11 \
	tensorrt-cu13-bindings==11.4.0.106

.PHONY: demo test test-slow test-tensorrt operators aarch64 cuda tensorrt tensorrt-python triton-schema lint format clean

demo: $(VENV)/.for-training
	$(BIN)/edgedet demo --out demo

test: lint
	-@$(MAKE) operators
	-@if command -v aarch64-linux-gnu-g++ > /dev/null; then $(MAKE) aarch64; fi
	@if command -v $(NVCC) > /dev/null; then $(MAKE) cuda; else echo "there is no nvcc: no CUDA kernel is compiled"; fi
	@if [ -n "$(TENSORRT_HEADERS)" ]; then $(MAKE) tensorrt; \
		else echo "there are no TENSORRT_HEADERS: no plugin for TensorRT is compiled"; fi
	-@$(MAKE) tensorrt-python triton-schema
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not tensorrt"
ifeq ($(CI),true)
	$(MAKE) test-slow
endif

test-slow: $(VENV)/.for-development
	$(BIN)/python -m pytest -n 2 --dist loadfile -m slow

# For a machine with a GPU and TensorRT: see docs/tensorrt.md. PYTHON is one that has edgedet, pytest and TensorRT.
test-tensorrt:
	$(PYTHON) -m pytest -m tensorrt tests/on_gpu

# ONNX Runtime's C headers come from Debian, or from where ONNXRUNTIME_INCLUDE_DIR says. What the tests run needs none.
operators aarch64: $(VENV)/.for-development
	@include="$${ONNXRUNTIME_INCLUDE_DIR:-$$(plugins/onnxruntime/fetch_headers.sh build/onnxruntime)}" || include=; \
		$(BIN)/cmake --preset $(PRESET) -DEDGEDET_RUNNER=ON -DONNXRUNTIME_INCLUDE_DIR="$$include" > /dev/null && \
		$(BIN)/cmake --build --preset $(PRESET) --parallel 2 && \
		{ [ -n "$$include" ] || { echo "the operators for ONNX Runtime are not built: their tests are skipped"; exit 1; }; }
operators: PRESET := host
aarch64: PRESET := aarch64
aarch64: build/onnxruntime/aarch64/libonnxruntime.so.1

# For the runner's self-test under qemu.
build/onnxruntime/aarch64/libonnxruntime.so.1: $(VENV)/.for-development
	-export/runner/fetch_aarch64.sh $(BIN)/python $(@D)

cuda: $(VENV)/.for-development
	$(BIN)/cmake --preset cuda -DCMAKE_CUDA_COMPILER=$(NVCC) -DTENSORRT_INCLUDE_DIR=$(TENSORRT_INCLUDE_DIR) > /dev/null
	$(BIN)/cmake --build --preset cuda --parallel 2
	$(BIN)/python plugins/cuda/registers.py $(NVCC)

# The library itself is built for one GPU: it is only opened.
tensorrt: $(VENV)/.for-development
	@set -e; for include in $(abspath $(TENSORRT_HEADERS))/*/include; do \
		build=build/tensorrt/$$(basename $$(dirname $$include)); \
		$(BIN)/cmake -S . -B $$build -DCMAKE_BUILD_TYPE=Release -DEDGEDET_TESTS=ON -DTENSORRT_INCLUDE_DIR=$$include \
			-DEDGEDET_RUNNER=ON -DEDGEDET_RUNNER_IMAGES=none $(if $(CUDA_INCLUDE_DIR),-DCUDA_INCLUDE_DIR=$(CUDA_INCLUDE_DIR)) \
			$$(command -v $(NVCC) > /dev/null && echo -DEDGEDET_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES=87-real) > /dev/null; \
		$(BIN)/cmake --build $$build --parallel 2; \
	done

# Only the modules: without TensorRT itself, which they come without, nothing can be built or run by them.
tensorrt-python: $(VENV)/.for-development
	@set -e; for module in $(TENSORRT_MODULES); do \
		folder=build/tensorrt-python/$${module##*==}; \
		[ -d $$folder ] || { $(BIN)/python -m pip install -q --no-deps --only-binary :all: --target $$folder.part $$module && \
			mv $$folder.part $$folder; }; \
	done

# Without what it depends on: only a file of it is loaded, and it wants an older ml_dtypes than onnx does.
triton-schema: $(VENV)/.for-development
	@[ -d build/triton-schema ] || { $(BIN)/python -m pip install -q --no-deps --only-binary :all: \
		--target build/triton-schema.part tritonclient==2.73.0 && mv build/triton-schema.part build/triton-schema; }

lint: $(VENV)/.for-development
	$(BIN)/ruff check $(PACKAGES)
	$(BIN)/ruff format --check $(PACKAGES)
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.for-development
	$(BIN)/ruff check --fix $(PACKAGES)
	$(BIN)/ruff format $(PACKAGES)

clean:
	rm -rf $(VENV) build dist demo .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

$(BIN)/pip:
	$(PYTHON) -c 'import sys; sys.exit("edgedet needs Python 3.10 or newer: make PYTHON=python3.x" if sys.version_info < (3, 10) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.for-training: $(INSTALLED_FROM) | $(BIN)/pip
	$(INSTALL) -e ".[train]"
	touch $@

$(VENV)/.for-development: $(INSTALLED_FROM) | $(BIN)/pip
	$(INSTALL) -e ".[train,dev]"
	touch $(VENV)/.for-training $@
