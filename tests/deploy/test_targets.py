"""What bundles can be made for, held to the versions that boards have (NVIDIA's tables of JetPack)."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from edgedet.cli.app import app
from edgedet.deploy.targets import Board, all_targets, load_target, target_names
from edgedet.errors import EdgedetError
from edgedet.graph.targets import TARGETS
from edgedet.trt.machine import JETPACKS

KNOWN = {
    ("jetson-nano", "4.6"): ("8.2.1", "5.3", "trt8", "32.7.6"),
    ("jetson-xavier-nx", "5.1"): ("8.5.2", "7.2", "trt8", "35.2.1"),
    ("jetson-orin-nano", "5.1"): ("8.5.2", "8.7", "trt8", "35.4.1"),
    ("jetson-orin-nano", "6.0"): ("8.6.2", "8.7", "trt8", "36.3.0"),
    ("jetson-orin-nano", "6.2"): ("10.3.0", "8.7", "trt10", "36.4.3"),
    ("jetson-orin-nx", "6.2"): ("10.3.0", "8.7", "trt10", "36.4.3"),
    ("jetson-agx-orin", "7.2"): ("10.16.1", "8.7", "trt10", "39.2.0"),
    ("jetson-thor", "7.1"): ("10.13.3", "11.0", "trt10", "38.4.0"),
    ("jetson-thor", "7.2"): ("10.16.1", "11.0", "trt10", "39.2.0"),
}


@pytest.mark.parametrize(("name", "jetpack"), KNOWN)
def test_a_board_with_a_jetpack_has_its_versions(name: str, jetpack: str) -> None:
    target = load_target(name, jetpack=jetpack)
    tensorrt, capability, lowering, l4t = KNOWN[name, jetpack]
    assert (str(target.tensorrt), target.board.compute_capability) == (tensorrt, capability)
    assert target.lowering(quantized=True) == lowering
    assert l4t in target.software.l4t


def test_all_targets_are_whole() -> None:
    targets = all_targets()
    assert {target.name for target in targets} == set(target_names()) >= {name for name, _ in KNOWN}
    for target in targets:
        board = target.board
        for quantized in (True, False):
            assert target.lowering(quantized=quantized) in TARGETS
        assert (target.tensorrt is None) == (board.backend == "onnxruntime")
        assert bool(board.boards) == (target.software.jetpack is not None)
        assert all(release in JETPACKS.values() for release in target.software.releases)
        assert board.verified, "what was proved must be said"
        if board.jetpacks:
            assert any("board" in line for line in board.unverified), "nothing has run on a board"


def test_every_release_of_jetpack_is_found_by_its_number() -> None:
    assert load_target("jetson-orin-nano", jetpack="6.1") == load_target("jetson-orin-nano", jetpack="6.2.3")
    assert load_target("jetson-orin-nano").software.jetpack == "6.2"
    assert load_target("jetson-thor").software.releases == ("7.0", "7.1")


def test_another_tensorrt_is_lowered_for() -> None:
    assert load_target("jetson-agx-orin", jetpack="7.2", tensorrt="11.4.1").lowering(quantized=True) == "trt11"
    assert load_target("x86-tensorrt", tensorrt="8.6").lowering(quantized=True) == "trt8"


def test_power_modes_are_known_by_name() -> None:
    """Orin Nano's ids are no ranks (0 is 15W), and MAXN_SUPER came with JetPack 6.2."""
    assert load_target("jetson-orin-nano", jetpack="6.2").fastest_mode == "MAXN_SUPER"
    assert load_target("jetson-orin-nano", jetpack="6.0").fastest_mode is None
    assert load_target("jetson-orin-nx", jetpack="5.1").fastest_mode == "MAXN"
    assert load_target("jetson-xavier-nx").fastest_mode is None
    assert load_target("arm64-cpu").fastest_mode is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"name": "jetson-orin-nan"}, "did you mean 'jetson-orin-nano'"),
        ({"name": "../../etc"}, "unknown target"),
        ({"name": "jetson-orin-nano", "jetpack": "6.4"}, "did you mean '6.2"),
        ({"name": "jetson-nano", "jetpack": "4.6.9"}, "4.6.6"),
        ({"name": "x86-cpu", "jetpack": "6.2"}, "is no Jetson"),
        ({"name": "x86-cpu", "tensorrt": "10.3"}, "ONNX Runtime"),
        ({"name": "x86-tensorrt", "tensorrt": "ten"}, "no version of TensorRT"),
    ],
)
def test_what_there_is_not_is_named(arguments: dict[str, str], says: str) -> None:
    with pytest.raises(EdgedetError, match=says) as caught:
        load_target(**arguments)
    assert caught.value.fix


def test_a_board_without_software_is_no_board() -> None:
    values = load_target("x86-cpu").board.model_dump()
    with pytest.raises(ValueError, match="either software or jetpacks"):
        Board.model_validate({**values, "software": None})
    with pytest.raises(ValueError, match="must be one of jetpacks"):
        Board.model_validate({**values, "software": None, "jetpacks": ["6.2"]})


def test_the_list_shows_them_all() -> None:
    shown = CliRunner().invoke(app, ["deploy", "--list"])
    assert shown.exit_code == 0 and all(name in shown.stdout for name in target_names())
    plain = json.loads(CliRunner().invoke(app, ["deploy", "--list", "--json"]).stdout)
    assert len(plain["targets"]) == len(all_targets())
    assert {line["name"] for line in plain["targets"] if line["default"]} == set(target_names())
