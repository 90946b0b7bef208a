"""The page in headless Chromium: it fits, light and dark, narrow and wide, and loads nothing."""

from __future__ import annotations

import base64
import fcntl
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from measurements import COMPUTER, computed, protocol, result_of

from edgedet.bench.layers.peak import Peak
from edgedet.bench.layers.table import Layer, layer_table
from edgedet.bench.machine.disturbance import Disturbance
from edgedet.bench.report.page import write_report
from edgedet.bench.result import Box, Result, Sample, write_result
from edgedet.files import sha256_file

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
SECONDS = 60.0

pytestmark = pytest.mark.skipif(BROWSER is None, reason=f"no browser here: none of {', '.join(BROWSERS)}")


class DevTools:
    """Chromium's DevTools protocol over a pair of pipes: JSON, each message ended by a zero byte.

    Source: chromium, content/public/common/content_switches.cc, `remote-debugging-pipe`: it reads descriptor 3 and
    writes 4. chromedevtools.github.io/devtools-protocol has the methods.
    """

    def __init__(self, reading: int, writing: int) -> None:
        self._reading, self._writing = reading, writing
        self._rest = b""
        self._numbers = itertools.count(1)
        self.session: str | None = None
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """What a method answers; events that come meanwhile are kept."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self.session is not None:
            message["sessionId"] = self.session
        os.write(self._writing, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def wait_for(self, event: str) -> None:
        """Until it has come."""
        while not any(one.get("method") == event for one in self.events):
            self.events.append(self._next())

    def evaluate(self, expression: str) -> Any:
        """A value of the page's; the tools are not held to the page's policy."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"]["value"]

    def _next(self) -> dict[str, Any]:
        end = time.monotonic() + SECONDS
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._reading], [], [], max(end - time.monotonic(), 0))
            assert ready, "the browser does not answer"
            block = os.read(self._reading, 1 << 20)
            assert block, "the browser has ended"
            self._rest += block
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)


@contextmanager
def opened(folder: Path) -> Iterator[DevTools]:
    """A browser with one empty page."""
    (to_browser, writing), (reading, from_browser) = _pipe(), _pipe()
    command = [
        str(BROWSER),
        "--headless=new",
        "--disable-gpu",
        # As root, as in a container, there is no sandbox to be had.
        "--no-sandbox",
        "--no-first-run",
        "--hide-scrollbars",
        f"--user-data-dir={folder}",
        "--remote-debugging-pipe",
        "about:blank",
    ]
    # A shell puts the pipes where the browser looks for them.
    moved = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
    process = subprocess.Popen(
        ["bash", "-c", moved, "bash", *command],
        pass_fds=(to_browser, from_browser),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_browser)
    os.close(from_browser)
    try:
        tools = DevTools(reading, writing)
        target = tools.call("Target.createTarget", url="about:blank")["targetId"]
        tools.session = tools.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        yield tools
    finally:
        process.terminate()
        process.wait(SECONDS)
        os.close(reading)
        os.close(writing)


def _pipe() -> tuple[int, int]:
    """The ends of a pipe, neither of which is one of the numbers that the browser's get."""
    low = os.pipe()
    high = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 20) for end in low)
    for end in low:
        os.close(end)
    return high[0], high[1]


def result(name: str, folder: Path, **changes: Any) -> Result:
    found = result_of([computed(place, place + 2 + place % 13 / 10) for place in range(60)], **changes)
    boxes = tuple(Box(xyxy=(20 * place, 30, 20 * place + 90, 120), score=0.9, name="cell") for place in range(5))
    layers = [
        Layer(f"backbone.stage{place}.a-long-name/Conv", "Conv", 0.1 * place + 0.1, 0.1, macs=10**6, bytes=10**5)
        for place in range(20)
    ]
    scene = folder / "scene.png"
    table = layer_table("runtime 1", layers, runs=3, whole_run_ms=2.0, peak=Peak(30.0, 80.0, 6.0, 1))
    return found.model_copy(
        update={
            "model": found.model.model_copy(update={"path": name}),
            "map": 0.5,
            "layers": table.to_dict(),
            "samples": (Sample(image=str(scene), sha256=sha256_file(scene), detections=boxes),),
            "disturbances": (Disturbance(kind="busy", what="others took 50% of the measured CPUs' time", value=0.5),),
        }
    )


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with everything that a page can have, and names without a place to break them."""
    folder = tmp_path_factory.mktemp("report")
    assert cv2.imwrite(str(folder / "scene.png"), np.full((300, 900, 3), 90, np.uint8))
    other = protocol(computer=COMPUTER.model_copy(update={"cpu": "W" * 300}))
    results = [
        result("a.onnx", folder),
        result(f"{'m' * 200}.onnx", folder),
        result('<img src="http://127.0.0.1:9/x.png">.onnx', folder, of=other),
    ]
    paths = [folder / f"{place}.json" for place in range(len(results))]
    for path, one in zip(paths, results, strict=True):
        write_result(path, one)
    write_report(paths, folder / "report.html")
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevTools]:
    with opened(tmp_path_factory.mktemp("browser")) as tools:
        yield tools


def show(browser: DevTools, page: Path, *, width: int, scheme: str) -> None:
    """Opens the page anew in a window of that width."""
    browser.events.clear()
    for domain in ("Page", "Network", "Log", "Runtime"):
        browser.call(f"{domain}.enable")
    browser.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    browser.call("Page.navigate", url=page.as_uri())
    browser.wait_for("Page.loadEventFired")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [380, 1600])
def test_the_page_fits_is_light_or_dark_and_loads_nothing(
    browser: DevTools, report: Path, tmp_path: Path, width: int, scheme: str
) -> None:
    show(browser, report, width=width, scheme=scheme)
    assert browser.evaluate("window.innerWidth") == width
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    wide = browser.evaluate(
        "[...document.querySelectorAll('body *')].filter(one => !one.closest('.wide, svg') && "
        "one.getBoundingClientRect().right > innerWidth + 0.5).map(one => one.outerHTML.slice(0, 200))"
    )
    assert wide == []
    paper = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    red = int(paper.removeprefix("rgb(").partition(",")[0])
    assert red > 200 if scheme == "light" else red < 60
    asked = [
        event["params"]["request"]["url"]
        for event in browser.events
        if event.get("method") == "Network.requestWillBeSent"
    ]
    assert report.as_uri() in asked
    assert [url for url in asked if url != report.as_uri() and not url.startswith("data:")] == []
    said = [event["params"]["entry"]["text"] for event in browser.events if event.get("method") == "Log.entryAdded"]
    assert said == []
    picture = base64.b64decode(browser.call("Page.captureScreenshot", format="png")["data"])
    pixels = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    assert pixels.shape[1] == width
    corner = pixels[-1, 0].mean()
    assert corner > 200 if scheme == "light" else corner < 60
    # Something is drawn: not every pixel is paper.
    assert np.abs(pixels.astype(int) - pixels[-1, 0]).max() > 100


def test_charts_are_drawn_and_the_image_is_seen(browser: DevTools, report: Path) -> None:
    show(browser, report, width=1600, scheme="light")
    empty = browser.evaluate(
        "[...document.querySelectorAll('svg')].filter(one => { const box = one.getBoundingClientRect(); "
        "return box.width < 100 || box.height < 50; }).length"
    )
    assert empty == 0
    box = browser.evaluate(
        "(() => { const box = document.querySelector('#image-0').getBoundingClientRect(); "
        "return [box.width, box.height]; })()"
    )
    assert box[0] == pytest.approx(3 * box[1], rel=0.02) and box[0] > 100
    strokes = browser.evaluate(
        "[...new Set([...document.querySelectorAll('.chart [style*=\"var(--series\"]')]"
        ".map(one => getComputedStyle(one).stroke).filter(one => one.startsWith('rgb')))].length"
    )
    assert strokes >= 3
