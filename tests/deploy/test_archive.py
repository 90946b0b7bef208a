"""Archives from strangers: what no bundle holds is refused, and nothing of it is left on the disk."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgedet.deploy import archive
from edgedet.deploy.archive import open_archive, write_archive, zstandard
from edgedet.deploy.contents import MANIFEST, BundleManifest, Entry, require_safe, with_manifest, with_sums
from edgedet.deploy.folder import check_bundle, require_sound, unpack, write_bundle
from edgedet.deploy.targets import load_target
from edgedet.errors import CheckFailedError, EdgedetError

FILES = {"model.onnx": Entry(b"weights" * 100), "install.sh": Entry(b"#!/bin/sh\n", executable=True), "a/b": Entry(b"")}


@pytest.fixture(scope="module")
def files() -> dict[str, Entry]:
    manifest = BundleManifest(
        name="small",
        target=load_target("x86-cpu"),
        model="small",
        model_sha256="a" * 64,
        lowering="fp32",
        quantized=False,
        has_nms=False,
        random_weights=True,
    )
    return with_manifest(with_sums(FILES), manifest)


def packed(path: Path, tar: bytes) -> Path:
    path.write_bytes(zstandard().compress(tar))
    return path


def tar_with(files: dict[str, Entry], change: Callable[[tarfile.TarFile], None], name: str = "small") -> bytes:
    """An archive of a bundle's files and of what is added to it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path, entry in files.items():
            add(tar, f"{name}/{path}", entry.data)
        change(tar)
    return buffer.getvalue()


def add(tar: tarfile.TarFile, name: str, data: bytes = b"x", kind: bytes = tarfile.REGTYPE, link: str = "") -> None:
    member = tarfile.TarInfo(name)
    member.size, member.type, member.linkname = len(data), kind, link
    tar.addfile(member, io.BytesIO(data))


def test_an_archive_gives_back_its_files(tmp_path: Path, files: dict[str, Entry]) -> None:
    write_archive(tmp_path / "b.tar.zst", "small", files)
    with open_archive(tmp_path / "b.tar.zst") as members:
        found = {member.path: Entry(b"".join(member.blocks), member.executable) for member in members}
    assert found == files
    manifest = unpack(tmp_path / "b.tar.zst", tmp_path / "out")
    assert require_sound(tmp_path / "out") == manifest == require_sound(tmp_path / "b.tar.zst")
    assert os.access(tmp_path / "out/install.sh", os.X_OK) and not os.access(tmp_path / "out/model.onnx", os.X_OK)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.tar.zst", "out"]


def test_the_systems_tar_reads_it_too(tmp_path: Path, files: dict[str, Entry]) -> None:
    write_archive(tmp_path / "b.tar.zst", "small", files)
    with tarfile.open(fileobj=io.BytesIO(zstandard().decompress((tmp_path / "b.tar.zst").read_bytes()))) as tar:
        members = tar.getmembers()
    assert {member.name for member in members} == {f"small/{path}" for path in files}
    assert {(member.uid, member.gid, member.uname, member.mtime) for member in members} == {(0, 0, "", archive.EPOCH)}
    assert [member.name for member in members] == sorted(member.name for member in members)


HOSTILE: dict[str, tuple[Callable[[tarfile.TarFile], None], str]] = {
    "an absolute path": (lambda tar: add(tar, "/etc/cron.d/x"), "a path that no bundle has"),
    "a path upwards": (lambda tar: add(tar, "small/../../x"), "a path that no bundle has"),
    "another top folder": (lambda tar: add(tar, "other/x"), "one folder"),
    "a file at the top": (lambda tar: add(tar, "x"), "one folder"),
    "an option as a name": (lambda tar: add(tar, "-rf/x"), "a path that no bundle has"),
    "a line break": (lambda tar: add(tar, "small/a\nb"), "a path that no bundle has"),
    "a space": (lambda tar: add(tar, "small/a b"), "a path that no bundle has"),
    "a link": (lambda tar: add(tar, "small/x", b"", tarfile.SYMTYPE, "/etc/passwd"), "is a link"),
    "a hard link": (lambda tar: add(tar, "small/x", b"", tarfile.LNKTYPE, "small/model.onnx"), "is a link"),
    "a device": (lambda tar: add(tar, "small/x", b"", tarfile.CHRTYPE), "is a device"),
    "a pipe": (lambda tar: add(tar, "small/x", b"", tarfile.FIFOTYPE), "is a pipe"),
    "a folder": (lambda tar: add(tar, "small/x", b"", tarfile.DIRTYPE), "is a folder by itself"),
    "an extended header": (lambda tar: add(tar, "small/x", b"30 path=/etc/x\n", tarfile.XHDTYPE), "extended header"),
    "a long name": (lambda tar: add(tar, "small/x", b"/etc/x\0", tarfile.GNUTYPE_LONGNAME), "extended header"),
    "a sparse file": (lambda tar: add(tar, "small/x", b"", tarfile.GNUTYPE_SPARSE), "extended header"),
    "a name twice": (lambda tar: add(tar, "small/model.onnx", b"y"), "twice"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_no_bundle_holds_is_refused(tmp_path: Path, files: dict[str, Entry], name: str) -> None:
    change, says = HOSTILE[name]
    path = packed(tmp_path / "b.tar.zst", tar_with(files, change))
    with pytest.raises(EdgedetError, match=says) as caught:
        unpack(path, tmp_path / "out")
    assert caught.value.exit_code == 2
    with pytest.raises(EdgedetError, match=says):
        check_bundle(path)
    assert [left.name for left in tmp_path.iterdir()] == ["b.tar.zst"]


def test_too_many_files_and_too_many_bytes_are_refused(
    tmp_path: Path, files: dict[str, Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "b.tar.zst"
    write_archive(path, "small", files)
    monkeypatch.setattr(archive, "MOST_FILES", len(files) - 1)
    with pytest.raises(EdgedetError, match="more than 4 files"):
        unpack(path, tmp_path / "out")
    monkeypatch.undo()
    monkeypatch.setattr(archive, "MOST_BYTES", 1 << 20)
    packed(path, tar_with(files, lambda tar: add(tar, "small/zeros", bytes(1 << 20))))
    assert path.stat().st_size < 2000, "it must be a bomb"
    with pytest.raises(EdgedetError, match="unpacks to more than 1 MiB"):
        unpack(path, tmp_path / "out")
    assert [left.name for left in tmp_path.iterdir()] == ["b.tar.zst"]


def test_a_size_that_is_only_claimed_takes_no_memory(tmp_path: Path, files: dict[str, Entry]) -> None:
    member = tarfile.TarInfo("small/huge")
    member.size = 3 << 30
    path = packed(tmp_path / "b.tar.zst", member.tobuf(tarfile.USTAR_FORMAT) + b"x")
    with pytest.raises(EdgedetError, match="cut off"):
        unpack(path, tmp_path / "out")


@pytest.mark.parametrize("data", [b"", b"PK\3\4 zip", b"\x28\xb5\x2f\xfd"])
def test_what_is_no_archive_is_said_to_be_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "b.tar.zst").write_bytes(data)
    with pytest.raises(EdgedetError, match=r"not a Zstandard archive|cut off"):
        unpack(tmp_path / "b.tar.zst", tmp_path / "out")
    packed(tmp_path / "b.tar.zst", os.urandom(4096))
    with pytest.raises(EdgedetError, match="not a tar archive"):
        unpack(tmp_path / "b.tar.zst", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), cut=st.booleans())
def test_no_changed_bit_and_no_cut_goes_unseen(
    tmp_path: Path, files: dict[str, Entry], place: float, bit: int, cut: bool
) -> None:
    """In what a file is: in the padding between files and behind the end anything may stand."""
    tar = bytearray(tar_with(files, lambda tar: None))
    end = len(bytes(tar).rstrip(b"\0"))
    at = int(place * end)
    if cut:
        del tar[at:]
    else:
        tar[at] ^= 1 << bit
    path = packed(tmp_path / "b.tar.zst", bytes(tar))
    try:
        unpack(path, tmp_path / "out")
    except EdgedetError:
        assert not (tmp_path / "out").exists()
    else:
        assert {name: (tmp_path / "out" / name).read_bytes() for name in files} == {
            name: entry.data for name, entry in files.items()
        }
        shutil.rmtree(tmp_path / "out")


class TestFolders:
    @pytest.fixture
    def bundle(self, tmp_path: Path, files: dict[str, Entry]) -> Path:
        write_bundle(tmp_path / "bundle", "small", files)
        return tmp_path / "bundle"

    def test_what_install_writes_is_not_looked_at(self, bundle: Path) -> None:
        (bundle / "installed").mkdir()
        (bundle / "installed/link").symlink_to("/etc/passwd")
        assert check_bundle(bundle).faults == ()

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            (lambda path: (path / "model.onnx").unlink(), "model.onnx is missing"),
            (lambda path: (path / "model.onnx").write_bytes(b"weightt" * 100), "its SHA-256 is not the manifest's"),
            (lambda path: (path / "model.onnx").write_bytes(b"w"), "1 bytes instead of 700"),
            (lambda path: (path / "extra").touch(), "extra is not in the manifest"),
            (lambda path: (path / "install.sh").chmod(0o644), "no longer executable"),
        ],
    )
    def test_every_fault_is_named(self, bundle: Path, change: Callable[[Path], None], says: str) -> None:
        change(bundle)
        (fault,) = check_bundle(bundle).faults
        assert says in fault
        with pytest.raises(CheckFailedError, match="not as its manifest says"):
            require_sound(bundle)

    @pytest.mark.parametrize("target", ["/etc/passwd", "model.onnx", "."])
    def test_a_link_is_not_followed(self, bundle: Path, target: str) -> None:
        (bundle / "a/link").symlink_to(target)
        with pytest.raises(EdgedetError, match="is a link"):
            check_bundle(bundle)

    def test_a_pipe_is_not_waited_for(self, bundle: Path) -> None:
        os.mkfifo(bundle / "pipe")
        with pytest.raises(EdgedetError, match="a device or a pipe"):
            check_bundle(bundle)

    @pytest.mark.parametrize("text", [b"{", b"[]", b'{"version": 1}', b'{"version": 2}', b"\xff", b"[" * 100_000])
    def test_a_broken_manifest_is_one_error(self, bundle: Path, text: bytes) -> None:
        (bundle / MANIFEST).write_bytes(text)
        with pytest.raises(EdgedetError) as caught:
            check_bundle(bundle)
        assert MANIFEST in str(caught.value)

    def test_a_manifest_cannot_name_files_elsewhere(self, bundle: Path) -> None:
        text = (bundle / MANIFEST).read_text()
        (bundle / MANIFEST).write_text(text.replace('"a/b"', '"../b"'))
        with pytest.raises(EdgedetError, match="a path that no bundle has"):
            check_bundle(bundle)

    def test_without_a_manifest_it_is_no_bundle(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        for path in (tmp_path / "empty", tmp_path / "missing"):
            with pytest.raises(EdgedetError, match=r"holds no manifest\.json|no such bundle") as caught:
                check_bundle(path)
            assert "edgedet deploy" in str(caught.value.fix)


@pytest.mark.parametrize("path", ["a", "a/b-c_d.e+f", "x" * 200])
def test_names_that_bundles_have(path: str) -> None:
    require_safe(path)


@given(st.text(max_size=30))
def test_no_name_leads_out_of_its_folder(text: str) -> None:
    try:
        require_safe(text)
    except EdgedetError:
        return
    assert (Path("/top") / text).resolve().is_relative_to("/top") and text.isascii()
