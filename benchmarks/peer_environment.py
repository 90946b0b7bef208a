"""Makes an environment in which Ultralytics' detectors can be trained beside ours.

    python benchmarks/peer_environment.py FOLDER

Ultralytics is AGPL. It is no dependency of edgedet and never becomes one: nothing but this script installs it, into an
environment of its own, for whoever wants to compare (`accuracy_peers.py`, `training.py`, `loading.py`). edgedet itself
is installed there from this checkout, editable, with the versions of constraints.txt.

Ultralytics comes without its dependencies, and what it needs of them by name: so it brings neither a second OpenCV nor
another build of torch. Torch is whatever pip is set up to find, a CPU build where one is configured. A torchvision must
be of the same build as its torch; where none can be imported, a stand-in is written that has the one function which
training, validating and predicting boxes take from it.
"""

from __future__ import annotations

import argparse
import inspect
import os
import subprocess
import venv
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

ROOT = Path(__file__).resolve().parent.parent
PEERS = ("ultralytics==8.4.190", "ultralytics-thop", 'ultralytics-platform; python_version >= "3.11"')
NEEDS = (
    "matplotlib",
    "nvidia-ml-py",
    "opencv-python-headless",
    "pillow",
    "polars",
    "psutil",
    "pyyaml",
    "requests",
    "scipy",
)
STAND_IN_VERSION = "0.28.0"
"""The torchvision that belongs to the torch of constraints.txt: Ultralytics asks for the number."""


def nms(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """The places of the boxes that are kept, best first, as `torchvision.ops.nms` gives them.

    Block by block: the best of those left settle among themselves who stays, then suppress all others at once. One box
    at a time would take so long that the peer's validation reached its time limit, which costs it detections.
    """
    import numpy as np
    import torch

    sides = boxes.T.contiguous()

    def suppresses(some: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        left, top, right, bottom = sides[:, some][..., None]
        other_left, other_top, other_right, other_bottom = sides[:, others]
        width = torch.minimum(right, other_right).sub_(torch.maximum(left, other_left)).clamp_(min=0)
        height = torch.minimum(bottom, other_bottom).sub_(torch.maximum(top, other_top)).clamp_(min=0)
        shared = width.mul_(height)
        areas = (right - left) * (bottom - top) + (other_right - other_left) * (other_bottom - other_top)
        return shared / areas.sub_(shared) > iou_threshold

    waiting = scores.argsort(descending=True, stable=True)
    kept = [waiting[:0]]
    while len(waiting):
        block, waiting = waiting[:64], waiting[64:]
        pairs = suppresses(block, block).triu_(1).cpu().numpy()
        stays = np.ones(len(block), dtype=bool)
        for place, row in enumerate(pairs):
            if stays[place]:
                stays &= ~row
        block = block[torch.from_numpy(stays).to(block.device)]
        waiting = waiting[~suppresses(block, waiting).any(0)]
        kept.append(block)
    return torch.cat(kept)


def write_stand_in(site_packages: Path) -> None:
    """A package `torchvision` that has `ops.nms` and nothing else, and says so where packages are listed."""
    package = site_packages / "torchvision"
    package.mkdir()
    imports = "from . import ops as ops\nfrom . import transforms as transforms\n"
    (package / "__init__.py").write_text(f'__version__ = "{STAND_IN_VERSION}"\n{imports}', encoding="utf-8")
    (package / "transforms.py").write_text("", encoding="utf-8")
    source = f"from __future__ import annotations\n\n{inspect.getsource(nms)}"
    (package / "ops.py").write_text(source, encoding="utf-8")
    metadata = site_packages / f"torchvision-{STAND_IN_VERSION}.dist-info"
    metadata.mkdir(exist_ok=True)
    fields = (
        "Metadata-Version: 2.1",
        "Name: torchvision",
        f"Version: {STAND_IN_VERSION}",
        "Summary: stand-in, NMS only",
    )
    (metadata / "METADATA").write_text("\n".join(fields) + "\n", encoding="utf-8")


def make(folder: Path) -> Path:
    """Fills the environment, also where it is there already; gives its Python."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    install: list[str | Path] = [python, "-m", "pip", "install", "-c", ROOT / "constraints.txt"]
    subprocess.run([*install, "-e", f"{ROOT}[train]", *NEEDS], check=True)
    subprocess.run([*install, "--no-deps", *PEERS], check=True)
    if not can_import(python, "torchvision", folder):
        where: list[str | Path] = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
        write_stand_in(Path(subprocess.run(where, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()))
    return python


def can_import(python: Path, module: str, folder: Path) -> bool:
    """Whether the environment has the module; Ultralytics keeps its settings in the folder and asks no network."""
    environment = {**os.environ, "YOLO_CONFIG_DIR": str(folder), "YOLO_OFFLINE": "1"}
    return (
        subprocess.run([python, "-c", f"import {module}"], env=environment, stderr=subprocess.DEVNULL).returncode == 0
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder.absolute()
    python = make(folder)
    missing = [module for module in ("edgedet", "ultralytics") if not can_import(python, module, folder)]
    if missing:
        raise SystemExit(f"{' and '.join(missing)} cannot be imported by {python}")
    print(f"made {folder}: Ultralytics' detectors can be trained with its Python, e.g.")
    print(f"    {python} benchmarks/accuracy_peers.py DATA OUT")


if __name__ == "__main__":
    main()
