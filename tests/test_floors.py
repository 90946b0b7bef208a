"""A board has NumPy, OpenCV and one inference backend: everything below training must import without torch and onnx."""

from __future__ import annotations

import subprocess
import sys

import pytest

WITHOUT = """
import importlib, pkgutil, sys
for name in {missing!r}:
    sys.modules[name] = None
import edgedet
packages = {packages!r}
imported = 0
for name in packages:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(getattr(package, "__path__", []), name + "."):
        if module.name not in {apart!r}:
            importlib.import_module(module.name)
            imported += 1
print(imported)
"""

TRAINING = ("torch", "torchvision", "lightning", "lightning_fabric", "tensorboard", "onnx", "onnxscript")
BACKENDS = ("onnxruntime", "faster_coco_eval", "matplotlib", "supervision")
CORE = (
    "edgedet.boxes",
    "edgedet.config",
    "edgedet.errors",
    "edgedet.files",
    "edgedet.progress",
    "edgedet.spec",
)


def import_without(missing: tuple[str, ...], packages: tuple[str, ...], apart: tuple[str, ...] = ()) -> int:
    """Imports all modules of `packages` but `apart` where `missing` cannot be imported; how many they were."""
    program = WITHOUT.format(missing=missing, packages=packages, apart=apart)
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    return int(result.stdout)


@pytest.mark.parametrize(
    ("package", "at_least"),
    [
        ("edgedet.data", 5),
        ("edgedet.runtime", 6),
        ("edgedet.trt", 8),
        ("edgedet.evaluate", 2),
        ("edgedet.bench", 1),
        ("edgedet.cli", 10),
    ],
)
def test_a_board_needs_no_torch_and_no_onnx(package: str, at_least: int) -> None:
    count = import_without(TRAINING, (*CORE, package), apart=("edgedet.runtime.backends.torch",))
    assert count >= at_least


def test_engines_are_built_without_torch() -> None:
    count = import_without(("torch", "lightning_fabric", "onnxscript"), ("edgedet.engine", "edgedet.deploy"))
    assert count >= 15


def test_the_command_line_starts_with_the_base_packages_alone() -> None:
    assert import_without((*TRAINING, *BACKENDS), (*CORE, "edgedet.cli")) >= 10


def test_the_blockade_holds() -> None:
    with pytest.raises(AssertionError, match="import of torch halted"):
        import_without(("torch",), ("edgedet.train",))


@pytest.mark.parametrize("args", [["models"], ["train", "."]])
def test_a_verb_that_needs_torch_names_the_extra(args: list[str]) -> None:
    program = "import sys; sys.modules['torch'] = None; from edgedet.cli.app import main; main()"
    result = subprocess.run([sys.executable, "-c", program, *args], capture_output=True, text=True, timeout=60)
    assert result.returncode == 2
    assert 'pip install "edgedet[train]"' in result.stderr
