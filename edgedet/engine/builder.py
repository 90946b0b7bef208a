"""Drives TensorRT's builder, by Polygraphy's loaders."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polygraphy.backend.trt import (
    CreateConfig,
    PostprocessConfig,
    Profile,
    engine_bytes_from_network,
    network_from_onnx_bytes,
)
from polygraphy.exception import PolygraphyException

from edgedet.engine.network import INPUT, Network
from edgedet.engine.polygraphy_log import kept_errors
from edgedet.engine.progress import BuildWatcher, new_monitor
from edgedet.errors import EdgedetError
from edgedet.interrupt import StopRequest, deferred_interrupt, in_thread
from edgedet.trt import versions
from edgedet.trt.manifest import BuildOptions
from edgedet.trt.versions import Version

OUT_OF_MEMORY = re.compile(r"out ?of ?memory|cudaErrorMemoryAllocation|insufficient memory", re.IGNORECASE)


@dataclass(frozen=True)
class Plan:
    """What the builder gave.

    Attributes:
        data: the serialized engine.
        timing_cache: serialized, with what was known before.
        seconds: that the builder took.
        unheld: nodes that were to be computed in float32, and that no layer was found of.
        on_gpu: layers that the accelerator does not take; empty without one.
    """

    data: bytes
    timing_cache: bytes
    seconds: float
    unheld: tuple[str, ...] = ()
    on_gpu: tuple[str, ...] = ()


def build_plan(
    network: Network,
    options: BuildOptions,
    *,
    operators: Path | None,
    timing_cache: bytes,
    workspace_bytes: int,
    watcher: BuildWatcher,
) -> Plan:
    """Parses the network and builds its engine.

    Args:
        network: lowered for this TensorRT.
        options: what is asked; its profile suits the network.
        operators: library of plugins to open before: code that is run.
        timing_cache: serialized; empty for none. One of another TensorRT or GPU is not used.
        workspace_bytes: memory that a layer may use for itself.
        watcher: hears of the progress, where TensorRT tells it.

    Raises:
        EdgedetError: TensorRT does not parse or build it: with its own last errors.
        KeyboardInterrupt: a person asked to stop.
    """
    trt = versions.module()
    with kept_errors() as errors, deferred_interrupt() as request:
        try:
            plan = in_thread(
                lambda: _build(trt, network, options, operators, timing_cache, workspace_bytes, watcher, request)
            )
        except (PolygraphyException, RuntimeError) as error:
            if request.wanted:
                raise KeyboardInterrupt from error
            raise _explained(error, errors, network) from error
    if request.wanted:
        raise KeyboardInterrupt
    return plan


def _build(
    trt: Any,
    network: Network,
    options: BuildOptions,
    operators: Path | None,
    timing_cache: bytes,
    workspace_bytes: int,
    watcher: BuildWatcher,
    request: StopRequest,
) -> Plan:
    if operators is not None:
        versions.load_operators(trt, operators)
    parsed = network_from_onnx_bytes(network.model.SerializeToString(), strongly_typed=network.strongly_typed or None)
    builder, definition, _ = parsed
    held = versions.hold_in_float32(trt, definition, network.float32_nodes) if network.float32_nodes else set()
    config = _config(trt, network, options, workspace_bytes)
    if versions.has_progress_monitor(Version.parse(trt.__version__)):
        config.progress_monitor = new_monitor(trt, watcher, request)
    on_gpu: list[str] = []
    finished = PostprocessConfig(
        config, lambda _, definition, settings: _finish(definition, settings, options, operators, on_gpu)
    )
    with tempfile.TemporaryDirectory() as folder:
        known, cache = Path(folder) / "known", Path(folder) / "cache"
        if timing_cache and _is_usable(builder, timing_cache):
            known.write_bytes(timing_cache)
            config.timing_cache_path = str(known)
        started = time.perf_counter()
        data = engine_bytes_from_network(parsed, finished, save_timing_cache=str(cache))
        seconds = time.perf_counter() - started
        measured = cache.read_bytes() if cache.is_file() else b""
    unheld = tuple(node for node in network.float32_nodes if node not in held)
    return Plan(bytes(data), measured, seconds, unheld, tuple(on_gpu))


def _config(trt: Any, network: Network, options: BuildOptions, workspace_bytes: int) -> CreateConfig:
    """TF32 stays off: it would round what must be float32, boxes above all."""
    held = network.float32_nodes and options.dla_core is None
    return CreateConfig(
        **versions.precision_flags(network.precision, strongly_typed=network.strongly_typed),
        profiles=[Profile().add(INPUT, *network.input_shapes(options.profile))],
        precision_constraints="obey" if held else None,
        memory_pool_limits={trt.MemoryPoolType.WORKSPACE: workspace_bytes},
        profiling_verbosity=trt.ProfilingVerbosity.DETAILED,
        builder_optimization_level=options.optimization_level,
        hardware_compatibility_level=versions.hardware_level(trt, options.hardware_compatibility),
        version_compatible=options.version_compatible,
        use_dla=options.dla_core is not None,
        allow_gpu_fallback=options.dla_core is not None,
    )


def _finish(definition: Any, config: Any, options: BuildOptions, operators: Path | None, on_gpu: list[str]) -> None:
    """What Polygraphy has no argument for; adds to `on_gpu` the layers that the accelerator does not take."""
    if options.serialize_operators and operators is not None:
        config.plugins_to_serialize = [str(operators.resolve())]
    if options.dla_core is not None:
        config.DLA_core = options.dla_core
        layers = [definition.get_layer(place) for place in range(definition.num_layers)]
        on_gpu += [layer.name for layer in layers if not config.can_run_on_DLA(layer)]


def _is_usable(builder: Any, timing_cache: bytes) -> bool:
    config = builder.create_builder_config()
    try:
        cache = config.create_timing_cache(timing_cache)
        return cache is not None and bool(config.set_timing_cache(cache, False))
    except (RuntimeError, TypeError, ValueError):
        return False


def _explained(error: Exception, errors: Sequence[str], network: Network) -> EdgedetError:
    said = [line.strip() for message in errors for line in message.splitlines() if line.strip()]
    text = "; ".join(dict.fromkeys(said[-6:])) or str(error)
    if any(OUT_OF_MEMORY.search(line) for line in said):
        return EdgedetError(
            f"out of memory while building ({text[:600]})",
            fix="stop what else runs on the GPU, or give a smaller --workspace or --optimization-level",
        )
    if "parse" in str(error).lower():
        return EdgedetError(
            f"TensorRT's parser does not take the network for {network.lowering} ({text[:600]})",
            fix="export the master (edgedet export model.pt) and build that; its lowering has no such operator",
        )
    return EdgedetError(f"TensorRT built nothing ({text[:600]})", fix="see edgedet doctor for faults of this version")
