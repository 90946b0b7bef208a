"""How to build an engine elsewhere: the lowered network on disk, and what to do with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgedet.engine.build import ONNX_SUFFIX, SUFFIX, TIMING_CACHE_SUFFIX, require_library, require_options, settled
from edgedet.engine.network import Network, read_network
from edgedet.files import write_bytes
from edgedet.graph.verify import verification_images
from edgedet.trt.manifest import BuildOptions
from edgedet.trt.operators import LIBRARY
from edgedet.trt.versions import Version


@dataclass(frozen=True)
class Recipe:
    """What builds an engine.

    Attributes:
        network: lowered for the version.
        options: settled for the network.
        version: of TensorRT.
        onnx: where the lowered network was written.
        out: the engine to write.
        operators: library of plugins that it needs; None for one that needs none.
        timing_cache: file of times to read and write; None for none.
    """

    network: Network
    options: BuildOptions
    version: Version
    onnx: Path
    out: Path
    operators: Path | None
    timing_cache: Path | None


def write_recipe(
    model: Path,
    out: Path | None,
    options: BuildOptions,
    version: Version,
    *,
    operators: Path | None = None,
    data: Path | None = None,
    timing_cache: Path | None = None,
    keep_timing_cache: bool = True,
) -> Recipe:
    """Lowers a network for a version, writes it beside the engine to come, and says how to build that.

    Args:
        version: need not be installed; see `edgedet.engine.build.build_engine` for the others.

    Raises:
        EdgedetError: the model cannot be built for this version.
    """
    out = out or model.with_suffix(SUFFIX)
    require_options(options, version)
    network = read_network(model, version, options, verification_images(data))
    library = (operators or Path(LIBRARY)) if network.needs_operators else None
    require_library(options, library)
    onnx = out.with_suffix(f".tensorrt{version.major}.{version.minor}{ONNX_SUFFIX}")
    write_bytes(onnx, network.model.SerializeToString(deterministic=True))
    return Recipe(
        network,
        settled(options, network),
        version,
        onnx,
        out,
        library,
        (timing_cache or out.with_suffix(TIMING_CACHE_SUFFIX)) if keep_timing_cache else None,
    )
