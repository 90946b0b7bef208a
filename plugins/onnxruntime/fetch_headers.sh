#!/usr/bin/env bash
# Unpacks ONNX Runtime's C headers from Debian trixie into a folder, without touching the system's packages:
#   plugins/onnxruntime/fetch_headers.sh FOLDER
# They are in no PyPI wheel. Prints the include folder, for `cmake -DONNXRUNTIME_INCLUDE_DIR=`.
set -euo pipefail

folder=$(mkdir -p "${1:?usage: fetch_headers.sh FOLDER}" && cd "$1" && pwd)
include=$folder/usr/include/onnxruntime
if [[ ! -e $include/onnxruntime_c_api.h ]]; then
    mirror=$(grep -rhoE 'https?://[^ ]+/debian/?( |$)' /etc/apt/sources.list /etc/apt/sources.list.d 2>/dev/null | head -n 1 || true)
    mkdir -p "$folder"/apt/{lists/partial,cache/archives/partial}
    touch "$folder/apt/status"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${mirror:-http://deb.debian.org/debian} trixie main" \
        > "$folder/apt/sources"
    options=(-o Dir::Etc::sourcelist="$folder/apt/sources" -o Dir::Etc::sourceparts=- -o Dir::State="$folder/apt"
        -o Dir::State::lists="$folder/apt/lists" -o Dir::State::status="$folder/apt/status"
        -o Dir::Cache="$folder/apt/cache" -o APT::Sandbox::User=root -o Debug::NoLocking=1
        -o Acquire::Retries=1 -o Acquire::http::Timeout=20)
    apt-get "${options[@]}" -qq update >&2
    (cd "$folder" && apt-get "${options[@]}" -qq download libonnxruntime-dev >&2 && dpkg-deb -x libonnxruntime-dev_*.deb .)
fi
echo "$include"
