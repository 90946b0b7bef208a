"""Where bundles run inside other programs: Triton, DeepStream, ROS 2 and GStreamer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from edgedet.deploy.contents import Entry
from edgedet.deploy.deepstream import deepstream_files
from edgedet.deploy.model import Network
from edgedet.deploy.robots import gstreamer_files, ros2_files
from edgedet.deploy.targets import Target
from edgedet.deploy.triton import triton_ensemble_files, triton_files
from edgedet.errors import EdgedetError, unknown_value

INTEGRATIONS: Mapping[str, Callable[[Network, Target], dict[str, Entry]]] = {
    "triton": triton_files,
    "triton-ensemble": triton_ensemble_files,
    "deepstream": deepstream_files,
    "ros2": ros2_files,
    "gstreamer": gstreamer_files,
}
"""By the names that `edgedet deploy --with` takes."""

OF_TENSORRT = ("deepstream",)


def require_integrations(names: Sequence[str], target: Target) -> None:
    """Refuses names that are none, and what a target cannot run.

    Raises:
        EdgedetError: it says which.
    """
    for name in names:
        if name not in INTEGRATIONS:
            raise unknown_value("integration", name, INTEGRATIONS, where="--with")
        if name in OF_TENSORRT and target.tensorrt is None:
            raise EdgedetError(f"{name} needs TensorRT, and {target.name} has none", where="--with")


def integration_files(network: Network, target: Target, names: Sequence[str]) -> dict[str, Entry]:
    """The files of all integrations that were asked for, each in its own folder."""
    files: dict[str, Entry] = {}
    for name in names:
        files |= INTEGRATIONS[name](network, target)
    return files
