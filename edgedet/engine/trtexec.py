"""The trtexec command that builds the same engine."""

from __future__ import annotations

import shlex

from edgedet.engine.network import INPUT, Network
from edgedet.engine.recipe import Recipe
from edgedet.ops.diou_nms.definition import OP_TYPE
from edgedet.trt import versions

NMS_OUTPUT_TYPES = "int32+fp32+fp32+int32"

TRTEXEC = "trtexec"
"""On a Jetson in /usr/src/tensorrt/bin."""


def trtexec_command(recipe: Recipe) -> str:
    """One line for a shell."""
    network, options, version = recipe.network, recipe.options, recipe.version
    words = [
        TRTEXEC,
        f"--onnx={recipe.onnx}",
        f"--saveEngine={recipe.out}",
        "--noTF32",
        "--profilingVerbosity=detailed",
    ]
    if network.batch is None:
        for name, shape in zip(("min", "opt", "max"), network.input_shapes(options.profile), strict=True):
            words.append(f"--{name}Shapes={INPUT}:{'x'.join(map(str, shape))}")
    words += versions.trtexec_flags(
        version,
        network.precision,
        strongly_typed=network.strongly_typed,
        float32_layers={name: _output_types(name, network) for name in network.float32_nodes},
        on_dla=options.dla_core is not None,
        operators=None if recipe.operators is None else str(recipe.operators),
        serialize_operators=options.serialize_operators,
    )
    if options.workspace_mebibytes is not None:
        words.append(versions.workspace_flag(version, options.workspace_mebibytes))
    if options.dla_core is not None:
        words += [f"--useDLACore={options.dla_core}", "--allowGPUFallback"]
    if options.optimization_level is not None:
        words.append(f"--builderOptimizationLevel={options.optimization_level}")
    if options.version_compatible:
        words.append("--versionCompatible")
    if options.hardware_compatibility is not None:
        words.append(f"--hardwareCompatibilityLevel={versions.TRTEXEC_HARDWARE_LEVELS[options.hardware_compatibility]}")
    if recipe.timing_cache is not None:
        words.append(f"--timingCacheFile={recipe.timing_cache}")
    return shlex.join(words)


def _output_types(name: str, network: Network) -> str:
    """Of the layer that a node becomes, in float32; detections have integers among them."""
    suppresses = any(node.name == name and node.op_type == OP_TYPE for node in network.model.graph.node)
    return NMS_OUTPUT_TYPES if suppresses else "fp32"
