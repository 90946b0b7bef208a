from __future__ import annotations

import pickle

import pytest

from edgedet.errors import CheckFailedError, EdgedetError, nearest, unknown_value


@pytest.mark.parametrize(
    ("where", "fix", "text"),
    [
        (None, None, "no such thing"),
        ("a.txt:3", None, "a.txt:3: no such thing"),
        (None, "make one", "no such thing\n  fix: make one"),
        ("a.txt:3", "make one", "a.txt:3: no such thing\n  fix: make one"),
    ],
)
def test_says_where_what_and_how_to_fix(where: str | None, fix: str | None, text: str) -> None:
    assert str(EdgedetError("no such thing", where=where, fix=fix)) == text


def test_exit_codes_tell_bad_input_from_a_failed_check() -> None:
    assert EdgedetError("x").exit_code == 2
    assert CheckFailedError("x").exit_code == 1
    assert isinstance(CheckFailedError("x"), EdgedetError)


def test_survives_the_way_from_a_worker_process() -> None:
    error = pickle.loads(pickle.dumps(CheckFailedError("what", where="here", fix="so")))  # noqa: S301
    assert type(error) is CheckFailedError
    assert str(error) == "here: what\n  fix: so"


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("shufflenet_1.0x", "shufflenetv2_1.0x"),
        ("MOBILENETV2_0.5", "mobilenetv2_0.5"),
        ("squeezenet", "squeezenet_1.1"),
        ("qqqqqq", None),
        ("", None),
    ],
)
def test_nearest(word: str, expected: str | None) -> None:
    assert nearest(word, ["mobilenetv2_0.5", "shufflenetv2_1.0x", "squeezenet_1.1"]) == expected


def test_nearest_of_no_options_is_none() -> None:
    assert nearest("a", []) is None


def test_unknown_value_names_the_nearest_and_all_options() -> None:
    error = unknown_value("split", "tset", iter(["train", "val", "test"]), where="--split")
    assert str(error) == "--split: unknown split 'tset'\n  fix: did you mean 'test'? One of: train, val, test"


def test_unknown_value_with_nothing_near_lists_the_options() -> None:
    assert unknown_value("split", "zzz", ["train", "val"]).fix == "use one of: train, val"
