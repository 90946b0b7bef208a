"""Protocols: what they differ in, what of that matters, and measuring by one again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from measurements import COMPUTER, computed, protocol, result_of

from edgedet.bench.history import entry_of
from edgedet.bench.protocol import Protocol, compared_values, differences, installed_software
from edgedet.bench.reproduce import read_protocol, settings_of
from edgedet.bench.result import read_result, write_result
from edgedet.bench.settings import Input, Settings
from edgedet.errors import EdgedetError

CHANGES: dict[str, Any] = {
    "computer": COMPUTER.model_copy(update={"cpu": "Cortex-A78AE"}),
    "cpus": (0, 1),
    "software": {"edgedet": "0.1.0", "onnxruntime": "1.21.0"},
    "backend": "tensorrt 10.3.0",
    "backend_settings": {"intra_op_threads": 2, "allow_spinning": "0"},
    "operators_sha256": "3" * 64,
    "batch": 2,
    "settings": Settings(threads=2, input=Input(sha256="1" * 64)),
}


def test_a_protocol_has_no_differences_from_itself_also_after_its_file() -> None:
    one = protocol()
    assert differences(one, one) == ()
    assert differences(one, Protocol.model_validate_json(one.model_dump_json())) == ()


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("computer", "computer.cpu: Cortex-A76, Cortex-A78AE"),
        ("cpus", "cpus: 1, 2"),
        ("software", "software.onnxruntime: 1.20.0, 1.21.0"),
        ("backend", "backend: onnxruntime 1.20.0 (cpu), tensorrt 10.3.0"),
        ("backend_settings", "backend_settings.intra_op_threads: 1, 2"),
        ("operators_sha256", f"operators_sha256: none, {'3' * 64}"),
        ("batch", "batch: 1, 2"),
        ("settings", "settings.threads: 1, 2"),
    ],
)
def test_a_difference_is_named_with_both_values(field: str, said: str) -> None:
    assert differences(protocol(), protocol(**{field: CHANGES[field]})) == (said,)


def test_what_only_one_of_them_has_is_a_difference() -> None:
    more = protocol(software={**protocol().software, "tensorrt": "10.3.0"})
    assert differences(protocol(), more) == ("software.tensorrt: none, 10.3.0",)
    assert differences(more, protocol()) == ("software.tensorrt: 10.3.0, none",)


def test_which_of_equal_cores_and_where_the_images_lie_is_no_difference() -> None:
    def fed(folder: str) -> Settings:
        return Settings(input=Input(kind="dataset", path=Path(folder), sha256="1" * 64))

    assert differences(protocol(settings=fed("a")), protocol(settings=fed("b"))) == ()
    assert differences(protocol(cpus=(2,)), protocol(cpus=(3,))) == ()
    assert differences(protocol(cpus=(2,)), protocol(cpus=None)) == ("cpus: 1, none",)


def test_what_a_models_file_decides_makes_no_difference() -> None:
    float16, int8 = (
        protocol(backend_settings={"lowering": lowering, "strongly_typed": typed, "largest_batch": 1})
        for lowering, typed in (("fp16", True), ("trt10", False))
    )
    assert differences(float16, int8) == ()
    larger = protocol(backend_settings={"lowering": "fp16", "strongly_typed": True, "largest_batch": 8})
    assert differences(float16, larger) == ("backend_settings.largest_batch: 1, 8",)


def test_how_long_was_measured_and_what_was_told_of_it_makes_no_difference() -> None:
    longer = Settings(iterations=99, duration=60, average_runs=5, percentiles=(50,), input=protocol().settings.input)
    assert differences(protocol(), protocol(settings=longer)) == ()


def test_other_images_are_a_difference() -> None:
    other = protocol(settings=Settings(input=Input(sha256="9" * 64)))
    assert differences(protocol(), other) == (f"settings.input.sha256: {'1' * 64}, {'9' * 64}",)


@given(st.sets(st.sampled_from(sorted(CHANGES))), st.sets(st.sampled_from(sorted(CHANGES))))
def test_differences_are_the_fields_that_differ_whichever_comes_first(one: set[str], other: set[str]) -> None:
    first, second = (protocol(**{field: CHANGES[field] for field in fields}) for fields in (one, other))
    found = differences(first, second)
    assert {line.partition(":")[0].partition(".")[0] for line in found} == one ^ other
    assert len(found) == len(differences(second, first))
    assert (found == ()) == (compared_values(first) == compared_values(second))


@given(st.sets(st.sampled_from(sorted(CHANGES))), st.sets(st.sampled_from(sorted(CHANGES))))
def test_a_history_keeps_together_what_has_no_differences(one: set[str], other: set[str]) -> None:
    first, second = (protocol(**{field: CHANGES[field] for field in fields}) for fields in (one, other))
    ids = [entry_of(result_of([computed(0, 1)], of=of)).protocol_id for of in (first, second)]
    assert (ids[0] == ids[1]) == (differences(first, second) == ())


def test_installed_software_names_what_takes_part() -> None:
    found = installed_software()
    assert {"edgedet", "python", "numpy"} <= set(found)
    assert all(found.values())


def test_a_protocol_is_read_of_a_result_and_of_its_own_file(tmp_path: Path) -> None:
    result = result_of([computed(0, 1)])
    write_result(tmp_path / "result.json", result)
    (tmp_path / "protocol.json").write_text(result.protocol.model_dump_json())
    assert read_protocol(tmp_path / "result.json") == result.protocol
    assert read_protocol(tmp_path / "protocol.json") == result.protocol


def test_it_is_measured_again_as_it_was_with_the_input_where_it_is_now() -> None:
    recorded = Input(kind="dataset", path=Path("there"), split="test", images=7, sha256="1" * 64)
    of = protocol(settings=Settings(threads=2, percentiles=(50.0,), input=recorded))
    assert settings_of(of, Input()) == of.settings
    moved = settings_of(of, Input(kind="dataset", path=Path("here")))
    assert moved == of.settings.model_copy(update={"input": recorded.model_copy(update={"path": Path("here")})})
    with pytest.raises(EdgedetError, match="of a dataset, not of an image"):
        settings_of(of, Input(kind="image", path=Path("a.png")))
    with pytest.raises(EdgedetError, match="of the generated image, not of a dataset"):
        settings_of(protocol(), Input(kind="dataset", path=Path("here")))


BROKEN = [
    ("", "not valid JSON"),
    ("{", "not valid JSON"),
    ("[" * 100_000, "not valid JSON"),
    ("[]", "holds no protocol"),
    ("null", "holds no protocol"),
    ('{"kind": "bench"}', "holds no protocol"),
    ('{"kind": "bench", "protocol": 3}', "holds no protocol"),
    ("{}", "settings"),
]


@pytest.mark.parametrize(("text", "message"), BROKEN)
def test_another_file_is_no_protocol(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(EdgedetError, match=message):
        read_protocol(tmp_path / "p.json")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("settings", "iterations"), 0),
        (("settings", "duration"), "NaN"),
        (("settings", "percentiles"), [101]),
        (("settings", "shape"), [1, 3, 10**9, 64]),
        (("settings", "streams"), 10**30),
        (("settings", "input", "kind"), "dataset"),
        (("settings", "input", "kind"), "camera"),
        (("settings", "fps"), 0),
        (("settings", "extra"), 1),
        (("backend_settings", "a"), [1]),
        (("software", "a"), 3),
        (("cpus",), ["x"]),
        (("preprocess",), None),
        (("version",), 2),
    ],
)
def test_a_protocol_of_wrong_values_is_refused_in_words(tmp_path: Path, path: tuple[str, ...], value: Any) -> None:
    record = json.loads(protocol().model_dump_json())
    node = record
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    (tmp_path / "p.json").write_text(json.dumps(record))
    with pytest.raises(EdgedetError, match=path[-1]):
        read_protocol(tmp_path / "p.json")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kind": "gate"}', '{"kind": "bench"}', '{"kind": ["bench"]}'])
def test_another_file_is_no_result(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(EdgedetError, match=r"r\.json"):
        read_result(tmp_path / "r.json")


def test_a_camera_has_one_stream() -> None:
    with pytest.raises(ValueError, match="one stream"):
        Settings(fps=30, streams=2)
