#!/bin/sh
# Makes this bundle run on this device: checks its files and the device, builds what is built here, runs the self-test.
# Writes below installed/ alone. Run again, it does what is left to do.
set -eu

usage() {
    cat <<'TEXT'
usage: sh install.sh [options]
  --onnxruntime DIR  ONNX Runtime's release: DIR/include and DIR/lib (default: the system's, or Python's library)
  --tensorrt DIR     TensorRT: DIR/include, DIR/lib and DIR/bin/trtexec (default: the system's)
  --download         get what is missing of ONNX Runtime from Debian and PyPI; without it nothing uses the network
  --jobs N           compile so many files at once (default: 1 for each 2 GB of memory)
  --rebuild          build program and engine anew
  --force            go on though the bundle is for another board or JetPack
  --service USER     also write /etc/systemd/system/edgedet.service, run as USER (needs root)
  --no-selftest      leave the self-test out
TEXT
}

say() { printf '%s\n' "$*"; }
fail() { printf 'error: %s\n' "$1" >&2; [ $# -lt 2 ] || printf '  fix: %s\n' "$2" >&2; exit 2; }

cd "$(dirname "$0")"
here=$(pwd)
[ -r target.sh ] || fail "target.sh is missing" "copy the bundle again"
# shellcheck source=/dev/null
. ./target.sh

folder_of() { (cd "$1" 2> /dev/null && pwd) || fail "there is no folder $1" "check the path"; }

onnxruntime='' tensorrt='' download='' jobs='' rebuild='' force='' service='' selftest=yes
while [ $# -gt 0 ]; do
    case $1 in
        --onnxruntime | --tensorrt | --jobs | --service) [ $# -gt 1 ] || fail "$1 needs a value" "sh install.sh --help" ;;
    esac
    case $1 in
        --onnxruntime) onnxruntime=$(folder_of "$2"); shift ;;
        --tensorrt) tensorrt=$(folder_of "$2"); shift ;;
        --jobs) jobs=$2; shift ;;
        --service) service=$2; shift ;;
        --download) download=yes ;;
        --rebuild) rebuild=yes ;;
        --force) force=yes ;;
        --no-selftest) selftest='' ;;
        -h | --help) usage; exit 0 ;;
        *) fail "unknown option $1" "sh install.sh --help" ;;
    esac
    shift
done

# What is missing is collected and told at once, with the package that brings it.
missing='' packages=''
need() { # need WHAT PACKAGE
    missing="$missing
  $1${2:+ (apt: $2)}"
    case "$packages " in *" $2 "*) ;; *) packages="$packages${2:+ $2}" ;; esac
}
require_all() {
    [ -z "$missing" ] && return
    printf 'error: this device lacks:%s\n' "$missing" >&2
    [ -z "$packages" ] || printf '  fix: sudo apt install%s\n' "$packages" >&2
    exit 2
}

# The first of the paths that is there.
first_of() {
    for path in "$@"; do
        if [ -e "$path" ]; then say "$path"; return; fi
    done
}

check_files() {
    command -v sha256sum > /dev/null || fail "there is no sha256sum" "sudo apt install coreutils"
    say "checking the files"
    sha256sum -c --quiet SHA256SUMS >&2 || fail "files of the bundle are missing or were changed" "copy the bundle again"
}

check_device() {
    machine=$(uname -m)
    # shellcheck disable=SC2153
    [ "$machine" = "$MACHINE" ] || fail "this bundle is for $MACHINE, and this is $machine" \
        "make one for this machine: edgedet deploy MODEL --target ..."
    [ -n "$BOARDS" ] || return 0
    model=$(tr -d '\000' < /proc/device-tree/model 2> /dev/null || true)
    found=''
    while read -r board; do
        case $model in *"$board"*) found=yes ;; esac
    done <<TEXT
$BOARDS
TEXT
    [ -n "$found" ] || wrong "this bundle is for $TITLE, and this is ${model:-a board without a name}"
    l4t=$(sed -n 's/^# R\([0-9]*\) (release), REVISION: \([0-9.]*\),.*/\1.\2/p' /etc/nv_tegra_release 2> /dev/null || true)
    case " $L4T " in
        *" ${l4t:-none} "*) ;;
        *) wrong "this bundle is for JetPack $JETPACK (L4T $L4T), and this has L4T ${l4t:-of unknown version}" ;;
    esac
}
wrong() {
    [ -n "$force" ] || fail "$1" "make one for this board (edgedet deploy --list), or add --force"
    say "warning: $1"
}

# CMake of at least the version given, also where pip put it; empty where there is none.
find_cmake() { # find_cmake MINOR (of 3)
    for cmake in "${CMAKE:-}" cmake "$HOME/.local/bin/cmake"; do
        [ -n "$cmake" ] || continue
        version=$("$cmake" --version 2> /dev/null | sed -n '1s/[^0-9]*\([0-9]*\)\.\([0-9]*\).*/\1 \2/p')
        major=${version%% *} minor=${version##* }
        if [ "${major:-0}" -gt 3 ] || { [ "${major:-0}" -eq 3 ] && [ "${minor:-0}" -ge "$1" ]; }; then return; fi
    done
    cmake=''
}

find_onnxruntime() {
    if [ -n "$onnxruntime" ]; then
        include=$(first_of "$onnxruntime/include/onnxruntime/onnxruntime_c_api.h" "$onnxruntime/include/onnxruntime_c_api.h")
        library=$(first_of "$onnxruntime"/lib/libonnxruntime.so "$onnxruntime"/lib/libonnxruntime.so.*)
    else
        include=$(first_of /usr/include/onnxruntime/onnxruntime_c_api.h /usr/local/include/onnxruntime/onnxruntime_c_api.h \
            /usr/local/include/onnxruntime_c_api.h "$here"/installed/onnxruntime/usr/include/onnxruntime/onnxruntime_c_api.h)
        library=$(first_of "/usr/lib/$MACHINE-linux-gnu/libonnxruntime.so" /usr/local/lib/libonnxruntime.so \
            "$here"/installed/onnxruntime/library/onnxruntime/capi/libonnxruntime.so.*)
        if [ -z "$library" ] && command -v python3 > /dev/null; then
            package=$(python3 -c 'import importlib.util as u; s = u.find_spec("onnxruntime"); print(s.submodule_search_locations[0] if s else "")' 2> /dev/null || true)
            [ -z "$package" ] || library=$(first_of "$package"/capi/libonnxruntime.so.*)
        fi
    fi
    include=${include%/onnxruntime_c_api.h}
}

download_onnxruntime() {
    if [ -z "$include" ]; then
        say "getting ONNX Runtime's headers from Debian"
        sh -c 'command -v apt-get && command -v dpkg-deb' > /dev/null || fail "there is no apt to get headers with" "give --onnxruntime DIR"
        include=$(bash plugins/onnxruntime/fetch_headers.sh installed/onnxruntime) || fail "the headers could not be got" "give --onnxruntime DIR"
    fi
    if [ -z "$library" ]; then
        say "getting ONNX Runtime's library from PyPI"
        folder=installed/onnxruntime
        rm -rf "$folder/library.part" && mkdir -p "$folder/library.part"
        if ! python3 -m pip download -q --no-deps --only-binary :all: --dest "$folder/library.part" onnxruntime ||
            ! python3 -m zipfile -e "$folder"/library.part/onnxruntime-*.whl "$folder/library.part"; then
            fail "the library could not be got" "give --onnxruntime DIR"
        fi
        rm -rf "$folder/library" && mv "$folder/library.part" "$folder/library"
        library=$(first_of "$here/$folder"/library/onnxruntime/capi/libonnxruntime.so.*)
    fi
}

find_tensorrt() {
    include=$(first_of "${tensorrt:+$tensorrt/include/NvInferRuntime.h}" "/usr/include/$MACHINE-linux-gnu/NvInferRuntime.h" \
        /usr/include/NvInferRuntime.h)
    include=${include%/NvInferRuntime.h}
    library=$(first_of "${tensorrt:+$tensorrt/lib/libnvinfer.so}" "/usr/lib/$MACHINE-linux-gnu/libnvinfer.so")
    trtexec=$(first_of "${tensorrt:+$tensorrt/bin/trtexec}" /usr/src/tensorrt/bin/trtexec "$(command -v trtexec || true)")
    nvcc=$(first_of "$(command -v nvcc || true)" /usr/local/cuda/bin/nvcc)
}

default_jobs() {
    memory=$(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo)
    jobs=$((${memory:-0} / 2000000))
    cores=$(nproc)
    [ "$jobs" -le "$cores" ] || jobs=$cores
    [ "$jobs" -ge 1 ] || jobs=1
}

# Replaces a file at once: a program that runs keeps the old one.
copy() { cp "$1" "$2.part" && chmod 755 "$2.part" && mv "$2.part" "$2"; }

# The program that was built beforehand, if it runs here.
take_prebuilt() {
    [ -x prebuilt/bin/edgedet-run ] || return 1
    if ! prebuilt/bin/edgedet-run --version > /dev/null 2>&1; then
        say "the program built beforehand does not run here: building it"
        return 1
    fi
    copy prebuilt/bin/edgedet-run installed/bin/edgedet-run
}

need_tools() { # need_tools MINOR: what builds with CMake 3.MINOR
    find_cmake "$1"
    if [ -z "$cmake" ] && [ "$1" -gt 10 ] && [ -n "$OLD_CMAKE" ]; then
        need "CMake 3.$1 or newer (apt's is $OLD_CMAKE: python3 -m pip install --user --upgrade pip cmake)" ""
    elif [ -z "$cmake" ]; then
        need "CMake 3.$1 or newer" "cmake"
    fi
    command -v "${CXX:-g++}" > /dev/null || need "a C++ compiler" "g++"
    command -v make > /dev/null || need "make" "make"
}

# The runner decodes images by OpenCV, or by stb, which is a header.
need_images() {
    [ -n "$(first_of /usr/include/stb/stb_image.h /usr/include/stb_image.h /usr/include/opencv4/opencv2/core.hpp \
        /usr/include/opencv2/core.hpp /usr/local/include/opencv4/opencv2/core.hpp)" ] ||
        need "OpenCV or stb_image.h, to read images" "libstb-dev"
}

build() { # build NAME SOURCE OPTIONS...
    name=$1 source=$2
    shift 2
    [ -n "$jobs" ] || default_jobs
    say "building $name, $jobs at a time (installed/$name.log)"
    # Old CMakes know no -S and no --parallel.
    "$cmake" "-H$source" "-Binstalled/build-$name" -G "Unix Makefiles" -DCMAKE_BUILD_TYPE=Release "$@" > "installed/$name.log" 2>&1 ||
        { tail -n 20 "installed/$name.log" >&2; fail "CMake could not prepare $name" "see installed/$name.log"; }
    "$cmake" --build "installed/build-$name" -- "-j$jobs" >> "installed/$name.log" 2>&1 ||
        { grep -E -A 3 'error|Error' "installed/$name.log" | head -n 20 >&2; fail "$name could not be built" "see installed/$name.log"; }
}

install_program() { # install_program OPTIONS...
    if [ -x installed/bin/edgedet-run ] && [ -z "$rebuild" ]; then say "the program is there"; return; fi
    take_prebuilt && return
    need_tools 10
    need_images
    require_all
    build edgedet-run export/runner "$@"
    copy installed/build-edgedet-run/edgedet-run installed/bin/edgedet-run
    copy installed/build-edgedet-run/libedgedet_run.so.1 installed/lib/libedgedet_run.so.1 # the C interface
}

install_library() { # install_library NAME OPTIONS...: edgedet's operators, where the network has some
    library_name=$1
    shift
    [ -n "$OPERATORS" ] || return 0
    if [ -e "installed/lib/$library_name" ] && [ -z "$rebuild" ]; then say "the operators are there"; return; fi
    if [ -e "prebuilt/lib/$library_name" ]; then copy "prebuilt/lib/$library_name" "installed/lib/$library_name"; return; fi
    need_tools 18
    require_all
    build operators . "$@"
    copy "installed/build-operators/$library_name" "installed/lib/$library_name"
}

install_onnxruntime() {
    find_onnxruntime
    [ -z "$download" ] || download_onnxruntime
    hint="add --download, or --onnxruntime DIR; Debian 13 and later have"
    [ -n "$library" ] || need "ONNX Runtime's library: $hint it" "libonnxruntime-dev"
    if [ -z "$include" ] && { [ ! -x prebuilt/bin/edgedet-run ] || [ -n "$OPERATORS" ]; }; then
        need "ONNX Runtime's headers: $hint them" "libonnxruntime-dev"
    fi
    require_all
    # In the folder where the program looks for it.
    ln -sf "$library" installed/lib/libonnxruntime.so
    install_program -DONNXRUNTIME_INCLUDE_DIR="$include"
    install_library libedgedet_onnxruntime.so -DONNXRUNTIME_INCLUDE_DIR="$include"
}

install_tensorrt() {
    find_tensorrt
    [ -n "$library" ] || need "TensorRT" "$(jetpack_package libnvinfer-dev)"
    [ -n "$include" ] || need "TensorRT's headers" "$(jetpack_package libnvinfer-dev)"
    [ -n "$HAS_ENGINE" ] || [ -n "$trtexec" ] || need "trtexec" "$(jetpack_package libnvinfer-bin)"
    if [ -n "$OPERATORS" ] && [ ! -e prebuilt/lib/libedgedet_tensorrt.so ]; then
        [ -n "$nvcc" ] || need "nvcc, for the plugin that suppresses boxes" "$(jetpack_package nvidia-cuda-toolkit)"
    fi
    require_all
    if [ -n "$RUNNER" ]; then
        install_program -DTENSORRT_INCLUDE_DIR="$include"
    else
        # shellcheck disable=SC2153
        say "TensorRT $TENSORRT is older than what the runner knows: only the engine is built, for trtexec --loadEngine"
        selftest=''
    fi
    set -- -DTENSORRT_INCLUDE_DIR="$include" -DCMAKE_CUDA_COMPILER="$nvcc"
    [ -z "$CUDA_ARCHITECTURE" ] || set -- "$@" -DCMAKE_CUDA_ARCHITECTURES="$CUDA_ARCHITECTURE"
    install_library libedgedet_tensorrt.so "$@"
    install_engine
    install_triton
}
jetpack_package() { if [ -n "$L4T" ]; then say nvidia-jetpack; else say "$1"; fi; }

# A plan is for the TensorRT and the GPU that it was built with: built anew where the first is another.
install_engine() {
    if [ -n "$HAS_ENGINE" ]; then
        for file in model.engine model.engine.json; do cp "$file" "installed/$file.part" && mv "installed/$file.part" "installed/$file"; done
        return
    fi
    stamp=$(sha256sum "$library" model.onnx target.sh | cut -d ' ' -f 1)
    if [ -z "$rebuild" ] && [ -e installed/model.engine ] && [ "$(cat installed/model.engine.of 2> /dev/null)" = "$stamp" ]; then
        say "the engine is there"
        return
    fi
    say "building the engine: minutes (installed/engine.log)"
    rm -f installed/model.engine.of
    started=$(date +%s)
    # BUILD_ENGINE is a command of edgedet's, its words quoted for a shell; its first one is the function.
    trtexec() { "$trtexec" "$@"; }
    eval "$BUILD_ENGINE" > installed/engine.log 2>&1 ||
        { tail -n 20 installed/engine.log >&2; fail "TensorRT could not build the engine" "see installed/engine.log; edgedet doctor names known faults"; }
    [ -z "$RUNNER" ] || describe_engine $(($(date +%s) - started))
    mv installed/model.engine.part installed/model.engine
    say "$stamp" > installed/model.engine.of
}

# The manifest beside the engine: without it neither the runner nor edgedet's Python loads a plan.
describe_engine() { # describe_engine SECONDS
    "${CXX:-g++}" -std=c++14 -O1 -o installed/platform platform.cpp -ldl >> installed/engine.log 2>&1 ||
        fail "the program that describes this machine could not be built" "see installed/engine.log"
    described=$(installed/platform "$library") || fail "this machine's GPU could not be described" "see what nvidia-smi or tegrastats says"
    here_tensorrt='' here_capability='' here_multiprocessors='' here_runtime='' here_driver='' here_gpu=''
    eval "$described"
    operators_sha256=''
    [ ! -e installed/lib/libedgedet_tensorrt.so ] || operators_sha256=$(sha256sum installed/lib/libedgedet_tensorrt.so | cut -d ' ' -f 1)
    sed -e "s|@ENGINE_SHA256@|$(sha256sum installed/model.engine.part | cut -d ' ' -f 1)|" \
        -e "s|@OPERATORS_SHA256@|$operators_sha256|" -e "s|@TENSORRT@|$here_tensorrt|" \
        -e "s|@COMPUTE_CAPABILITY@|$here_capability|" -e "s|@GPU@|$here_gpu|" -e "s|@BUILD_SECONDS@|$1|" \
        -e "s|@MULTIPROCESSORS@|$here_multiprocessors|" -e "s|@CUDA_RUNTIME@|$here_runtime|" -e "s|@CUDA_DRIVER@|$here_driver|" \
        engine.json.in > installed/model.engine.json.part
    mv installed/model.engine.json.part installed/model.engine.json
}

# Triton's model repository with the plan in it.
install_triton() {
    [ -d triton/edgedet ] || return 0
    rm -rf installed/triton && cp -R triton installed/triton
    cp installed/model.engine installed/triton/edgedet/1/model.plan
}

install_service() {
    [ "$(id -u)" = 0 ] || fail "a service is written by root alone" "sudo sh install.sh --service $service"
    id "$service" > /dev/null 2>&1 || fail "there is no user $service" "name one that is there"
    case $here in *[!A-Za-z0-9/._-]*) fail "the folder's name has characters that systemd does not take" "move the bundle" ;; esac
    unit=/etc/systemd/system/edgedet.service
    model=model.onnx
    [ "$BACKEND" = onnxruntime ] || model=installed/model.engine
    operators=''
    for built in installed/lib/libedgedet_*.so; do [ ! -e "$built" ] || operators="--operators $built"; done
    sed -e "s|@OPERATORS@|$operators|g" -e "s|@FOLDER@|$here|g" -e "s|@USER@|$service|g" -e "s|@MODEL@|$model|g" edgedet.service > "$unit.part"
    mv "$unit.part" "$unit"
    ! command -v systemctl > /dev/null || systemctl daemon-reload || true
    say "written: $unit; set SOURCE in /etc/default/edgedet, then: sudo systemctl enable --now edgedet"
}

check_files
check_device
mkdir -p installed/bin installed/lib
case $BACKEND in
    onnxruntime) install_onnxruntime ;;
    tensorrt) install_tensorrt ;;
    *) fail "unknown backend $BACKEND" "make the bundle again" ;;
esac
if [ -n "$selftest" ]; then
    say "running the self-test"
    ./selftest || exit $?
fi
[ -z "$service" ] || install_service
say "done"
