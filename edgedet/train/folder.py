"""The folder of a run and the names in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgedet.config import load_yaml, parse, save_yaml
from edgedet.errors import EdgedetError
from edgedet.files import require_writable_folder
from edgedet.train.config import TrainConfig


@dataclass(frozen=True)
class RunFolder:
    """Where a run keeps its files.

    Attributes:
        root: the folder.
    """

    root: Path

    @property
    def config(self) -> Path:
        """The full resolved configuration."""
        return self.root / "config.yaml"

    @property
    def versions(self) -> Path:
        """Versions of what the run was made with."""
        return self.root / "versions.json"

    @property
    def last(self) -> Path:
        """The newest checkpoint, with everything that resuming needs."""
        return self.root / "last.pt"

    @property
    def best(self) -> Path:
        """The checkpoint with the highest mAP on the validation split, for inference."""
        return self.root / "best.pt"

    @property
    def teacher(self) -> Path:
        """The float checkpoint that a quantization-aware run learns from."""
        return self.root / "teacher.pt"

    @property
    def metrics(self) -> Path:
        """One line of JSON an epoch."""
        return self.root / "metrics.jsonl"

    @property
    def curves(self) -> Path:
        """The loss and mAP of each epoch."""
        return self.root / "curves.png"

    @property
    def precision_recall(self) -> Path:
        """Precision over recall of the best checkpoint."""
        return self.root / "precision_recall.png"

    @property
    def predictions(self) -> Path:
        """Validation images with what the best checkpoint finds."""
        return self.root / "predictions.png"

    def abandon(self) -> None:
        """Removes what was written before the first checkpoint."""
        for path in (self.config, self.versions, self.teacher):
            path.unlink(missing_ok=True)


def require_free(root: Path, *, overwrite: bool) -> None:
    """Refuses a folder that already holds a run, unless `overwrite`."""
    folder = RunFolder(root)
    if not overwrite and any(path.exists() for path in (folder.last, folder.best, folder.metrics)):
        fix = f"continue it with --resume {root}, name another --out, or start over with --overwrite"
        raise EdgedetError("the folder already holds a run", where=root, fix=fix)


def start_folder(root: Path, config: TrainConfig, *, overwrite: bool) -> RunFolder:
    """A folder for a new run; refuses one that already holds a run unless `overwrite`."""
    require_free(root, overwrite=overwrite)
    require_writable_folder(root)
    folder = RunFolder(root)
    pictures = (folder.curves, folder.precision_recall, folder.predictions)
    for stale in (folder.last, folder.best, folder.teacher, folder.metrics, *pictures):
        stale.unlink(missing_ok=True)
    save_yaml(folder.config, config)
    return folder


def resume_folder(root: Path) -> tuple[RunFolder, TrainConfig]:
    """The folder of a run that was cut off, and its configuration."""
    folder = RunFolder(root)
    if not folder.config.is_file():
        raise EdgedetError("holds no run to resume", where=root, fix="give the folder that `edgedet train --out` named")
    require_writable_folder(root)
    return folder, parse(TrainConfig, load_yaml(folder.config), where=folder.config)
