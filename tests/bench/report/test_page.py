"""The page: what it says of measurements, and that nothing in their files becomes markup."""

from __future__ import annotations

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from measurements import COMPUTER, MOMENT, computed, protocol, result_of

from edgedet.bench.accuracy import Accuracy
from edgedet.bench.comparison.compare import Comparison
from edgedet.bench.comparison.interval import Interval
from edgedet.bench.comparison.verdict import Verdict
from edgedet.bench.gate import GateResult
from edgedet.bench.layers.moved import Move
from edgedet.bench.layers.peak import Peak
from edgedet.bench.layers.table import Layer, layer_table
from edgedet.bench.machine.disturbance import Disturbance
from edgedet.bench.machine.memory import Memory
from edgedet.bench.report.detections import LARGEST_CANVAS, LONGEST_SIDE, canvas_of
from edgedet.bench.report.page import POLICY, page, write_report
from edgedet.bench.report.runs import Contents, read_contents
from edgedet.bench.report.style import DARK, DARK_SERIES, LIGHT, LIGHT_SERIES
from edgedet.bench.report.svg import VARIABLES
from edgedet.bench.result import Box, Result, Sample, write_result
from edgedet.files import sha256_file

TAGS = {
    *("html", "head", "meta", "title", "style", "body", "section", "h1", "h2", "h3", "p", "b", "br", "small", "i"),
    *("ul", "li", "div", "figure", "figcaption", "table", "thead", "tbody", "tr", "th", "td"),
    *("svg", "defs", "g", "path", "use", "text", "tspan", "clippath", "rect", "image"),
}


class Reader(HTMLParser):
    """The tags, attributes and texts of a page; it fails where a tag ends that was not open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def contents_of(folder: Path, *results: Result) -> Contents:
    paths = [folder / f"{place}.json" for place in range(len(results))]
    for path, result in zip(paths, results, strict=True):
        write_result(path, result)
    return read_contents(paths)


def result(name: str = "a.onnx", median: float = 2.0, **changes: Any) -> Result:
    found = result_of([computed(place, place + median + place / 10) for place in range(5)], **changes)
    return found.model_copy(update={"model": found.model.model_copy(update={"path": f"runs/{name}"})})


def layers(label: str = "stem/Conv") -> dict[str, Any]:
    found = [Layer(label, "Conv", 0.4, 0.4, macs=10**6, bytes=10**6, precision="FP32", nodes=(label,))]
    found += [Layer(f"relu {number}", "Relu", 0.01, 0.01) for number in range(14)]
    return layer_table("runtime 1", found, runs=3, whole_run_ms=0.6, peak=Peak(30.0, 80.0, 6.0, 1)).to_dict()


def section(text: str, heading: str) -> str:
    """What stands below a heading."""
    return text.partition(f"<h2>{heading}</h2>")[2].partition("</section>")[0]


def test_the_first_table_tells_each_run_and_its_warnings(tmp_path: Path) -> None:
    busy = Disturbance(kind="busy", what="others took 50% of the time", value=0.5)
    memory = Memory(peak_resident_bytes=123_456_789, since_process_began=False, gpu_bytes=None)
    one = result(map=0.4321, memory=memory, joules_per_image=0.0123, disturbances=(busy,))
    text = page(contents_of(tmp_path, one, result("b.onnx", 7.0)))
    rows = re.findall(r"<tr>(.*?)</tr>", text.partition("<tbody>")[2].partition("</tbody>")[0])
    cells = [Reader(row).text for row in rows]
    assert cells[0].startswith("a.onnx 0.json Cortex-A76 1 2.20 2.40 ")
    assert cells[0].endswith("0.4321 123 12.3 disturbed: others took 50% of the time")
    assert cells[1].startswith("b.onnx 1.json Cortex-A76 1 7.20 7.40 ")
    assert cells[1].endswith("– – – none")
    latency = section(text, "Latency and accuracy")
    assert "a.onnx: disturbed: others took 50% of the time" in Reader(latency).text


def test_runs_of_different_protocols_share_no_axis_and_the_page_says_what_differs(tmp_path: Path) -> None:
    board = protocol(computer=COMPUTER.model_copy(update={"cpu": "Cortex-A78AE"}))
    text = page(contents_of(tmp_path, result(map=0.5), result("b.onnx", of=board, map=0.5)))
    first, second = section(text, "Protocol 1"), section(text, "Protocol 2")
    assert "a.onnx" in first and "b.onnx" not in first
    assert "b.onnx" in second and "a.onnx" not in second
    assert "computer.cpu: Cortex-A76, Cortex-A78AE" in second
    assert "Not to be compared" in second and "Not to be compared" not in first
    marked = re.findall(r'<tr class="differs"><th scope="row">(.*?)</th>', section(text, "Protocol"))
    assert marked == ["computer.cpu"]


def test_accuracy_is_drawn_only_where_it_is_known(tmp_path: Path) -> None:
    assert "Accuracy against latency" not in page(contents_of(tmp_path, result()))
    assert "Accuracy against latency" in page(contents_of(tmp_path, result(map=0.5)))


def test_queries_that_the_axis_does_not_reach_are_told(tmp_path: Path) -> None:
    queries = [computed(place, place + 2 + place % 7 / 100) for place in range(400)] + [computed(0, 90)]
    assert "Beyond the axis: model.onnx: 1 of 401, up to 90 ms." in page(contents_of(tmp_path, result_of(queries)))
    assert "Beyond the axis" not in page(contents_of(tmp_path, result()))


def test_layers_are_bars_and_a_roofline_and_the_rest_is_added_up(tmp_path: Path) -> None:
    found = section(page(contents_of(tmp_path, result(layers=layers()))), "Layers")
    text = Reader(found).text
    assert "stem/Conv (Conv)" in text and "0.400 ms, 74%" in text
    assert "3 other layers" in text and "0.030 ms, 6%" in text
    assert "Roofline: a.onnx" in text and "memory: 6 GB/s" in text


def test_layers_without_work_have_bars_and_no_roofline(tmp_path: Path) -> None:
    table = layer_table("runtime 1", [Layer("a", "Relu", 0.1, 0.1)], runs=3, whole_run_ms=0.2).to_dict()
    text = page(contents_of(tmp_path, result(layers=table)))
    assert "Where the time goes: a.onnx" in text and "Roofline" not in text
    empty = layer_table("runtime 1", [], runs=3, whole_run_ms=0.2).to_dict()
    assert "<h2>Layers</h2>" not in page(contents_of(tmp_path, result(layers=empty)))


def test_a_gate_is_told_with_its_verdict_and_the_layers_that_moved(tmp_path: Path) -> None:
    verdict = Verdict("slower", Interval(0.1, 0.08, 0.12), Interval(0.0, -0.01, 0.01), 0.001, 0.03, 18, True)
    comparison = Comparison(verdict, (verdict,), {}, ((1.0, 1.0, 1.1),), 12.0, False)
    moves = (Move("conv", "Conv", 0.2, 0.9), Move("old", "Relu", 0.1, None), Move("fresh", "Add", None, 0.05))
    accuracy = Accuracy(0.5, 0.4, 0.3, "val", 9)
    gate = GateResult(result(), result("b.onnx"), comparison, None, accuracy, moves, ("a note",), MOMENT)
    (tmp_path / "gate.json").write_text(json.dumps(gate.to_dict()))
    write_report([tmp_path / "gate.json"], tmp_path / "report.html")
    text = Reader((tmp_path / "report.html").read_text()).text
    assert "b.onnx held to a.onnx: fail" in text
    assert "slower: the head takes 10.00% longer (+8.00% to +12.00%), 3.00% are tolerated" in text
    assert "mAP50-95 0.5000 to 0.4000 on 9 images: -10.00 points, 0.3 may be lost" in text
    assert "a note" in text
    assert all(told in text for told in ("0.200 to 0.900 ms", "gone, was 0.100 ms", "new, 0.050 ms"))


DIGEST = "0" * 64


class TestDetections:
    BOXES = (
        Box(xyxy=(10, 20, 110, 70), score=0.9, name="cat"),
        Box(xyxy=(0, 0, 900.5, 1e9), score=0.5, name="dog"),
    )

    def picture(self, folder: Path, height: int, width: int) -> Path:
        path = folder / "scene.png"
        assert cv2.imwrite(str(path), np.full((height, width, 3), 90, np.uint8))
        return path

    def test_models_stand_beside_each_other_on_one_copy_of_the_image(self, tmp_path: Path) -> None:
        image = self.picture(tmp_path, 100, 200)
        digest = sha256_file(image)
        samples = [(Sample(image=str(image), sha256=digest, detections=self.BOXES[:count]),) for count in (1, 2)]
        one, two = result(samples=samples[0]), result("b.onnx", samples=samples[1])
        found = section(page(contents_of(tmp_path, one, two)), "Detections")
        assert found.count("data:image/jpeg;base64,") == 1 and found.count('<use href="#image-0">') == 1
        assert found.count('viewBox="0 0 200 100"') == 2
        text = Reader(found.replace("title>", "b>")).text
        assert "scene.png" in text and "cat 1 dog 1" in text and "dog 0.50" in text
        assert '<rect x="10.0" y="20.0" width="100.0" height="50.0"' in found

    def test_a_model_that_was_measured_twice_is_there_once(self, tmp_path: Path) -> None:
        samples = (Sample(image="gone.jpg", sha256=DIGEST, detections=self.BOXES[:1]),)
        found = section(page(contents_of(tmp_path, result(samples=samples), result(samples=samples))), "Detections")
        assert found.count('<figure class="picture">') == 1

    def test_images_are_made_no_larger_than_they_are_shown(self, tmp_path: Path) -> None:
        large = self.picture(tmp_path, 1000, 3000)
        canvas = canvas_of(large, sha256_file(large), ())
        assert (canvas.width, canvas.height) == (3000, 1000) and canvas.jpeg is not None
        small = cv2.imdecode(np.frombuffer(canvas.jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert small.shape == (160, LONGEST_SIDE, 3)
        small = self.picture(tmp_path, 30, 40)
        jpeg = canvas_of(small, sha256_file(small), ()).jpeg or b""
        assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).shape == (30, 40, 3)

    def test_another_picture_of_that_name_is_not_shown(self, tmp_path: Path) -> None:
        assert canvas_of(self.picture(tmp_path, 30, 40), DIGEST, ()).jpeg is None

    @pytest.mark.parametrize("kind", ["missing", "no image", "folder", "pipe", "long", "null"])
    def test_what_is_no_image_is_a_canvas_that_the_boxes_fit_on(self, tmp_path: Path, kind: str) -> None:
        path = tmp_path / "x.jpg"
        if kind == "no image":
            path.write_bytes(b"\xff\xd8\xffsecret")
        elif kind == "folder":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path)
        path = {"long": tmp_path / ("x" * 5000), "null": Path("a\0b")}.get(kind, path)
        digest = sha256_file(path) if kind == "no image" else DIGEST
        canvas = canvas_of(path, digest, self.BOXES)
        assert (canvas.width, canvas.height, canvas.jpeg) == (900.5, LARGEST_CANVAS, None)

    def test_the_page_says_that_the_image_is_not_here(self, tmp_path: Path) -> None:
        samples = (Sample(image="/no/such/place/gone.jpg", sha256=DIGEST, detections=()),)
        found = section(page(contents_of(tmp_path, result(samples=samples))), "Detections")
        assert "gone.jpg, whose file is not here" in found and "nothing found" in found


def hostile(text: str) -> Result:
    """A result in which a stranger wrote a text wherever there is place for one."""
    found = result()
    box = Box(xyxy=(1, 2, 3, 4), score=0.5, name=text)
    changes = {
        "model": found.model.model_copy(update={"path": text, "architecture": text, "random_weights": True}),
        "protocol": protocol(computer=COMPUTER.model_copy(update={"cpu": text}), backend=text, software={text: text}),
        "disturbances": (Disturbance(kind="busy", what=text, value=1.0),),
        "samples": (Sample(image=text, sha256=DIGEST, detections=(box,)),),
        "layers": {**layers(text), "runtime": text, "notes": [text]},
        "map": 0.5,
    }
    return found.model_copy(update=changes)


def require_harmless(text: str) -> Reader:
    """Only the page's own tags and attributes are in it, all closed, and nothing leads out of it."""
    found = Reader(text)
    assert found.open == []
    assert found.tags <= TAGS | {"title"}
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    links = [value for name, value in found.attributes if name.rpartition(":")[2] in ("href", "src")]
    assert [link for link in links if not link.startswith(("#", "data:image/jpeg;base64,"))] == []
    assert "url(" not in re.sub(r"url\(#[\w-]+\)", "", " ".join(value or "" for _, value in found.attributes))
    return found


EVIL = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "</text></svg><script>1</script>",
    "$\\frac{1}$ $x$ $",
    "\\$ $ &amp; &lt;",
    "]]><!-- --!> </style>",
    "\x00\x1b[31m\u202egnp.exe\ud83d",
    "日本語 العربية",
    "x" * 3000,
]


@pytest.mark.parametrize("text", EVIL, ids=range(len(EVIL)))
def test_texts_of_strangers_stay_texts(tmp_path: Path, text: str) -> None:
    values = json.loads(hostile("PLACE").model_dump_json())
    raw = json.dumps(values).replace('"PLACE"', json.dumps(text))
    (tmp_path / "run.json").write_text(raw)
    write_report([tmp_path / "run.json"], tmp_path / "report.html")
    require_harmless((tmp_path / "report.html").read_text())


def test_a_hostile_text_is_shown_as_it_was_written(tmp_path: Path) -> None:
    evil = "$<b>&\\x$"
    found = require_harmless(page(contents_of(tmp_path, hostile(evil))))
    # The summary, the names of charts and their texts, and the protocol.
    assert found.text.count(evil) > 10


@settings(max_examples=8)
@given(text=st.text(min_size=1, max_size=20))
def test_any_text_stays_a_text(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    values = json.dumps(json.loads(hostile("PLACE").model_dump_json())).replace('"PLACE"', json.dumps(text))
    path = tmp_path_factory.mktemp("run") / "run.json"
    path.write_text(values)
    require_harmless(page(read_contents([path])))


def test_nothing_is_loaded_and_no_script_runs(tmp_path: Path) -> None:
    text = page(contents_of(tmp_path, result(map=0.5, layers=layers())))
    assert f'http-equiv="Content-Security-Policy" content="{POLICY}"' in text
    assert text.index("Content-Security-Policy") < text.index("<style>")
    found = require_harmless(text)
    assert not {"script", "link", "iframe", "object", "form", "base"} & found.tags


def test_every_colour_of_a_chart_is_one_that_the_style_gives_for_light_and_dark(tmp_path: Path) -> None:
    text = page(contents_of(tmp_path, result(map=0.5, layers=layers()), result("b.onnx", layers=layers())))
    head = text.partition("<body>")[0]
    styles = " ".join(value or "" for name, value in Reader(text).attributes if name in ("style", "fill", "stroke"))
    assert re.findall(r"#[0-9a-fA-F]{3,8}\b(?!\))|rgba?\(", styles) == []
    used, light, dark = set(re.findall(r"var\(--([\w-]+)\)", styles)), *head.split("@media")[:2]
    assert {"ink", "dim", "line", "series-0", "series-1"} <= used
    assert all(f"--{name}: #" in light and f"--{name}: #" in dark for name in used)


def luminance(colour: str) -> float:
    """Relative, as WCAG 2.2 defines it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize(("paper", "series"), [(LIGHT, LIGHT_SERIES), (DARK, DARK_SERIES)], ids=["light", "dark"])
def test_colours_stand_out_from_the_paper(paper: dict[str, str], series: tuple[str, ...]) -> None:
    for ground in (paper["paper"], paper["card"]):

        def contrast(colour: str, ground: str = ground) -> float:
            low, high = sorted((luminance(colour), luminance(ground)))
            return (high + 0.05) / (low + 0.05)

        assert min(map(contrast, series)) >= 3
        assert min(contrast(paper["ink"]), contrast(paper["dim"])) >= 4.5
    assert len(series) == sum(name.startswith("series") for name in VARIABLES.values())


def test_ids_are_of_one_element_each_and_references_find_theirs(tmp_path: Path) -> None:
    text = page(contents_of(tmp_path, result(layers=layers()), result("b.onnx", layers=layers())))
    found = Reader(text)
    ids = [value for name, value in found.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    wanted = {value[1:] for name, value in found.attributes if name == "href"}
    wanted |= set(re.findall(r"url\(#([\w-]+)\)", text))
    assert wanted and wanted <= set(ids)


def test_the_same_measurements_give_the_same_page(tmp_path: Path) -> None:
    contents = contents_of(tmp_path, result(map=0.5, layers=layers()))
    assert page(contents) == page(contents)
