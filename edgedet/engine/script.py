"""The Polygraphy script that builds the same engine, for people who want to go on from there."""

from __future__ import annotations

from pathlib import Path

from edgedet.engine.network import INPUT, Network
from edgedet.engine.recipe import Recipe
from edgedet.trt import versions
from edgedet.trt.manifest import BuildOptions
from edgedet.trt.versions import Version


def polygraphy_script(recipe: Recipe) -> str:
    """A Python program of its own, which needs TensorRT and Polygraphy alone.

    Raises:
        EdgedetError: Polygraphy does not drive this version.
    """
    versions.require_buildable(recipe.version)
    network, options = recipe.network, recipe.options
    held = network.float32_nodes
    finishing = _finishing(options, recipe.operators)
    lines = [
        "import tensorrt as trt",
        "from polygraphy.backend.trt import (",
        "    CreateConfig, NetworkFromOnnxPath, PostprocessConfig, PostprocessNetwork, Profile,",
        "    engine_bytes_from_network,",
        ")",
        "",
        *_opening(recipe.version, recipe.operators),
        *_holding(held),
        *finishing,
        f"network = NetworkFromOnnxPath({str(recipe.onnx)!r}, strongly_typed={network.strongly_typed})",
    ]
    if held:
        lines.append("network = PostprocessNetwork(network, hold_in_float32)")
    lines.append("config = CreateConfig(")
    lines += [f"    {name}={value}," for name, value in _arguments(network, options, held, recipe.timing_cache).items()]
    lines.append(")")
    if finishing:
        lines.append("config = PostprocessConfig(config, finish)")
    saved = "" if recipe.timing_cache is None else f", save_timing_cache={str(recipe.timing_cache)!r}"
    lines += [
        f"plan = engine_bytes_from_network(network, config{saved})",
        f"with open({str(recipe.out)!r}, 'wb') as file:",
        "    file.write(plan)",
    ]
    return "\n".join(lines) + "\n"


def _opening(version: Version, operators: Path | None) -> list[str]:
    if operators is None:
        return []
    if versions.registry_opens_libraries(version):
        return [f"trt.get_plugin_registry().load_library({str(operators)!r})", ""]
    return ["import ctypes", f"ctypes.CDLL({str(operators)!r})", ""]


def _holding(held: tuple[str, ...]) -> list[str]:
    """What `versions.hold_in_float32` does."""
    if not held:
        return []
    return [
        "import re",
        "",
        "FLOAT32 = {",
        *(f"    {node!r}," for node in held),
        "}",
        "WITHOUT = (trt.LayerType.CONSTANT, trt.LayerType.CONCATENATION, trt.LayerType.SHAPE)",
        "",
        "",
        "def hold_in_float32(network):",
        "    for layer in network:",
        "        names = {layer.name, re.sub(r'_\\d+$', '', layer.name)}",
        "        types = [layer.get_output(place).dtype for place in range(layer.num_outputs)]",
        "        floats = [place for place, dtype in enumerate(types) if dtype in (trt.float32, trt.float16)]",
        "        if names & FLOAT32 and layer.type not in WITHOUT and floats:",
        "            layer.precision = trt.float32",
        "            for place in floats:",
        "                layer.set_output_type(place, trt.float32)",
        "",
        "",
    ]


def _finishing(options: BuildOptions, operators: Path | None) -> list[str]:
    lines = []
    if options.dla_core is not None:
        lines.append(f"    config.DLA_core = {options.dla_core}")
    if options.serialize_operators and operators is not None:
        lines.append(f"    config.plugins_to_serialize = [{str(operators)!r}]")
    return ["def finish(builder, network, config):", *lines, "", ""] if lines else []


def _arguments(
    network: Network, options: BuildOptions, held: tuple[str, ...], timing_cache: Path | None
) -> dict[str, str]:
    """Of CreateConfig, as Python text."""
    shapes = ", ".join(map(str, network.input_shapes(options.profile)))
    arguments = {
        name: str(value)
        for name, value in versions.precision_flags(network.precision, strongly_typed=network.strongly_typed).items()
    }
    arguments["profiles"] = f"[Profile().add({INPUT!r}, {shapes})]"
    arguments["profiling_verbosity"] = "trt.ProfilingVerbosity.DETAILED"
    if held and options.dla_core is None:
        arguments["precision_constraints"] = "'obey'"
    if options.workspace_mebibytes is not None:
        arguments["memory_pool_limits"] = f"{{trt.MemoryPoolType.WORKSPACE: {options.workspace_mebibytes} << 20}}"
    if options.optimization_level is not None:
        arguments["builder_optimization_level"] = str(options.optimization_level)
    if options.hardware_compatibility is not None:
        level = versions.HARDWARE_LEVELS[options.hardware_compatibility]
        arguments["hardware_compatibility_level"] = f"trt.HardwareCompatibilityLevel.{level}"
    if options.version_compatible:
        arguments["version_compatible"] = "True"
    if options.dla_core is not None:
        arguments |= {"use_dla": "True", "allow_gpu_fallback": "True"}
    if timing_cache is not None:
        arguments["load_timing_cache"] = repr(str(timing_cache))
    return arguments
