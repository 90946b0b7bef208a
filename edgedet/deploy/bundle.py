"""Everything that a device needs, in one folder or archive that is the same bytes whenever and wherever it is made."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedet import __version__
from edgedet.deploy.archive import SUFFIX, zstandard
from edgedet.deploy.contents import BundleManifest, Entry, with_manifest, with_sums
from edgedet.deploy.folder import require_replaceable, write_bundle
from edgedet.deploy.golden import Tolerances, default_images, write_golden
from edgedet.deploy.integrations import integration_files, require_integrations
from edgedet.deploy.labels import labels
from edgedet.deploy.model import MODEL, Network, engine_files, network_for
from edgedet.deploy.readme import readme
from edgedet.deploy.sources import source_folder
from edgedet.deploy.targets import Target
from edgedet.errors import EdgedetError
from edgedet.files import MEBIBYTE, read_bytes, require_writable_folder
from edgedet.graph.verify import FLOAT16_TOLERANCE, INT8_TOLERANCE, verification_images
from edgedet.trt.versions import knows_tensors_by_name

SOURCES_OF_ALL = ("CMakeLists.txt", "LICENSE", "plugins/kernels", "plugins/cpu", "export/runner")
SOURCES_OF_BACKEND: Mapping[str, tuple[str, ...]] = {
    "onnxruntime": ("plugins/onnxruntime",),
    "tensorrt": ("plugins/cmake", "plugins/cuda", "plugins/tensorrt"),
}
"""What the runner and the operators are built of. Only what a target needs: a Raspberry Pi gets no CUDA."""

LEFT_OUT = (".py", ".pyc", ".pyi")
"""Of those folders: helpers of development."""

PREBUILT: Mapping[str, str] = {
    "edgedet-run": "prebuilt/bin/edgedet-run",
    "libedgedet_onnxruntime.so": "prebuilt/lib/libedgedet_onnxruntime.so",
    "libedgedet_tensorrt.so": "prebuilt/lib/libedgedet_tensorrt.so",
}
"""What may be built elsewhere, and where it stands in a bundle."""

OLDEST_CMAKE = (3, 18)
"""That the operators' `CMakeLists.txt` asks for; the runner's takes older ones."""

ELF_MACHINES: Mapping[str, int] = {"x86_64": 62, "aarch64": 183}
MOST_TENSOR_BYTES = 16 * MEBIBYTE
FILE_LIMIT = 512 * MEBIBYTE


@dataclass(frozen=True)
class Bundle:
    """A written bundle.

    Attributes:
        path: the folder or archive.
        size_bytes: of all files together, or of the archive.
        manifest: what is in it.
    """

    path: Path
    size_bytes: int
    manifest: BundleManifest

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON can hold it."""
        return {
            "path": str(self.path),
            "size_bytes": self.size_bytes,
            "archive": self.path.name.endswith(SUFFIX),
            "manifest": self.manifest.model_dump(mode="json"),
        }


def make_bundle(
    model: Path,
    target: Target,
    out: Path | None = None,
    *,
    nms: bool = False,
    data: Path | None = None,
    golden: Path | None = None,
    engine: Path | None = None,
    prebuilt: Path | None = None,
    integrations: Sequence[str] = (),
) -> Bundle:
    """Makes a bundle; `bundle_files` and `write_bundle` on paths.

    Args:
        model: a checkpoint, a master ONNX file, or one exported for the target.
        target: what it is for.
        out: a folder, or a file ending in `.tar.zst`; None is a folder here, called after the model and the target.
        nms, data: see `edgedet.deploy.model.network_for`.
        golden: dataset or image; images of it go into the bundle beside the generated ones, which a trained detector
            may find nothing in.
        engine: a TensorRT plan with its manifest beside it, built of `model` on such a device.
        prebuilt: folder with `edgedet-run` or libraries of operators that were built for the target.
        integrations: of `edgedet.deploy.integrations.INTEGRATIONS`.

    Raises:
        EdgedetError: something given does not fit, or nothing can be written there.
        CheckFailedError: the lowered network gives something else than what was given.
    """
    require_integrations(integrations, target)
    out = out or Path(f"{model.stem}-{target.name}")
    name = out.name.removesuffix(SUFFIX)
    if name == out.name:
        require_replaceable(out)
    else:
        zstandard()
    require_writable_folder(out.absolute().parent)
    network = network_for(model, target, nms=nms, data=data)
    files, detections = golden_files(network, target, golden)
    files |= bundle_files(
        network,
        target,
        engine={} if engine is None else engine_files(engine, model, target, network),
        prebuilt={} if prebuilt is None else prebuilt_files(prebuilt, target),
        integrations=integrations,
    )
    manifest = BundleManifest(
        name=bundle_name(network, target),
        target=target,
        model=network.spec.model,
        model_sha256=network.sha256,
        checkpoint_sha256=network.checkpoint_sha256,
        calibration_sha256=network.calibration_sha256,
        lowering=network.lowering,
        quantized=network.quantized,
        has_nms=network.has_nms,
        random_weights=network.spec.random_weights,
        golden_detections=detections,
    )
    complete = with_manifest(with_sums(files), manifest)
    write_bundle(out, manifest.name, complete)
    size = out.stat().st_size if out.is_file() else sum(len(entry.data) for entry in complete.values())
    listed = BundleManifest.model_validate_json(complete["manifest.json"].data)
    return Bundle(out, size, listed)


def bundle_name(network: Network, target: Target) -> str:
    """What the folder in an archive is called; not after `out`, so that the archive's bytes do not depend on it."""
    name = "".join(char if char.isascii() and (char.isalnum() or char in "._-") else "-" for char in network.spec.model)
    return f"edgedet-{name[:64]}-{target.name}"


def bundle_files(
    network: Network,
    target: Target,
    *,
    engine: Mapping[str, bytes],
    prebuilt: Mapping[str, Entry],
    integrations: Sequence[str],
) -> dict[str, Entry]:
    """The files of a bundle by their paths, but for the golden ones, the manifest and the sums."""
    scripts = source_folder() / "export/bundle"
    files = {
        MODEL: Entry(network.data),
        "VERSION": Entry(f"{__version__}\n".encode()),
        "spec.json": Entry((network.spec.model_dump_json(indent=2) + "\n").encode()),
        "labels.txt": Entry(labels(network.spec.class_names)),
        "target.sh": Entry(settings(network, target, has_engine=bool(engine)).encode()),
        "install.sh": Entry((scripts / "install.sh").read_bytes(), executable=True),
        "selftest": Entry((scripts / "selftest").read_bytes(), executable=True),
        "edgedet.service": Entry((scripts / "edgedet.service").read_bytes()),
        "README.md": Entry(readme(network, target, integrations, prebuilt=bool(prebuilt)).encode()),
    }
    files |= {path: Entry(data) for path, data in engine.items()}
    if network.engine_manifest is not None and not engine:
        files["engine.json.in"] = Entry(network.engine_manifest.encode())
        files["platform.cpp"] = Entry((scripts / "platform.cpp").read_bytes())
    files |= source_files(target)
    files |= prebuilt
    files |= integration_files(network, target, integrations)
    return files


def settings(network: Network, target: Target, *, has_engine: bool) -> str:
    """What `install.sh` and `selftest` must know, as variables of a shell."""
    board, software = target.board, target.software
    values = {
        "TARGET": str(target),
        "TITLE": board.title,
        "MACHINE": board.machine,
        "BACKEND": board.backend,
        "BOARDS": "\n".join(board.boards),
        "L4T": " ".join(software.l4t),
        "JETPACK": f"{software.releases[0]} to {software.releases[-1]}" if software.releases else "",
        "TENSORRT": "" if target.tensorrt is None else str(target.tensorrt),
        "CUDA_ARCHITECTURE": (board.compute_capability or "").replace(".", ""),
        "OLD_CMAKE": software.cmake if tuple(map(int, software.cmake.split("."))) < OLDEST_CMAKE else "",
        "RUNNER": "yes" if target.tensorrt is None or knows_tensors_by_name(target.tensorrt) else "",
        "OPERATORS": "yes" if network.has_operators else "",
        "HAS_ENGINE": "yes" if has_engine else "",
        "BUILD_ENGINE": network.build or "",
        "FASTEST_MODE": target.fastest_mode or "",
    }
    lines = ["# What install.sh and selftest must know of this bundle."]
    return "\n".join([*lines, *(f"{name}={shlex.quote(value)}" for name, value in values.items())]) + "\n"


def golden_files(network: Network, target: Target, given: Path | None = None) -> tuple[dict[str, Entry], int]:
    """Images with the tensors and detections that ONNX Runtime made of them here, and how many detections there are.

    Of large inputs only the hashes are kept: they tell that an input differs, and tensors by how much.
    """
    size = network.spec.preprocess
    images = default_images(size)
    if given is not None:
        images |= {f"given{place}": image for place, image in enumerate(verification_images(given).images)}
    tensors = len(images) * 3 * size.height * size.width * 4 <= MOST_TENSOR_BYTES
    with tempfile.TemporaryDirectory() as folder:
        model, golden = Path(folder) / MODEL, Path(folder) / "golden"
        model.write_bytes(network.reference)
        tolerances = golden_tolerances(network, target)
        written = write_golden(model, golden, images=images, tolerances=tolerances, tensors=tensors)
        files = {
            f"golden/{path.relative_to(golden).as_posix()}": Entry(path.read_bytes())
            for path in sorted(golden.rglob("*"))
            if path.is_file()
        }
    return files, written.detections


def golden_tolerances(network: Network, target: Target) -> Tolerances:
    """How far a device may be off. ONNX Runtime computes alike everywhere; TensorRT in float16 and int8 of its own.

    The network's input is the same to the bit on all of them.
    """
    if target.tensorrt is None:
        return Tolerances()
    allowed = INT8_TOLERANCE if network.quantized else FLOAT16_TOLERANCE
    return Tolerances(box=allowed.box, score=allowed.score)


def source_files(target: Target) -> dict[str, Entry]:
    """The C++ that the runner and the operators are built of, in the repository's layout."""
    top = source_folder()
    files: dict[str, Entry] = {}
    for part in (*SOURCES_OF_ALL, *SOURCES_OF_BACKEND[target.board.backend]):
        paths = [top / part] if (top / part).is_file() else sorted((top / part).rglob("*"))
        for path in paths:
            inside = path.relative_to(top)
            if path.is_file() and path.suffix not in LEFT_OUT and "tests" not in inside.parts:
                files[inside.as_posix()] = Entry(path.read_bytes(), executable=path.suffix == ".sh")
    return files


def prebuilt_files(folder: Path, target: Target) -> dict[str, Entry]:
    """Programs and libraries that were built for the target elsewhere.

    Raises:
        EdgedetError: there are none in the folder, or one is for another processor.
    """
    found = {name: folder / name for name in PREBUILT if (folder / name).is_file()}
    if not found:
        fix = f"build one of them for {target.board.machine}: {', '.join(PREBUILT)}"
        raise EdgedetError("holds nothing prebuilt", where=folder, fix=fix)
    files = {}
    for name, path in found.items():
        data = read_bytes(path, limit=FILE_LIMIT)
        if data[:4] != b"\x7fELF" or int.from_bytes(data[18:20], "little") != ELF_MACHINES[target.board.machine]:
            fix = f"build it for {target.board.machine}"
            raise EdgedetError(f"not a program for {target.board.machine}", where=path, fix=fix)
        files[PREBUILT[name]] = Entry(data, executable=True)
    return files
