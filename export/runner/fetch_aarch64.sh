#!/usr/bin/env bash
# Unpacks ONNX Runtime's library for 64-bit ARM from its wheel on PyPI, to run the cross-compiled runner under qemu-aarch64:
#   export/runner/fetch_aarch64.sh PYTHON FOLDER
# Later versions than this one end under qemu 7.2, when they look at the processor.
set -euo pipefail

python=${1:?usage: fetch_aarch64.sh PYTHON FOLDER} folder=${2:?usage: fetch_aarch64.sh PYTHON FOLDER}
[[ -e $folder/libonnxruntime.so.1 ]] && exit
mkdir -p "$folder/wheel"
"$python" -m pip download -q --no-deps --only-binary :all: --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 \
    --python-version 3.11 -d "$folder/wheel" onnxruntime==1.23.2
"$python" -m zipfile -e "$folder"/wheel/onnxruntime-*.whl "$folder/wheel"
mv "$folder"/wheel/onnxruntime/capi/libonnxruntime.so.1* "$folder/libonnxruntime.so.1"
rm -r "$folder/wheel"
