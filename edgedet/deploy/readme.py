"""The README of a bundle: what to do on this device, and what was proved of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgedet.deploy.model import Network
from edgedet.deploy.targets import Target

MODE_ID = "sed -n 's/^ *< *POWER_MODEL  *ID=\\([0-9]*\\)  *NAME={name} *>.*/\\1/p' /etc/nvpmodel.conf"
"""The id of a power mode by its name, of the board's own table."""


def readme(network: Network, target: Target, integrations: Sequence[str], *, prebuilt: bool) -> str:
    """Markdown, short."""
    parts = [
        _title(network, target),
        _install(target, prebuilt=prebuilt),
        _power(target),
        _run(target),
        _device(target),
        _integrations(integrations, target),
        _verified(target),
    ]
    return "\n".join(line for part in parts for line in part) + "\n"


def _title(network: Network, target: Target) -> Iterator[str]:
    size, classes = network.spec.preprocess, len(network.spec.class_names)
    precision = "INT8" if network.quantized else "float"
    yield f"# {network.spec.model} for {target.board.title}"
    yield ""
    if network.spec.random_weights:
        yield "**Random weights: for latency only.**"
        yield ""
    yield (
        f"A detector of {classes} classes, input {size.width}x{size.height}, {precision}, lowered for "
        f"{network.lowering}; for {target}. Pre- and post-processing are in `spec.json` and in the model."
    )
    yield ""


def _install(target: Target, *, prebuilt: bool) -> Iterator[str]:
    yield "## Install"
    yield ""
    yield "```sh"
    yield "sh install.sh"
    yield "./selftest"
    yield "```"
    yield ""
    built = "takes the program built beforehand" if prebuilt else "builds the program"
    engine = ", builds the engine for this very device" if target.tensorrt is not None else ""
    yield (
        f"`install.sh` checks the files and the device, {built}{engine} and runs the self-test. It writes below "
        "`installed/` alone, uses no network unless `--download` is given, and says which packages are missing. Run "
        "again, it does what is left to do. `selftest` exits with 0 where this device finds what was found where the "
        "bundle was made, 1 where it does not, 2 where it could not be run."
    )
    yield ""


def _power(target: Target) -> Iterator[str]:
    power = target.board.power
    yield "## Clocks"
    yield ""
    if target.board.jetpacks:
        yield "Power modes by name, of the board's own table; ids are different on each board:"
        yield ""
        yield "```sh"
        yield "grep POWER_MODEL /etc/nvpmodel.conf"
        if target.fastest_mode is not None:
            yield f'sudo nvpmodel -m "$({MODE_ID.format(name=target.fastest_mode)})"'
        else:
            yield "sudo nvpmodel -m ID"
        yield "sudo jetson_clocks"
        yield "```"
        yield ""
    if power.note is not None:
        yield f"{_sentence(power.note)}"
        yield ""


def _run(target: Target) -> Iterator[str]:
    model = "model.onnx" if target.tensorrt is None else "installed/model.engine"
    yield "## Run"
    yield ""
    yield "```sh"
    yield f"installed/bin/edgedet-run {model} IMAGE..."
    yield f"installed/bin/edgedet-run {model} --benchmark"
    yield "```"
    yield ""
    yield (
        "Detections come as one JSON object a line. At boot: set SOURCE in /etc/default/edgedet and run "
        "`sudo sh install.sh --service USER`, then `sudo systemctl enable --now edgedet`."
    )
    yield ""


def _device(target: Target) -> Iterator[str]:
    board, software = target.board, target.software
    rows = {
        "JetPack": ", ".join(software.releases) or None,
        "L4T": ", ".join(software.l4t) or None,
        "Ubuntu, Python": None if software.ubuntu is None else f"{software.ubuntu}, {software.python}",
        "CUDA, cuDNN": ", ".join(filter(None, (software.cuda, software.cudnn))) or None,
        "TensorRT": software.tensorrt,
        "compute capability": board.compute_capability,
        "compiler, CMake": f"{software.compiler}, {software.cmake}",
        "deep learning accelerators": board.dla_cores,
    }
    yield "## Made for"
    yield ""
    yield "| | |"
    yield "| --- | --- |"
    yield from (f"| {name} | {value} |" for name, value in rows.items() if value is not None)
    yield ""
    for note in (board.note, software.note):
        if note is not None:
            yield note
            yield ""


def _integrations(names: Sequence[str], target: Target) -> Iterator[str]:
    repository = "triton" if target.tensorrt is None else "installed/triton"
    folders = {
        "triton": f"`{repository}` is a model repository: `tritonserver --model-repository={repository}`.",
        "triton-ensemble": f"`{repository}/edgedet_ensemble`: an image (uint8 BGR) in, detections in its pixels out.",
        "deepstream": "`deepstream/README.md` says how `nvinfer` runs this model, and how exact that is.",
        "ros2": "`ros2/README.md`: a minimal node.",
        "gstreamer": "`gstreamer/pipelines.txt`: cameras, streams and files as frames for a program.",
    }
    if names:
        yield "## Inside other programs"
        yield ""
        yield from (f"- {folders[name]}" for name in names)
        yield ""


def _verified(target: Target) -> Iterator[str]:
    yield "## What is proved, and what is not"
    yield ""
    yield f"Proved where the bundle was made: {', '.join(target.board.verified)}."
    if target.board.unverified:
        yield f"Not proved: {', '.join(target.board.unverified)}. The self-test on your device is the proof."


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
