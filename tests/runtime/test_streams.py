"""Streams of real senders on this machine, through OpenCV, while the senders are held up, broken and stopped."""

from __future__ import annotations

import http.server
import logging
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stream_servers import MjpegSender, RtspSender, Sender

from edgedet.errors import EdgedetError
from edgedet.runtime.sources import Frame, LiveSettings, Source, SourceLostError, open_source, reader
from edgedet.runtime.sources.device import Device
from edgedet.runtime.sources.reader import FrameReader, back_off

SENDERS = [MjpegSender, RtspSender]
QUICK = LiveSettings(reconnect_seconds=20, silence_seconds=1)
BITS = 10


def numbered(number: int) -> np.ndarray:
    """Ten black or white columns: the bits of the number, which survive any encoder."""
    bits = [255 * (number >> place & 1) for place in range(BITS)]
    return np.repeat(np.repeat(np.array(bits, np.uint8)[None, :, None], 16, axis=1), 48, axis=0).repeat(3, axis=2)


def number_of(frame: Frame) -> int:
    columns = frame.image.reshape(48, BITS, 16, 3).mean(axis=(0, 2, 3))
    return sum(int(column > 127) << place for place, column in enumerate(columns))


def opened(sender: Sender, **changes: float) -> Source:
    return open_source(sender.url, QUICK.model_copy(update=changes))


def eventually(condition: Callable[[], object]) -> None:
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it never came to that")


@pytest.fixture(params=SENDERS, ids=["http", "rtsp"])
def sender(request: pytest.FixtureRequest) -> Iterator[Sender]:
    with request.param(numbered) as sender:
        yield sender


class TestFrames:
    def test_they_are_what_was_sent_in_order(self, sender: Sender) -> None:
        source = opened(sender, queue=1000)
        assert source.video is not None and source.video.is_live
        with closing(iter(source)) as frames:
            taken = list(islice(frames, 10))
        assert [frame.index for frame in taken] == list(range(10))
        first = number_of(taken[0])
        assert [number_of(frame) for frame in taken] == list(range(first, first + 10))
        assert source.counts is not None
        assert (source.counts.dropped, source.counts.reconnections) == (0, 0)

    def test_a_slow_reader_gets_the_newest_and_the_rest_is_counted(self, sender: Sender) -> None:
        with closing(iter(opened(sender))) as frames:
            next(frames)
            for _ in range(3):
                sent = sender.sent
                eventually(lambda sent=sent: sender.sent >= sent + 20)
                frame = next(frames)
                assert number_of(frame) > sent, "what came before is not wanted any more"
                counts = frame.counts
                assert counts is not None
                assert counts.read == frame.index + 1
        assert counts.dropped >= 3 * 10

    def test_a_longer_queue_keeps_so_many(self, sender: Sender) -> None:
        source = opened(sender, queue=5)
        with closing(iter(source)) as frames:
            next(frames)
            before = sender.sent
            eventually(lambda: sender.sent >= before + 20)
            taken = list(islice(frames, 5))
        assert np.diff([frame.index for frame in taken]).tolist() == [1, 1, 1, 1]
        assert taken[0].index > 5

    def test_the_thread_ends_with_the_loop(self, sender: Sender) -> None:
        with closing(iter(opened(sender))) as frames:
            next(frames)
            assert any(thread.name.startswith("reads ") for thread in threading.enumerate())
        eventually(lambda: not any(thread.name.startswith("reads ") for thread in threading.enumerate()))


class TestFaults:
    def test_hung_up_it_comes_back(self, sender: Sender, caplog: pytest.LogCaptureFixture) -> None:
        source = opened(sender)
        with closing(iter(source)) as frames, caplog.at_level(logging.WARNING):
            next(frames)
            sender.hang_up()
            eventually(lambda: next(frames).counts.reconnections == 1)
        assert source.counts is not None
        assert source.counts.lost_seconds > 0
        assert ["gives no frames" in text or "is back after" in text for text in caplog.messages] == [True, True]

    def test_a_sender_that_is_started_again(self) -> None:
        with MjpegSender(numbered) as sender:
            frames = iter(opened(sender))
            next(frames)
        with MjpegSender(numbered, port=sender.port), closing(frames):
            eventually(lambda: next(frames).counts.reconnections == 1)

    def test_a_sender_that_is_gone(self, sender: Sender) -> None:
        source = opened(sender, reconnect_seconds=1.2)
        frames = iter(source)
        next(frames)
        sender.stop()
        with pytest.raises(SourceLostError, match=r"did not come back in 1\.2 s, \d attempts") as caught:
            list(frames)
        assert caught.value.exit_code == 2
        assert sender.url in str(caught.value)

    def test_without_reconnecting_it_ends_at_once(self, sender: Sender) -> None:
        frames = iter(opened(sender, reconnect_seconds=0))
        next(frames)
        connections = sender.connections
        sender.hang_up()
        with pytest.raises(SourceLostError, match=r"gives no frames any more\n"):
            list(frames)
        assert sender.connections == connections

    def test_a_silent_one_is_lost_and_comes_back(self, sender: Sender) -> None:
        with closing(iter(opened(sender))) as frames:
            next(frames)
            connections = sender.connections
            sender.stalled.set()
            eventually(lambda: sender.connections > connections)
            sender.stalled.clear()
            eventually(lambda: next(frames).counts.reconnections == 1)

    def test_one_that_stays_silent_is_given_up(self, sender: Sender) -> None:
        frames = iter(opened(sender, silence_seconds=0.5, reconnect_seconds=0.6))
        next(frames)
        sender.stalled.set()
        with pytest.raises(SourceLostError, match="did not come back"):
            list(frames)

    def test_garbage_in_the_middle_is_survived(self, sender: Sender) -> None:
        with closing(iter(opened(sender))) as frames:
            next(frames)
            sender.garbage.set()
            before = sender.sent
            eventually(lambda: sender.sent >= before + 30 or sender.connections > 1)
            sender.garbage.clear()
            last = sender.sent
            eventually(lambda: number_of(next(frames)) > last)

    def test_nothing_but_garbage_is_an_error_of_the_address(self, sender: Sender) -> None:
        sender.garbage.set()
        with pytest.raises(EdgedetError, match=r"cannot be opened|can be decoded") as caught:
            list(opened(sender, reconnect_seconds=0))
        assert not isinstance(caught.value, SourceLostError)

    def test_leaving_does_not_wait_for_a_silent_one(self, sender: Sender) -> None:
        frames = iter(opened(sender, silence_seconds=60))
        next(frames)
        sender.stalled.set()
        began = time.monotonic()
        frames.close()
        assert time.monotonic() - began < 10


class TestFilesOverHttp:
    @staticmethod
    @contextmanager
    def served(path: Path, share: float = 1.0) -> Iterator[str]:
        """The address of a file of which so much is sent; then the connection ends."""
        data = path.read_bytes()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                with suppress(OSError):
                    self.wfile.write(data[: int(share * len(data))])

            def log_message(self, *arguments: object) -> None:
                """Says nothing."""

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{server.server_port}/{path.name}"
            server.shutdown()

    @pytest.fixture
    def clip(self, tmp_path: Path) -> Path:
        writer = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (160, 48))
        for number in range(40):
            writer.write(numbered(number))
        writer.release()
        return tmp_path / "clip.avi"

    def test_what_has_an_end_is_read_whole_however_slowly(self, clip: Path) -> None:
        with self.served(clip) as url:
            source = open_source(url)
            assert source.video is not None and not source.video.is_live
            numbers = []
            for frame in source:
                time.sleep(0.005)
                numbers.append(number_of(frame))
        assert numbers == list(range(40))
        assert source.counts is None

    def test_half_of_it_is_not_taken_for_the_whole(self, clip: Path) -> None:
        with self.served(clip, 0.5) as url:
            frames = iter(open_source(url, QUICK))
            with pytest.raises(SourceLostError, match=r"ended after \d+ of about 40 frames"):
                list(frames)


class ScriptedCapture:
    """Stands for a camera, which no test machine has: gives its frames, then nothing, or never answers."""

    def __init__(self, frames: int, *, hangs: threading.Event | None = None) -> None:
        self.left, self.hangs, self.released = frames, hangs, False

    def isOpened(self) -> bool:  # noqa: N802
        return not self.released

    def read(self) -> tuple[bool, np.ndarray | None]:
        if self.left == 0:
            if self.hangs is not None:
                self.hangs.wait(30)
            return False, None
        self.left -= 1
        return True, np.zeros((4, 4, 3), np.uint8)

    def release(self) -> None:
        self.released = True


class TestCamera:
    @staticmethod
    def device(captures: list[ScriptedCapture]) -> Device:
        return Device(
            "camera0", "camera 0", lambda _: captures.pop(0) if captures else cv2.VideoCapture(), "plug it in"
        )

    @settings(deadline=None, max_examples=30)
    @given(frames=st.integers(1, 30), queue=st.integers(1, 12))
    def test_a_full_queue_loses_its_oldest(self, frames: int, queue: int) -> None:
        reading = FrameReader(self.device([]), ScriptedCapture(frames), LiveSettings(queue=queue, reconnect_seconds=0))
        reading.start()
        reading._thread.join()
        taken: list[Frame] = []
        with pytest.raises(SourceLostError):
            while True:
                taken.append(reading.take())
        kept = min(frames, queue)
        assert [frame.index for frame in taken] == list(range(frames - kept, frames))
        assert (reading.counts.read, reading.counts.dropped) == (frames, frames - kept)

    def test_plugged_in_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reader, "FIRST_PAUSE", 0.01)
        first, dead, second = ScriptedCapture(2), ScriptedCapture(0), ScriptedCapture(3)
        reading = FrameReader(self.device([dead, second]), first, LiveSettings(queue=10, reconnect_seconds=0.5))
        reading.start()
        taken = [reading.take() for _ in range(5)]
        assert [frame.index for frame in taken] == list(range(5))
        with pytest.raises(SourceLostError, match=r"camera 0 gives no frames any more"):
            reading.take()
        assert reading.counts.reconnections == 1
        assert first.released and dead.released and second.released

    def test_a_driver_that_hangs_is_not_waited_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reader, "HANGING_SECONDS", 0.2)
        monkeypatch.setattr(reader, "SECONDS_TO_END", 0.1)
        go_on = threading.Event()
        reading = FrameReader(self.device([]), ScriptedCapture(1, hangs=go_on), LiveSettings(silence_seconds=0.2))
        reading.start()
        assert reading.take().index == 0
        with pytest.raises(SourceLostError, match="camera 0 hangs"):
            reading.take()
        reading.stop()
        go_on.set()
        reading._thread.join(5)
        assert not reading._thread.is_alive()

    def test_a_failure_of_the_thread_is_heard(self) -> None:
        def broken(_: float) -> cv2.VideoCapture:
            raise MemoryError

        device = Device("camera0", "camera 0", broken, "")
        reading = FrameReader(device, ScriptedCapture(1), LiveSettings())
        reading.start()
        reading.take()
        with pytest.raises(MemoryError):
            reading.take()

    def test_pauses_double_up_to_a_bound(self) -> None:
        assert list(islice(back_off(), 7)) == [0.5, 1, 2, 4, 8, 8, 8]


GSTREAMER_SERVER = """
import sys
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service("0")
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(
    "( videotestsrc is-live=true ! video/x-raw,width=160,height=48,framerate=30/1,format=I420 ! jpegenc"
    " ! rtpjpegpay name=pay0 )"
)
factory.set_shared(True)
server.get_mount_points().add_factory("/live", factory)
server.attach(None)
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
"""
SYSTEM_PYTHON = "/usr/bin/python3"


def has_gstreamer_server() -> bool:
    """Debian: python3-gi, gir1.2-gst-rtsp-server-1.0, gstreamer1.0-plugins-good."""
    asked = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst; Gst.init(None)"
    asked += "; import sys; sys.exit(Gst.ElementFactory.find('rtpjpegpay') is None)"
    if not Path(SYSTEM_PYTHON).exists():
        return False
    return subprocess.run([SYSTEM_PYTHON, "-c", asked], capture_output=True).returncode == 0


def test_a_server_of_others_that_is_killed() -> None:
    """GStreamer's RTSP server, for one that this project did not write."""
    if not has_gstreamer_server():
        pytest.skip("GStreamer's RTSP server is not installed")
    with subprocess.Popen([SYSTEM_PYTHON, "-c", GSTREAMER_SERVER], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        source = open_source(
            f"rtsp://127.0.0.1:{int(server.stdout.readline())}/live", LiveSettings(reconnect_seconds=0)
        )
        frames = iter(source)
        taken = list(islice(frames, 5))
        server.kill()
        with pytest.raises(SourceLostError):
            list(frames)
    assert {frame.image.shape for frame in taken} == {(48, 160, 3)}
    assert taken[0].image[:24, :20].mean() > 200, "the test picture's first bar is white"
