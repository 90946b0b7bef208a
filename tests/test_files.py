from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgedet import files
from edgedet.errors import EdgedetError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestReading:
    def test_reads_up_to_the_limit_and_refuses_one_byte_more(self, tmp_path: Path) -> None:
        path = tmp_path / "a.bin"
        path.write_bytes(b"12345")
        assert files.read_bytes(path, limit=5) == b"12345"
        with pytest.raises(EdgedetError, match="larger than") as caught:
            files.read_bytes(path, limit=4)
        assert caught.value.where == str(path)

    def test_an_endless_file_is_refused_without_being_read(self) -> None:
        with pytest.raises(EdgedetError, match=r"larger than 0\.5 MiB"):
            files.read_bytes(Path("/dev/zero"), limit=files.MEBIBYTE // 2)

    @pytest.mark.parametrize("name", ["missing", ".", "nul\0byte", "x" * 300, "file/below"])
    def test_what_cannot_be_read_is_one_error_with_the_path(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(EdgedetError) as caught:
            files.read_bytes(tmp_path / name, limit=10)
        assert caught.value.where == str(tmp_path / name)

    def test_text_drops_a_byte_order_mark(self, tmp_path: Path) -> None:
        path = tmp_path / "a.txt"
        path.write_bytes("\ufeffgrün".encode())
        assert files.read_text(path, limit=100) == "grün"

    def test_text_that_is_not_utf8_names_the_byte(self, tmp_path: Path) -> None:
        path = tmp_path / "a.txt"
        path.write_bytes(b"abc\xff")
        with pytest.raises(EdgedetError, match=r"not UTF-8 text \(byte 3\)"):
            files.read_text(path, limit=100)

    def test_hash_is_sha256_of_the_bytes(self, tmp_path: Path) -> None:
        path = tmp_path / "a.bin"
        data = os.urandom(files.MEBIBYTE + 1)
        path.write_bytes(data)
        assert files.sha256_file(path) == hashlib.sha256(data).hexdigest()


class TestAtomicWriting:
    def test_writes_the_content_and_leaves_nothing_else(self, tmp_path: Path) -> None:
        path = tmp_path / "deep" / "er" / "a.json"
        files.write_json(path, {"grün": [1, 2]})
        assert json.loads(path.read_text()) == {"grün": [1, 2]}
        files.write_text(path, "grün")
        assert path.read_bytes() == "grün".encode()
        assert names(path.parent) == ["a.json"]

    def test_the_file_has_the_usual_permissions(self, tmp_path: Path) -> None:
        before = os.umask(0o027)
        try:
            files.write_bytes(tmp_path / "a", b"")
        finally:
            os.umask(before)
        assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640

    def test_the_temporary_name_keeps_the_suffix(self, tmp_path: Path) -> None:
        with files.atomic_path(tmp_path / "sheet.png") as temporary:
            assert temporary.suffix == ".png"
            assert temporary.parent == tmp_path

    @pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), EdgedetError("no")])
    def test_an_exception_leaves_the_previous_file(self, tmp_path: Path, error: BaseException) -> None:
        path = tmp_path / "a.txt"
        path.write_text("before")
        with pytest.raises(type(error)), files.atomic_path(path) as temporary:
            temporary.write_text("half")
            raise error
        assert path.read_text() == "before"
        assert names(tmp_path) == ["a.txt"]

    def test_a_kill_leaves_the_previous_file(self, tmp_path: Path) -> None:
        path = tmp_path / "a.txt"
        path.write_text("before")
        program = (
            "import sys, time; from pathlib import Path; from edgedet.files import atomic_path\n"
            "with atomic_path(Path(sys.argv[1])) as temporary:\n"
            "    temporary.write_text('half'); print('written', flush=True); time.sleep(60)\n"
        )
        with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"written\n"
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        assert path.read_text() == "before"

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
    def test_a_failing_disk_leaves_the_previous_file(self, tmp_path: Path, number: int) -> None:
        path = tmp_path / "a.txt"
        path.write_text("before")
        with pytest.raises(EdgedetError) as caught, files.atomic_path(path) as temporary:
            temporary.write_text("half")
            raise OSError(number, os.strerror(number))
        assert os.strerror(number) in caught.value.what
        assert caught.value.fix
        assert caught.value.where == str(path)
        assert path.read_text() == "before"
        assert names(tmp_path) == ["a.txt"]

    def test_a_full_disk_leaves_the_previous_file(self, small_disk: Path) -> None:
        path = small_disk / "a.bin"
        files.write_bytes(path, b"before")
        with pytest.raises(EdgedetError, match="No space left") as caught:
            files.write_bytes(path, bytes(4 * files.MEBIBYTE))
        assert "free some space" in str(caught.value.fix)
        assert path.read_bytes() == b"before"
        assert names(small_disk) == ["a.bin"]

    def test_a_folder_in_the_place_of_the_file(self, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        with pytest.raises(EdgedetError, match="not a plain file"):
            files.write_bytes(tmp_path / "a", b"")
        assert names(tmp_path) == ["a"]

    def test_a_device_is_not_replaced(self, tmp_path: Path) -> None:
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        with pytest.raises(EdgedetError, match="not a plain file"):
            files.write_bytes(pipe, b"")
        assert pipe.is_fifo()

    @pytest.mark.parametrize("name", ["file/a.txt", "nul\0byte", "x" * 300])
    def test_a_name_that_cannot_be_written(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(EdgedetError) as caught:
            files.write_bytes(tmp_path / name, b"")
        assert caught.value.where == str(tmp_path / name)
        assert names(tmp_path) == ["file"]

    def test_a_long_name_that_is_still_allowed(self, tmp_path: Path) -> None:
        name = "ü" * 120 + ".txt"
        files.write_bytes(tmp_path / name, b"x")
        assert names(tmp_path) == [name]

    def test_a_folder_without_permission(self, read_only_folder: Path) -> None:
        for attempt in (
            lambda: files.write_bytes(read_only_folder / "a", b""),
            lambda: files.require_writable_folder(read_only_folder),
            lambda: files.require_writable_folder(read_only_folder / "below"),
        ):
            with pytest.raises(EdgedetError, match="Permission denied") as caught:
                attempt()
            assert "may write to" in str(caught.value.fix)


class TestWritableFolder:
    def test_makes_the_folder_and_leaves_it_empty(self, tmp_path: Path) -> None:
        files.require_writable_folder(tmp_path / "a" / "b")
        assert names(tmp_path / "a" / "b") == []

    def test_a_file_in_the_way(self, tmp_path: Path) -> None:
        (tmp_path / "a").touch()
        for path in (tmp_path / "a", tmp_path / "a" / "b"):
            with pytest.raises(EdgedetError, match="cannot write") as caught:
                files.require_writable_folder(path)
            assert "is a file, not a folder" in str(caught.value.fix)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def read_only_folder() -> Iterator[Path]:
    """A folder that this process may not write in: root gives up its rights for the test."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            os.seteuid(user)
            Path(folder).chmod(0o755)
