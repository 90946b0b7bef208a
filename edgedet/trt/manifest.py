"""What stands beside an engine: everything it depends on, checked before a byte of the plan is looked at by TensorRT.

The plan itself stays as TensorRT made it, so that trtexec, Triton and DeepStream load it.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from edgedet.config import Digest, Frozen, parse
from edgedet.errors import EdgedetError
from edgedet.files import MEBIBYTE, atomic_path, read_text
from edgedet.spec import Spec
from edgedet.trt.versions import AMPERE_PLUS, SAME_COMPUTE_CAPABILITY, Version

MANIFEST_LIMIT = 4 * MEBIBYTE
ENGINE_LIMIT = 2048 * MEBIBYTE

ComputeCapability = Annotated[str, Field(pattern=r"^\d{1,2}\.\d$")]
VersionText = Annotated[str, Field(pattern=r"^\d{1,3}(\.\w{1,9}){1,3}$")]
Text = Annotated[str, Field(max_length=4096)]
Side = Annotated[int, Field(ge=1)]


class Profile(Frozen):
    """Batch sizes of an engine.

    Attributes:
        smallest, best, largest: what it takes, and what its kernels were chosen for; equal where the batch is fixed.
    """

    smallest: Side = 1
    best: Side = 1
    largest: Side = 1

    @property
    def is_fixed(self) -> bool:
        """Whether the engine takes one batch size alone."""
        return self.smallest == self.largest


class BuildOptions(Frozen):
    """What was asked of the builder; see `edgedet build --help`.

    Attributes:
        precision: the lowest that may be computed in; None takes int8 of a quantized model, fp16 of a float one.
        keep_float: blocks of an INT8 network that are computed in float, e.g. `backbone.features.7`.
        strongly_typed: let the network's types decide, not the builder; always so from TensorRT 11 on.
        profile: batch sizes, for a model of a free batch size.
        workspace_mebibytes: memory that a layer may use for itself; None takes what is free, less a tenth.
        dla_core: run on this core of the deep learning accelerator.
        optimization_level: 0 to 5; None is TensorRT's own default.
        version_compatible: let newer versions of TensorRT load it too.
        hardware_compatibility: let other GPUs load it too: `ampere-plus` or `same-compute-capability`.
        serialize_operators: put the library of operators into the plan; only into a version-compatible one.
    """

    precision: Literal["fp32", "fp16", "int8"] | None = None
    keep_float: tuple[Text, ...] = ()
    strongly_typed: bool = False
    profile: Profile = Profile()
    workspace_mebibytes: Annotated[int, Field(ge=1)] | None = None
    dla_core: Annotated[int, Field(ge=0, le=7)] | None = None
    optimization_level: Annotated[int, Field(ge=0, le=5)] | None = None
    version_compatible: bool = False
    hardware_compatibility: Literal["ampere-plus", "same-compute-capability"] | None = None
    serialize_operators: bool = False

    def arguments(self) -> list[str]:
        """The options of `edgedet build` that ask for this."""
        profile = self.profile
        values = {
            "--precision": self.precision,
            "--batches": None if profile == Profile() else f"{profile.smallest}:{profile.best}:{profile.largest}",
            "--workspace": self.workspace_mebibytes,
            "--dla": self.dla_core,
            "--optimization-level": self.optimization_level,
            "--hardware-compatibility": self.hardware_compatibility,
        }
        switches = {
            "--strongly-typed": self.strongly_typed,
            "--version-compatible": self.version_compatible,
            "--serialize-operators": self.serialize_operators,
        }
        given = [word for option, value in values.items() if value is not None for word in (option, str(value))]
        given += [word for block in self.keep_float for word in ("--keep-float", block)]
        return [*given, *(option for option, on in switches.items() if on)]


class Platform(Frozen):
    """The machine that an engine was built on, or is to run on.

    Attributes:
        tensorrt: version of the library.
        compute_capability, gpu, multiprocessors: of the GPU.
        cuda_runtime, cuda_driver: CUDA's versions.
        board, jetpack, l4t, power_mode, driver: None where there is no such thing.
    """

    tensorrt: VersionText
    compute_capability: ComputeCapability
    gpu: Text
    multiprocessors: Annotated[int, Field(ge=1)]
    cuda_runtime: Text
    cuda_driver: Text
    board: Text | None = None
    jetpack: Text | None = None
    l4t: Text | None = None
    power_mode: Text | None = None
    driver: Text | None = None


class File(Frozen):
    """A file that an engine was made of.

    Attributes:
        name: without its folder.
        sha256: of its bytes.
    """

    name: Text
    sha256: Digest


class Tensor(Frozen):
    """An input or output of the engine.

    Attributes:
        shape: None where the batch is free.
    """

    name: Text
    is_input: bool
    shape: tuple[int | None, ...]
    dtype: Text


class Manifest(Frozen):
    """Everything an engine depends on.

    Attributes:
        version: of this format.
        edgedet: version of this program.
        engine: the plan.
        onnx: the file that `edgedet build` was given.
        lowered_sha256: of the bytes that TensorRT parsed.
        checkpoint_sha256: of the checkpoint that the ONNX file was exported from; None where the file does not say.
        calibration_sha256: of the images that its quantizers were calibrated on; None as before, and for float ones.
        operators: the library of edgedet's operators that the engine needs; None for one that needs none.
        timing_cache: what was known of kernels' times after the build; None where none was kept.
        lowering: the target that the network was lowered for.
        options: what was asked.
        strongly_typed: whether the network's types decided.
        built_on: the machine.
        tensors: inputs and outputs.
        spec: pre- and post-processing.
        build_seconds: of the builder alone.
        peak_memory_bytes: of this process on the host while it built.
        device_memory_bytes: what running the engine takes beside its weights; None where TensorRT does not say.
    """

    version: Literal[1] = 1
    edgedet: Text
    engine: File
    onnx: File
    lowered_sha256: Digest
    checkpoint_sha256: Digest | None = None
    calibration_sha256: Digest | None = None
    operators: File | None = None
    timing_cache: File | None = None
    lowering: Text
    options: BuildOptions
    strongly_typed: bool
    built_on: Platform
    tensors: tuple[Tensor, ...]
    spec: Spec
    build_seconds: Annotated[float, Field(ge=0)]
    peak_memory_bytes: Annotated[int, Field(ge=0)]
    device_memory_bytes: Annotated[int, Field(ge=0)] | None = None

    def rebuild_command(self) -> str:
        """The command that makes the engine anew; file names without folders."""
        operators = [] if self.operators is None else ["--operators", self.operators.name]
        words = ["edgedet", "build", self.onnx.name, *self.options.arguments(), *operators, "--out", self.engine.name]
        return shlex.join(words)


def manifest_path(engine: Path) -> Path:
    """Beside the engine: `model.engine.json`."""
    return engine.with_name(f"{engine.name}.json")


def write_engine(path: Path, plan: bytes, manifest: Manifest) -> None:
    """Writes a plan and its manifest, each all or nothing; a plan beside another's manifest would be refused."""
    with atomic_path(manifest_path(path)) as described, atomic_path(path) as temporary:
        described.write_text(manifest.model_dump_json(indent=2) + "\n")
        temporary.write_bytes(plan)


def read_manifest(engine: Path) -> Manifest:
    """The manifest beside an engine.

    Raises:
        EdgedetError: there is none, or it is broken.
    """
    path = manifest_path(engine)
    if not path.is_file():
        raise EdgedetError(
            f"its manifest {path.name} is not beside it",
            where=engine,
            fix="copy it with the engine, or build the engine with edgedet build on this machine",
        )
    try:
        values = json.loads(read_text(path, limit=MANIFEST_LIMIT))
    except (ValueError, RecursionError) as error:
        raise EdgedetError("not valid JSON", where=path, fix="copy it again, or build the engine again") from error
    if not isinstance(values, dict):
        raise EdgedetError("not a JSON object", where=path, fix="copy it again, or build the engine again")
    return parse(Manifest, values, where=path)


def differences(manifest: Manifest, plan_sha256: str, here: Platform, operators_sha256: str | None) -> Iterator[str]:
    """What keeps an engine from being loaded here, each in words; nothing where all is as it was built.

    Args:
        manifest: of the engine.
        plan_sha256: of the plan's bytes.
        here: this machine.
        operators_sha256: of the library that would be opened for it; None for none.
    """
    if plan_sha256 != manifest.engine.sha256:
        yield "the plan is not the one that the manifest was written for: changed, cut off or replaced"
    yield from _other_tensorrt(manifest, here)
    yield from _other_gpu(manifest, here)
    needed = manifest.operators
    if needed is not None and operators_sha256 is not None and operators_sha256 != needed.sha256:
        yield f"its library of operators {needed.name} is not the one that it was built with"


def _other_tensorrt(manifest: Manifest, here: Platform) -> Iterator[str]:
    built, found = Version.parse(manifest.built_on.tensorrt), Version.parse(here.tensorrt)
    if manifest.options.version_compatible and built <= found:
        return
    if built != found:
        newer = (
            ", and a version-compatible plan runs on newer ones alone" if manifest.options.version_compatible else ""
        )
        yield f"built by TensorRT {built}, and this is {found}{newer}"


def _other_gpu(manifest: Manifest, here: Platform) -> Iterator[str]:
    built, level = manifest.built_on, manifest.options.hardware_compatibility
    if level == AMPERE_PLUS:
        if float(here.compute_capability) < 8.0:
            yield f"built for compute capability 8.0 and later, and this GPU has {here.compute_capability}"
    elif built.compute_capability != here.compute_capability:
        yield f"built for compute capability {built.compute_capability}, and this GPU has {here.compute_capability}"
    elif level != SAME_COMPUTE_CAPABILITY and (built.gpu, built.multiprocessors) != (here.gpu, here.multiprocessors):
        yield (
            f"its kernels were chosen on {built.gpu} with {built.multiprocessors} multiprocessors, "
            f"and this is {here.gpu} with {here.multiprocessors}"
        )
