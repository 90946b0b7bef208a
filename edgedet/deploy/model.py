"""The network of a bundle: lowered for its target, what golden results are computed on, and how an engine is built."""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from edgedet import __version__
from edgedet.deploy.contents import INSTALLED
from edgedet.deploy.targets import Target
from edgedet.engine.build import ONNX_SUFFIX
from edgedet.engine.recipe import Recipe, write_recipe
from edgedet.engine.trtexec import trtexec_command
from edgedet.errors import EdgedetError, unknown_value
from edgedet.files import sha256_file
from edgedet.graph.lower_file import describe, has_operators, interface, lower_file, marked
from edgedet.graph.verify import verification_images
from edgedet.runtime.backends.onnxruntime import MODEL_LIMIT
from edgedet.spec import Spec
from edgedet.trt.manifest import (
    ENGINE_LIMIT,
    BuildOptions,
    File,
    Manifest,
    Platform,
    Tensor,
    manifest_path,
    read_manifest,
)
from edgedet.trt.operators import LIBRARY
from edgedet.trt.versions import Version

MODEL, ENGINE = "model.onnx", "model.engine"


@dataclass(frozen=True)
class Network:
    """What a bundle runs.

    Attributes:
        data: the ONNX file, lowered for the target.
        reference: the same for ONNX Runtime: with the functions of operators that TensorRT has plugins for.
        spec: pre- and post-processing.
        lowering: what it was lowered for.
        quantized: whether it computes in INT8.
        has_nms: whether it suppresses boxes itself.
        has_operators: whether operators of edgedet's are in it, for which there is a library.
        batch: images at once; None where that is free.
        sha256: of the file that it was made of.
        checkpoint_sha256, calibration_sha256: of what that file says it was made of.
        build: trtexec's command for the engine, below the bundle's folder; None where ONNX Runtime runs the network.
        engine_manifest: what is to stand beside that engine, with `@NAMES@` for what only the device knows; None as
            before.
    """

    data: bytes
    reference: bytes
    spec: Spec
    lowering: str
    quantized: bool
    has_nms: bool
    has_operators: bool
    batch: int | None
    sha256: str
    checkpoint_sha256: str | None
    calibration_sha256: str | None
    build: str | None
    engine_manifest: str | None


def network_for(model: Path, target: Target, *, nms: bool = False, data: Path | None = None) -> Network:
    """The network in a checkpoint or an ONNX file, lowered for a target and held to what it was made of.

    Args:
        model: a checkpoint (`.pt`, which needs PyTorch), a master, or a file exported for this target (`.onnx`).
        target: what it is lowered for.
        nms: put DIoU-NMS into the network; of checkpoints only.
        data: images that the two are compared on, and that ranges are measured on; None generates some.

    Raises:
        EdgedetError: the file is missing, not one of edgedet's, or cannot be lowered for the target.
        CheckFailedError: the lowering gives something else.
    """
    if not model.is_file():
        raise EdgedetError("no such model file", where=model, fix="check the path")
    if model.suffix not in (".pt", ONNX_SUFFIX):
        raise unknown_value("kind of model file", model.suffix, [".pt", ONNX_SUFFIX], where=model)
    with tempfile.TemporaryDirectory() as folder:
        source = model
        if model.suffix == ".pt":
            source = _exported(model, target, Path(folder), nms=nms, data=data)
        elif nms:
            raise EdgedetError("an ONNX file has NMS inside or not", where="--nms", fix="give the checkpoint (.pt)")
        found = _of_file(source, target, Path(folder), data)
    return replace(found, sha256=sha256_file(model))


def _exported(model: Path, target: Target, folder: Path, *, nms: bool, data: Path | None) -> Path:
    """The master of a checkpoint; for ONNX Runtime in INT8 the lowering itself, held to the checkpoint."""
    from edgedet.graph.export import export_model

    exported = export_model(str(model), folder / "master.onnx", nms=nms, data=data)
    if target.tensorrt is None and exported.quantized:
        lowering = target.lowering(quantized=True)
        return export_model(str(model), folder / "lowered.onnx", target=lowering, nms=nms, data=data).path
    return exported.path


def _of_file(source: Path, target: Target, folder: Path, data: Path | None) -> Network:
    described = describe(source)
    version = target.tensorrt
    if version is None:
        lowering = target.lowering(quantized=described.quantized)
        lowered = lower_file(source, lowering, verification_images(data))
        reference, build, manifest = lowered, None, None
    else:
        recipe = write_recipe(source, folder / ENGINE, BuildOptions(), version, data=data)
        lowering = recipe.network.lowering
        lowered = marked(recipe.onnx.read_bytes(), lowering)
        reference = recipe.network.reference.SerializeToString(deterministic=True)
        build, manifest = _command(recipe), manifest_template(recipe, lowered)
    return Network(
        data=lowered,
        reference=reference,
        spec=described.spec,
        lowering=lowering,
        quantized=described.quantized,
        has_nms=described.has_nms,
        has_operators=has_operators(lowered),
        batch=described.batch,
        sha256="",
        checkpoint_sha256=described.provenance.checkpoint_sha256,
        calibration_sha256=described.provenance.calibration_sha256,
        build=build,
        engine_manifest=manifest,
    )


def _command(recipe: Recipe) -> str:
    """trtexec's, as `install.sh` runs it in the bundle's folder."""
    there = Path(INSTALLED)
    placed = replace(
        recipe,
        onnx=Path(MODEL),
        out=there / f"{ENGINE}.part",
        operators=None if recipe.operators is None else there / "lib" / LIBRARY,
        timing_cache=there / "model.timing-cache",
    )
    return trtexec_command(placed)


def manifest_template(recipe: Recipe, onnx: bytes) -> str:
    """The manifest of the engine that trtexec will build; `@NAMES@` stand for what the device fills in.

    Its `peak_memory_bytes` is 0: of trtexec that is not measured.
    """
    network, digest = recipe.network, hashlib.sha256(onnx).hexdigest()
    unknown = "0" * 64
    manifest = Manifest(
        edgedet=__version__,
        engine=File(name=ENGINE, sha256=unknown),
        onnx=File(name=MODEL, sha256=digest),
        lowered_sha256=digest,
        checkpoint_sha256=network.provenance.checkpoint_sha256,
        calibration_sha256=network.provenance.calibration_sha256,
        operators=None if recipe.operators is None else File(name=LIBRARY, sha256=unknown),
        lowering=network.lowering,
        options=recipe.options,
        strongly_typed=network.strongly_typed,
        built_on=Platform(
            tensorrt=str(recipe.version),
            compute_capability="0.0",
            gpu="",
            multiprocessors=1,
            cuda_runtime="",
            cuda_driver="",
        ),
        tensors=tuple(
            Tensor(name=name, is_input=is_input, shape=shape, dtype=dtype)
            for name, is_input, shape, dtype in interface(network.model)
        ),
        spec=network.spec,
        build_seconds=0,
        peak_memory_bytes=0,
    )
    values = manifest.model_dump(mode="json")
    values["engine"]["sha256"] = "@ENGINE_SHA256@"
    if values["operators"] is not None:
        values["operators"]["sha256"] = "@OPERATORS_SHA256@"
    for key in ("tensorrt", "compute_capability", "gpu", "multiprocessors", "cuda_runtime", "cuda_driver"):
        values["built_on"][key] = f"@{key.upper()}@"
    values["build_seconds"] = "@BUILD_SECONDS@"
    text = json.dumps(values, indent=2) + "\n"
    for number in ("@MULTIPROCESSORS@", "@BUILD_SECONDS@"):
        text = text.replace(f'"{number}"', number)
    return text


def engine_files(engine: Path, model: Path, target: Target, network: Network) -> dict[str, bytes]:
    """An engine and its manifest, to go with a bundle, if they were built of this model for this very device.

    Raises:
        EdgedetError: they were not; it says in what they differ.
    """
    manifest = read_manifest(engine)
    digest = sha256_file(engine)
    faults = list(_engine_faults(manifest, digest, model, target, network))
    if faults:
        fix = "leave --engine out: install.sh builds it on the device"
        raise EdgedetError(f"not the engine for this bundle: {'; '.join(faults)}", where=engine, fix=fix)
    if engine.stat().st_size > ENGINE_LIMIT or len(network.data) > MODEL_LIMIT:
        raise EdgedetError("too large for a bundle", where=engine)
    named = manifest.model_copy(update={"engine": manifest.engine.model_copy(update={"name": ENGINE})})
    described = (named.model_dump_json(indent=2) + "\n").encode()
    return {ENGINE: engine.read_bytes(), manifest_path(Path(ENGINE)).name: described}


def _engine_faults(manifest: Manifest, digest: str, model: Path, target: Target, network: Network) -> list[str]:
    built, version = manifest.built_on, target.tensorrt
    faults = []
    if version is None:
        return [f"{target.name} runs the network by ONNX Runtime"]
    if digest != manifest.engine.sha256:
        faults.append("it is not the one that its manifest was written for")
    if manifest.onnx.sha256 != sha256_file(model):
        faults.append(f"it was built of another file ({manifest.onnx.name}) than {model.name}")
    if Version.parse(built.tensorrt) != version:
        faults.append(f"built by TensorRT {built.tensorrt}, and {target} has {version}")
    if target.board.compute_capability not in (None, built.compute_capability):
        faults.append(f"built for compute capability {built.compute_capability}, not {target.board.compute_capability}")
    if target.board.boards and not any(name in (built.board or "") for name in target.board.boards):
        faults.append(f"built on {built.board or 'no Jetson'}, not on {target.board.title}")
    if manifest.spec != network.spec:
        faults.append("its pre- or post-processing is another")
    return faults
