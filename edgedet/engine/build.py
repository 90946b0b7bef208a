"""From an ONNX file to an engine with its manifest, written only after it ran and agreed."""

from __future__ import annotations

import hashlib
import resource
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgedet import __version__
from edgedet.engine.agreement import Comparison, compare_engine
from edgedet.engine.builder import Plan, build_plan
from edgedet.engine.network import Network, read_network
from edgedet.engine.progress import BuildWatcher, NobodyWatches
from edgedet.errors import EdgedetError
from edgedet.files import MEBIBYTE, read_bytes, require_output, sha256_file, write_bytes
from edgedet.graph.verify import verification_images
from edgedet.runtime.backends.onnxruntime import MODEL_LIMIT
from edgedet.runtime.backends.tensorrt import TensorRTBackend
from edgedet.trt import cuda, versions
from edgedet.trt.engine import Engine, open_engine
from edgedet.trt.manifest import BuildOptions, File, Manifest, Platform, Profile, Tensor, write_engine
from edgedet.trt.operators import find_operators
from edgedet.trt.platform import this_platform
from edgedet.trt.versions import INT8, Version

SUFFIX, ONNX_SUFFIX = ".engine", ".onnx"
TIMING_CACHE_SUFFIX = ".timing-cache"
TIMING_CACHE_LIMIT = 256 * MEBIBYTE
WORKSPACE_SHARE = 0.9
"""Of the free memory."""


@dataclass(frozen=True)
class Built:
    """A written engine.

    Attributes:
        path: the plan; the manifest stands beside it.
        size_bytes: of the plan.
        manifest: everything it depends on.
        comparison: how far it differs from ONNX Runtime on the same network.
        unheld: nodes that were to be computed in float32 and that TensorRT has no layer of.
        on_gpu: layers that the deep learning accelerator does not take; empty without one.
    """

    path: Path
    size_bytes: int
    manifest: Manifest
    comparison: Comparison
    unheld: tuple[str, ...]
    on_gpu: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON can hold it."""
        return {
            "path": str(self.path),
            "size_bytes": self.size_bytes,
            "manifest": self.manifest.model_dump(mode="json"),
            "comparison": asdict(self.comparison),
            "unheld": list(self.unheld),
            "on_gpu": list(self.on_gpu),
        }


def build_engine(
    model: Path,
    out: Path | None = None,
    options: BuildOptions | None = None,
    *,
    operators: Path | None = None,
    data: Path | None = None,
    timing_cache: Path | None = None,
    keep_timing_cache: bool = True,
    watcher: BuildWatcher | None = None,
) -> Built:
    """Builds the engine of an ONNX file for this machine.

    Args:
        model: the master, or a file that was exported for TensorRT.
        out: the engine to write, ending in `.engine`; None means beside the model. Left as it was where the build or
            the comparison fails.
        options: what is asked of the builder.
        operators: library of edgedet's operators as TensorRT plugins: code that is run. None looks for one where
            libraries are installed, if the model needs it.
        data: images, to measure ranges of float16 on and to compare on; None generates some.
        timing_cache: file of times that the builder measured before; None means beside the engine.
        keep_timing_cache: read and write that file.
        watcher: hears of the builder's progress.

    Raises:
        EdgedetError: the model cannot be built for this TensorRT, or the builder fails.
        CheckFailedError: the engine does not agree with ONNX Runtime.
        ModuleNotFoundError: TensorRT's Python module is not installed.
    """
    options = options or BuildOptions()
    out = out or model.with_suffix(SUFFIX)
    require_output(out, SUFFIX)
    version = versions.installed()
    versions.require_buildable(version)
    require_options(options, version)
    here = this_platform()
    onnx = File(name=model.name, sha256=hashlib.sha256(read_bytes(model, limit=MODEL_LIMIT)).hexdigest())
    images = verification_images(data)
    network = read_network(model, version, options, images)
    options = settled(options, network)
    library = find_operators(operators) if network.needs_operators else None
    needed = None if library is None else File(name=library.name, sha256=sha256_file(library))
    require_library(options, library)
    cache = timing_cache or out.with_suffix(TIMING_CACHE_SUFFIX)
    plan = build_plan(
        network,
        options,
        operators=library,
        timing_cache=_read_timing_cache(cache) if keep_timing_cache else b"",
        workspace_bytes=_workspace_bytes(options),
        watcher=watcher or NobodyWatches(),
    )
    if options.serialize_operators and library is not None:
        versions.close_operators(versions.module(), library)
    engine = open_engine(
        plan.data,
        where=out,
        operators=None if options.serialize_operators else library,
        allow_code=options.version_compatible,
        dla_core=options.dla_core,
    )
    manifest = _manifest(out, onnx, network, options, here, plan, engine, needed)
    if keep_timing_cache and plan.timing_cache:
        digest = hashlib.sha256(plan.timing_cache).hexdigest()
        manifest = manifest.model_copy(update={"timing_cache": File(name=cache.name, sha256=digest)})
    comparison = compare_engine(TensorRTBackend(engine, manifest), network, images, where=out)
    if keep_timing_cache and plan.timing_cache:
        write_bytes(cache, plan.timing_cache)
    write_engine(out, plan.data, manifest)
    return Built(out, len(plan.data), manifest, comparison, plan.unheld, plan.on_gpu)


def require_options(options: BuildOptions, version: Version) -> None:
    """Refuses what this TensorRT cannot do, or what does not go together.

    Raises:
        EdgedetError: it says which.
    """
    versions.require_compatibility(
        version, version_compatible=options.version_compatible, hardware=options.hardware_compatibility
    )
    if options.serialize_operators and not options.version_compatible:
        raise EdgedetError("only version-compatible plans carry libraries", fix="add --version-compatible")
    if options.optimization_level is not None:
        versions.require_optimization_level(version)
    if options.dla_core is None:
        return
    versions.require_dla(version)
    if options.precision in (None, INT8) and not versions.is_strongly_typed(version):
        raise EdgedetError(
            "this TensorRT's accelerator takes no quantizers as GPUs do", fix="give --precision fp16 with --dla"
        )
    if not options.profile.is_fixed:
        raise EdgedetError("the accelerator takes one batch size alone", fix="give --batches N with --dla")


def require_library(options: BuildOptions, library: Path | None) -> None:
    """Refuses to put a library into a plan that needs none.

    Raises:
        EdgedetError: that is asked for.
    """
    if options.serialize_operators and library is None:
        fix = "leave --serialize-operators out"
        raise EdgedetError("the model has no operators of edgedet: there is no library to put in", fix=fix)


def settled(options: BuildOptions, network: Network) -> BuildOptions:
    """The options with what the network decides: its precision, and its batch where that is fixed.

    Raises:
        EdgedetError: another batch is asked for than the network's.
    """
    profile = options.profile
    if network.batch is not None:
        fixed = Profile(smallest=network.batch, best=network.batch, largest=network.batch)
        if profile not in (Profile(), fixed):
            fix = "leave --batches out, or export the model with --dynamic-batch"
            raise EdgedetError(f"the model takes {network.batch} at once, no other batch", where="--batches", fix=fix)
        profile = fixed
    return options.model_copy(update={"profile": profile, "precision": network.precision})


def _manifest(
    out: Path,
    onnx: File,
    network: Network,
    options: BuildOptions,
    here: Platform,
    plan: Plan,
    engine: Engine,
    operators: File | None,
) -> Manifest:
    return Manifest(
        edgedet=__version__,
        engine=File(name=out.name, sha256=hashlib.sha256(plan.data).hexdigest()),
        onnx=onnx,
        lowered_sha256=hashlib.sha256(network.model.SerializeToString()).hexdigest(),
        checkpoint_sha256=network.provenance.checkpoint_sha256,
        calibration_sha256=network.provenance.calibration_sha256,
        operators=operators,
        lowering=network.lowering,
        options=options,
        strongly_typed=network.strongly_typed,
        built_on=here,
        tensors=tuple(Tensor(**asdict(tensor)) for tensor in engine.tensors),
        spec=network.spec,
        build_seconds=round(plan.seconds, 3),
        peak_memory_bytes=_peak_memory_bytes(),
        device_memory_bytes=versions.device_memory_bytes(engine.engine),
    )


def _peak_memory_bytes() -> int:
    """Of this process so far; Linux counts in KiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _workspace_bytes(options: BuildOptions) -> int:
    if options.workspace_mebibytes is not None:
        return options.workspace_mebibytes * MEBIBYTE
    return int(cuda.free_memory_bytes() * WORKSPACE_SHARE)


def _read_timing_cache(path: Path) -> bytes:
    return read_bytes(path, limit=TIMING_CACHE_LIMIT) if path.is_file() else b""
