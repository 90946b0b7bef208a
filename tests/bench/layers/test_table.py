"""Shares, rates and the roofline, by hand; what moved between two tables; what trtexec would have written."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from edgedet.bench.layers.moved import beyond_noise, moved
from edgedet.bench.layers.peak import Peak, last_cache_bytes, measure_peak
from edgedet.bench.layers.plot import roofline_figure, save_roofline
from edgedet.bench.layers.table import Layer, LayerTable, layer_table
from edgedet.bench.layers.trtexec import profile_json, profile_text
from edgedet.engine.inspect.profile import read_profile
from edgedet.errors import EdgedetError

PEAK = Peak(float32_gmacs=10, integer_gmacs=40, gigabytes_per_second=5, threads=1)


def layer(name: str, milliseconds: float, kind: str = "Conv", **values: Any) -> Layer:
    return Layer(name, kind, milliseconds, milliseconds, **values)


def table_of(*layers: Layer, runs: int = 4, whole_run_ms: float = 10, **values: Any) -> LayerTable:
    return layer_table("a runtime", layers, runs=runs, whole_run_ms=whole_run_ms, **values)


class TestTheTable:
    def test_shares_and_rates(self) -> None:
        table = table_of(layer("a", 3, macs=6_000_000, bytes=1_500_000), layer("b", 1, macs=0, bytes=None))
        first, second = table.layers
        assert (first.share, second.share, table.total_ms) == (0.75, 0.25, 4)
        assert first.achieved_gmacs == pytest.approx(2)
        assert first.bytes_per_second == pytest.approx(5e8)
        assert (second.achieved_gmacs, second.bytes_per_second) == (None, None)

    @pytest.mark.parametrize(
        ("macs", "moved_bytes", "precision", "share"),
        [
            (10_000_000, 1000, "FP32", 0.5),  # a millisecond of arithmetic
            (10_000_000, 1000, "UINT8", 0.125),
            (10_000_000, 10_000_000, "UINT8", 1.0),  # two of memory
            (0, 5_000_000, "FP16", 0.5),
            (10_000_000, 1000, "FP16", None),  # whose peak is not measured
            (None, 1000, "FP32", None),
            (10, None, "FP32", None),
        ],
    )
    def test_the_share_of_the_peak_is_the_longer_of_arithmetic_and_memory(
        self, macs: int | None, moved_bytes: int | None, precision: str, share: float | None
    ) -> None:
        table = table_of(layer("a", 2, macs=macs, bytes=moved_bytes, precision=precision), peak=PEAK)
        assert table.layers[0].peak_share == (None if share is None else pytest.approx(share))

    def test_macs_that_no_layer_has_are_told(self) -> None:
        table = table_of(layer("a", 1, macs=70), graph_macs=100)
        assert table.unaccounted_macs == 30
        assert table.notes == ("30 of 100 multiply-accumulates belong to no layer",)
        assert table_of(layer("a", 1, macs=100), graph_macs=100).notes == ()

    def test_layers_that_take_longer_together_than_a_run_are_told(self) -> None:
        (note,) = table_of(layer("a", 13), whole_run_ms=10).notes
        assert "the layers add up to 13 ms, a run without it takes 10 ms" in note
        assert table_of(layer("a", 11), whole_run_ms=10).notes == ()

    def test_no_time_at_all_is_no_share(self) -> None:
        assert table_of(layer("a", 0, macs=1, bytes=1), peak=PEAK).layers[0].share is None


class TestWhatMoved:
    def test_the_largest_difference_comes_first_whichever_way_it_goes(self) -> None:
        base = table_of(layer("a", 1), layer("b", 5), layer("c", 2))
        head = table_of(layer("a", 2), layer("b", 1), layer("c", 2))
        assert [(move.label, move.difference_ms) for move in moved(base, head)] == [("b", -4), ("a", 1), ("c", 0)]

    def test_a_convolution_in_float_is_the_one_in_integers(self) -> None:
        base = table_of(layer("relu_nchwc", 3, nodes=("conv", "relu"), shape=(1, 8, 4, 4)))
        head = table_of(layer("conv_token_1", 1, "QLinearConv", nodes=("conv",), shape=(1, 4, 4, 8)))
        (move,) = moved(base, head)
        assert (move.label, move.kind, move.base_ms, move.head_ms) == ("conv", "QLinearConv", 3, 1)

    def test_layers_of_other_names_are_paired_by_kind_and_shape_in_order(self) -> None:
        base = table_of(layer("a", 1, shape=(1, 2)), layer("b", 2, shape=(1, 2)), layer("c", 4, shape=(3,)))
        head = table_of(layer("d", 3, shape=(1, 2)), layer("e", 9, "Add", shape=(3,)))
        times = [(move.label, move.base_ms, move.head_ms) for move in moved(base, head)]
        assert times == [("e", None, 9), ("c", 4, None), ("d", 1, 3), ("b", 2, None)]

    def test_what_was_inserted_is_paired_by_shape_not_by_name(self) -> None:
        base = table_of(layer("Reorder_token_1", 1, "Reorder", nodes=(), shape=(8,)))
        head = table_of(layer("Reorder_token_1", 5, "Reorder", nodes=(), shape=(9,)))
        assert [(move.base_ms, move.head_ms) for move in moved(base, head)] == [(None, 5), (1, None)]

    def test_a_table_has_not_moved_from_itself(self) -> None:
        table = table_of(layer("a", 1), layer("a", 2), layer("b", 3, nodes=()))
        assert [move.difference_ms for move in moved(table, table)] == [0, 0, 0]

    def test_what_differs_less_than_the_bases_own_layers_did_is_noise(self) -> None:
        base, again = (table_of(layer("a", first), layer("b", 2), layer("c", 3)) for first in (1.0, 1.25))
        head = table_of(layer("a", 1.25), layer("b", 2.5), layer("c", 2.5))
        found = beyond_noise(moved(base, head), moved(base, again))
        assert {move.label for move in found} == {"b", "c"}

    def test_without_noise_everything_that_differs_moved(self) -> None:
        base, head = table_of(layer("a", 1), layer("b", 2)), table_of(layer("a", 1), layer("b", 3))
        assert [move.label for move in beyond_noise(moved(base, head), moved(base, base))] == ["b"]


class TestAsTrtexec:
    TABLE = table_of(Layer("stem/Conv + PWN(stem/Clip)", "Convolution", 0.3, 0.35), Layer('b "c"', "Add", 0.1, 0.15))

    def test_the_reader_of_engines_profiles_reads_it(self) -> None:
        times = read_profile(profile_json(self.TABLE))
        assert times == {"stem/Conv + PWN(stem/Clip)": 0.3, 'b "c"': 0.1}

    def test_the_json_has_trtexecs_records(self) -> None:
        count, first, _ = json.loads(profile_json(self.TABLE))
        assert count == {"count": 4}
        assert list(first) == ["name", "timeMs", "averageMs", "medianMs", "percentage"]
        assert first["timeMs"] == pytest.approx(1.4)
        assert first["percentage"] == pytest.approx(70)

    def test_the_text_has_trtexecs_columns(self) -> None:
        assert profile_text(self.TABLE).splitlines() == [
            "=== Profile (4 iterations ) ===",
            "   Time(ms)     Avg.(ms)   Median(ms)   Time(%)   Layer",
            "       1.40       0.3500       0.3000      70.0   stem/Conv + PWN(stem/Clip)",
            '       0.60       0.1500       0.1000      30.0   b "c"',
            "       2.00       0.5000       0.4000     100.0   Total",
        ]


class TestThePeak:
    def test_this_device_has_one(self) -> None:
        peak = measure_peak(1)
        assert peak.float32_gmacs > 0.1 and peak.integer_gmacs > 0.1 and peak.gigabytes_per_second > 0.1

    def test_the_last_cache_is_the_largest_that_linux_tells(self, tmp_path: Path) -> None:
        for index, size in enumerate(["32K", "512K", "32M", "none", ""]):
            (tmp_path / f"index{index}").mkdir()
            (tmp_path / f"index{index}" / "size").write_text(f"{size}\n")
        assert last_cache_bytes(tmp_path) == 32 << 20
        assert last_cache_bytes(tmp_path / "missing") == 0


class TestThePlot:
    TABLE = table_of(
        *(layer(f"layer{n}", n, nodes=(f"node{n}",), macs=n * 1_000_000, bytes=n * 1000) for n in range(1, 8)),
        layer("reorder", 12, "Reorder", macs=0, bytes=1000),
        peak=PEAK,
    )

    def test_the_five_that_take_longest_are_named_and_all_products_drawn(self) -> None:
        (axes,) = roofline_figure(self.TABLE).axes
        texts = " ".join(text.get_text() for text in axes.texts)
        assert re.findall(r"node\d", texts) == [f"node{n}" for n in (7, 6, 5, 4, 3)]
        assert sum(len(dots.get_offsets()) for dots in axes.collections) == 7
        assert axes.get_title() == "a runtime: 7 layers with products, 70% of the layers' time"

    def test_both_roofs_end_at_their_peaks_and_begin_at_the_memorys(self) -> None:
        (axes,) = roofline_figure(self.TABLE).axes
        lines = [line for line in axes.lines if len(line.get_xdata()) > 1]
        assert [line.get_ydata()[-1] for line in lines] == [10, 40]
        assert "memory: 5 GB/s" in [text.get_text() for text in axes.texts]

    def test_a_table_without_macs_is_refused(self) -> None:
        with pytest.raises(EdgedetError, match="nothing to draw"):
            roofline_figure(table_of(layer("a", 1)))

    def test_the_picture_is_a_png(self, tmp_path: Path) -> None:
        save_roofline(self.TABLE, tmp_path / "roofline.png")
        assert (tmp_path / "roofline.png").read_bytes().startswith(b"\x89PNG")
