"""`edgedet jetson`, on boards made of files and programs that stand for theirs. None of this has run on a Jetson."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from edgedet.cli.app import app
from edgedet.doctor import prepare
from edgedet.errors import CheckFailedError, EdgedetError
from edgedet.trt.machine import PowerMode

ORIN_NANO = """\
# < POWER_MODEL ID=9 NAME=MAXN_COMMENTED >
< POWER_MODEL ID=0 NAME=15W >
GPU MAX_FREQ 612000000
< POWER_MODEL ID=1 NAME=25W >
< POWER_MODEL ID=2 NAME=MAXN_SUPER >
GPU MAX_FREQ -1
< POWER_MODEL ID=3 NAME=7W >
< PM_CONFIG DEFAULT=1 >
"""
XAVIER_NX = "< POWER_MODEL ID=0 NAME=MODE_15W_2CORE >\n< POWER_MODEL ID=8 NAME=MODE_20W_6CORE >\n"
GPU = "sys/class/devfreq/17000000.gpu"


class Board:
    """A root folder with a board's files, and its programs on PATH, which write down how they were called."""

    def __init__(self, folder: Path, table: str | None = ORIN_NANO, mode: int | None = 0) -> None:
        self.root, self.programs, self.calls = folder / "root", folder / "bin", folder / "calls"
        self.programs.mkdir()
        self.write("etc/nv_tegra_release", "# R36 (release), REVISION: 4.3, GCID: 1, BOARD: generic, EABI: aarch64\n")
        self.write("proc/device-tree/model", "NVIDIA Jetson Orin Nano Developer Kit Super\0")
        self.clocks(306000000, 612000000)
        if table is not None:
            self.write("etc/nvpmodel.conf", table)
        if mode is not None:
            self.write("var/lib/nvpmodel/status", f"pmode:{mode:04}\n")
        self.program("sudo", 'exec "$@"')
        self.program("nvpmodel", f'test "$1" = -m && printf "pmode:%04d\\n" "$2" > {self.root}/var/lib/nvpmodel/status')
        self.program("jetson_clocks", f"cp {self.root}/{GPU}/max_freq {self.root}/{GPU}/min_freq")

    def write(self, name: str, content: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    def clocks(self, lowest: int, highest: int) -> None:
        self.write(f"{GPU}/min_freq", f"{lowest}\n")
        self.write(f"{GPU}/max_freq", f"{highest}\n")

    def program(self, name: str, script: str) -> None:
        path = self.programs / name
        path.write_text(f'#!/bin/sh\necho {name} "$@" >> {self.calls}\n{script}\n')
        path.chmod(0o755)

    @property
    def called(self) -> list[str]:
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        return [line for line in lines if not line.startswith("sudo")]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


@pytest.fixture
def orin(path: Path) -> Board:
    return Board(path)


def commands(preparation: prepare.Preparation) -> list[str]:
    return [str(step).removeprefix("sudo ") for step in preparation.steps]


class TestPrepare:
    def test_the_mode_is_found_by_name_in_the_boards_table(self, orin: Board) -> None:
        found = prepare.prepare(root=orin.root)
        assert (found.mode, found.wanted) == (PowerMode(0, "15W"), PowerMode(2, "MAXN_SUPER"))
        assert commands(found) == ["nvpmodel -m 2", "jetson_clocks"]
        assert found.undo is not None and found.undo.endswith("nvpmodel -m 0")
        assert orin.called == [], "nothing runs without --apply"

    @pytest.mark.parametrize(("name", "id"), [("25w", 1), ("7W", 3), ("maxn_super", 2)])
    def test_any_mode_by_its_name(self, orin: Board, name: str, id: int) -> None:
        assert commands(prepare.prepare(name, orin.root))[0] == f"nvpmodel -m {id}"

    def test_an_unknown_name(self, orin: Board) -> None:
        with pytest.raises(EdgedetError, match="unknown power mode 'MAXN'") as caught:
            prepare.prepare("MAXN", orin.root)
        assert "15W, 25W, MAXN_SUPER, 7W" in str(caught.value.fix)

    def test_a_board_without_a_maxn_is_not_guessed_at(self, path: Path) -> None:
        board = Board(path, XAVIER_NX)
        with pytest.raises(EdgedetError, match="no mode of this board is called MAXN") as caught:
            prepare.prepare(root=board.root)
        assert "MODE_15W_2CORE, MODE_20W_6CORE" in str(caught.value.fix)
        assert commands(prepare.prepare("MODE_20W_6CORE", board.root))[0] == "nvpmodel -m 8"

    def test_where_all_is_done_there_is_nothing_to_do(self, path: Path) -> None:
        board = Board(path, mode=2)
        board.clocks(1020000000, 1020000000)
        found = prepare.prepare(root=board.root)
        assert (found.steps, found.undo) == ((), None)
        prepare.apply(found, board.root)
        assert board.called == []

    def test_clocks_alone(self, path: Path) -> None:
        assert commands(prepare.prepare(root=Board(path, mode=2).root)) == ["jetson_clocks"]

    def test_a_board_that_keeps_no_status_is_asked(self, path: Path) -> None:
        board = Board(path, mode=None)
        board.program("nvpmodel", 'echo "NVPM WARN: fan mode is not set"; echo "NV Power Mode: MAXN_SUPER"; echo 2')
        assert prepare.prepare(root=board.root).mode == PowerMode(2, "MAXN_SUPER")
        board.program("nvpmodel", "exit 1")
        found = prepare.prepare(root=board.root)
        assert (found.mode, found.undo) == (None, None)
        assert commands(found) == ["nvpmodel -m 2", "jetson_clocks"]

    def test_a_board_without_a_table(self, path: Path) -> None:
        with pytest.raises(EdgedetError, match="no table of power modes"):
            prepare.prepare(root=Board(path, None).root)

    def test_another_computer(self, tmp_path: Path) -> None:
        with pytest.raises(EdgedetError, match="no Jetson") as caught:
            prepare.prepare(root=tmp_path)
        assert caught.value.exit_code == 2


class TestApply:
    def test_the_commands_run_in_their_order(self, orin: Board) -> None:
        prepare.apply(prepare.prepare(root=orin.root), orin.root)
        assert orin.called == ["nvpmodel -m 2", "jetson_clocks"]
        assert commands(prepare.prepare(root=orin.root)) == []

    def test_a_mode_that_needs_a_restart_is_left_to_the_person(self, orin: Board) -> None:
        answer = orin.root / "answer"
        orin.program(
            "nvpmodel",
            "echo 'NVPM WARN: Reboot required for changing to this power mode: 2'\n"
            "echo 'NVPM WARN: DO YOU WANT TO REBOOT NOW? enter YES/yes to confirm:'\n"
            f"read answer; echo $answer > {answer}\necho 'NVPM ERROR: optMask is 1, no request for power mode'",
        )
        with pytest.raises(CheckFailedError, match="needs a restart") as caught:
            prepare.apply(prepare.prepare(root=orin.root), orin.root)
        assert answer.read_text() == "no\n"
        assert "jetson_clocks" not in orin.called
        assert "nvpmodel -m 2` and answer yes" in str(caught.value.fix)

    @pytest.mark.parametrize(
        ("script", "message"),
        [
            ("echo NVPM ERROR: no such mode; exit 3", "failed with 3: NVPM ERROR: no such mode"),
            ("exit 1", "failed with 1: it said nothing"),
            ("exit 0", r"is 15W \(0\) and not MAXN_SUPER \(2\)"),
        ],
    )
    def test_a_command_that_fails(self, orin: Board, script: str, message: str) -> None:
        orin.program("nvpmodel", script)
        with pytest.raises(CheckFailedError, match=message) as caught:
            prepare.apply(prepare.prepare(root=orin.root), orin.root)
        assert caught.value.exit_code == 1

    def test_one_that_does_not_end(self, orin: Board, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(prepare, "TIMEOUT_SECONDS", 0.3)
        orin.program("nvpmodel", "exec sleep 9")
        with pytest.raises(CheckFailedError, match="has not ended"):
            prepare.apply(prepare.prepare(root=orin.root), orin.root)

    def test_in_a_container_without_the_programs(self, orin: Board) -> None:
        (orin.programs / "nvpmodel").unlink()
        with pytest.raises(EdgedetError, match="nvpmodel is not installed here"):
            prepare.apply(prepare.prepare(root=orin.root), orin.root)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["jetson", *arguments])


class TestCommands:
    @pytest.fixture
    def here(self, orin: Board, monkeypatch: pytest.MonkeyPatch) -> Board:
        """This machine becomes the board."""
        for name in ("read_machine", "read_power_modes"):
            real = getattr(prepare, name)
            monkeypatch.setattr(prepare, name, lambda root, real=real: real(orin.root))
        return orin

    def test_what_is_printed_can_be_run(self, here: Board) -> None:
        result = run("prepare")
        assert result.exit_code == 0
        assert "MAXN_SUPER" in result.stdout and "JetPack 6.2" in result.stdout
        subprocess.run(["sh", "-e"], input=result.stdout, text=True, check=True)
        assert here.called == ["nvpmodel -m 2", "jetson_clocks"]

    def test_json(self, here: Board) -> None:
        read = json.loads(run("prepare", "--mode", "25W", "--json").stdout)
        assert (read["mode"], read["wanted"]) == ("15W", "25W")
        assert read["steps"][0]["command"][-3:] == ["nvpmodel", "-m", "1"]

    def test_apply(self, here: Board) -> None:
        result = run("prepare", "--apply")
        assert result.exit_code == 0
        assert "done: MAXN_SUPER (2)" in result.stderr
        assert here.called == ["nvpmodel -m 2", "jetson_clocks"]

    @pytest.mark.skipif(Path("/etc/nv_tegra_release").exists(), reason="this is a Jetson")
    @pytest.mark.parametrize("arguments", [["prepare"], ["prepare", "--apply"], ["monitor"]])
    def test_on_another_computer_it_is_one_message(self, arguments: list[str]) -> None:
        if shutil.which("tegrastats") is not None:
            pytest.skip("there is a tegrastats")
        result = run(*arguments)
        assert result.exit_code == 2
        assert "Jetson" in result.stderr and result.stdout == ""


LINE = (
    "10-08-2026 04:35:02 RAM 6712/7620MB (lfb 12x4MB) SWAP 369/3810MB (cached 8MB) CPU [38%@1497,2%@729] "
    "EMC_FREQ 61%@2133 GR3D_FREQ 99%@[612] cpu@57.125C gpu@58.625C VDD_IN 5081mW/5181mW"
)


class TestMonitor:
    def test_one_json_line_a_sample(self, orin: Board) -> None:
        orin.program("tegrastats", f'while true; do echo "{LINE}"; sleep 0.05; done')
        result = run("monitor", "--samples", "3", "--interval", "50", "--json")
        assert result.exit_code == 0
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        assert len(lines) == 3
        assert lines[0]["ram_used_mib"] == 6712
        assert lines[0]["cpus"][1] == {"percent": 2, "megahertz": 729}
        assert lines[0]["total_watts"] == 5.081
        assert orin.called == ["tegrastats --interval 50"]

    def test_a_table(self, orin: Board) -> None:
        orin.program("tegrastats", f'while true; do echo "{LINE}"; echo RAM 1/2MB; sleep 0.05; done')
        heading, first, second = run("monitor", "--samples", "2").stdout.splitlines()
        assert first.split() == ["04:35:02", "6712/7620", "369/3810", "20", "99", "612", "gpu", "58.6", "5.08"]
        assert second.split() == ["-", "1/2", "-", "-", "-", "-", "-", "-"]
        assert len(heading) == len(first) == len(second)

    @pytest.mark.parametrize(
        ("script", "message"),
        [
            (f'echo "{LINE}"', "ended by itself"),
            ("exit 3", "ended by itself"),
            ("while true; do echo hello; done", "not understood"),
            ("tr '\\0' x < /dev/zero", "not understood"),
        ],
    )
    def test_a_program_that_fails(self, orin: Board, script: str, message: str) -> None:
        orin.program("tegrastats", script)
        result = run("monitor", "--json")
        assert result.exit_code == 2
        assert message in result.stderr
