"""Whether `edgedet predict` can run on a stream for ever: its memory, open files and threads while it does.

    python benchmarks/soak.py [--minutes 10] [--stream rtsp] [--fps 30] [--hang-up-every 30] [--plot soak.svg]
    python benchmarks/soak.py --runner build/native/export/runner/edgedet-run       the C++ runner, built with OpenCV

A sender on this machine loops pictures of 640x480 and hangs up now and then, so that reconnecting is soaked too; the
detector has random weights, which change no memory. Every second the resident memory, the threads and the open files
of the process are read from /proc, and what became of the frames from its JSON lines.

The verdict leaves the first fifth out, in which libraries fill their caches. The rest is cut into 20 blocks of equal
length, whose means are nearly independent where single samples are not, and a line is fitted to them. `flat`: the whole
95 % interval of its slope is below 8 MiB an hour, and neither threads nor open files have a higher maximum in the
second half than in the first; `grows`: the whole interval is above, or one of them has; else `inconclusive`: measure
for longer. Ten minutes tell 8 MiB an hour from nothing, no less; a frame lost at each reconnection would be 100.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from protocol import print_protocol

from edgedet.graph.export import export_model

ROOT = Path(__file__).resolve().parents[1]
LOOP = 90
"""Pictures until the first comes again."""
SETTLING = 0.2
BLOCKS = 20
STUDENT = 2.101
"""The 97.5 % point of Student's distribution with BLOCKS - 2 degrees of freedom."""
BOUND_MIB_PER_HOUR = 8.0
MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Sample:
    """The process at one moment.

    Attributes:
        seconds: since the first line.
        resident_mib, threads, files: of the process.
        frames: that were detected in so far.
        stream: `edgedet.runtime.sources.StreamCounts` of the last line.
    """

    seconds: float
    resident_mib: float
    threads: int
    files: int
    frames: int
    stream: dict[str, Any]


class Lines:
    """Reads what predict prints: the count of lines, and the last one's counts."""

    def __init__(self, pipe: IO[str]) -> None:
        self.count, self.stream = 0, {}
        self._pipe = pipe
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._pipe:
            self.stream = json.loads(line)["stream"]
            self.count += 1


def main() -> int:
    """Prints the table and the verdict."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--stream", choices=["rtsp", "http"], default="rtsp")
    parser.add_argument("--fps", type=float, default=30.0, help="of the sender")
    parser.add_argument("--hang-up-every", type=float, default=30.0, metavar="SECONDS", help="0 never")
    parser.add_argument("--model", default="shufflenetv2_0.5x")
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--runner", type=Path, metavar="PROGRAM", help="this instead of edgedet predict")
    parser.add_argument("--plot", type=Path, help="draw the memory into this file (needs matplotlib)")
    parser.add_argument("--save", type=Path, metavar="JSON", help="write the samples")
    options = parser.parse_args()
    if options.minutes < 1:
        parser.error("--minutes: a slope needs 1 at least")
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.onnx"
        export_model(options.model, model, classes=20, size=(options.imgsz, options.imgsz))
        command = [sys.executable, "-m", "edgedet", "predict", "--json", "--no-save"]
        if options.runner is not None:
            library = next((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so*"))
            command = [str(options.runner.resolve()), "--onnxruntime", str(library)]
        command += ["--threads", "1", str(model)]
        samples, sent = soak(command, options.minutes * 60, options.stream, options.fps, options.hang_up_every)
    if options.save is not None:
        options.save.write_text(json.dumps([vars(sample) for sample in samples]))
    if options.plot is not None:
        plot(samples, options.plot)
    print_samples(samples, sent)
    verdict = judge(samples)
    print_protocol(
        "onnxruntime",
        "opencv-python-headless",
        program="edgedet predict" if options.runner is None else options.runner.name,
        model=f"{options.model}@{options.imgsz}",
        stream=f"{options.stream} of 640x480 at {options.fps:g} a second, hung up every {options.hang_up_every:g} s",
        minutes=options.minutes,
    )
    return 0 if verdict == "flat" else 1


def soak(command: list[str], seconds: float, stream: str, fps: float, hang_up_every: float) -> tuple[list[Sample], int]:
    """Samples of a command that runs for so long after its first line, and how many pictures were sent."""
    spawning = multiprocessing.get_context("spawn")
    here, there = spawning.Pipe()
    sender = spawning.Process(target=send, args=(there, stream, fps), daemon=True)
    sender.start()
    with subprocess.Popen([*command, here.recv()], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = Lines(process.stdout)
        while lines.count == 0 and process.poll() is None:
            time.sleep(0.1)
        began = time.monotonic()
        samples: list[Sample] = []
        hang_up_at = hang_up_every or float("inf")
        while process.poll() is None and time.monotonic() < began + seconds:
            samples.append(sample(process.pid, time.monotonic() - began, lines))
            if samples[-1].seconds >= hang_up_at:
                here.send("hang up")
                hang_up_at += hang_up_every
            time.sleep(1)
        process.terminate()
        code = process.wait(60)
    here.send("stop")
    sent = here.recv()
    sender.join(10)
    if code != 0 or not samples:
        raise SystemExit(f"{command[0]} ended with {code}")
    return samples, sent


def send(pipe: Connection, stream: str, fps: float) -> None:
    """Runs a sender until it is told to stop."""
    sys.path.insert(0, str(ROOT / "tests"))
    from stream_servers import MjpegSender, RtspSender

    pictures = [picture(number) for number in range(LOOP)]
    with {"rtsp": RtspSender, "http": MjpegSender}[stream](lambda number: pictures[number % LOOP], fps) as sender:
        pipe.send(sender.url)
        while pipe.recv() != "stop":
            sender.hang_up()
        pipe.send(sender.sent)


def picture(number: int) -> NDArray[np.uint8]:
    """Smooth noise that moves, with a disc that moves the other way."""
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    image = np.roll(cv2.resize(noise, (640, 480), interpolation=cv2.INTER_CUBIC), 7 * number, axis=1)
    return cv2.circle(image, (640 - 7 * number % 640, 240), 60, (40, 40, 220), -1)


def sample(pid: int, seconds: float, lines: Lines) -> Sample:
    """Of the process now."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return Sample(
        seconds=seconds,
        resident_mib=int(status["VmRSS"].split()[0]) * 1024 / MEBIBYTE,
        threads=int(status["Threads"]),
        files=len(list(Path(f"/proc/{pid}/fd").iterdir())),
        frames=lines.count,
        stream=dict(lines.stream),
    )


def growth(samples: list[Sample]) -> tuple[float, float, float]:
    """MiB an hour: the slope, and the ends of its 95 % interval."""
    settled = [one for one in samples if one.seconds >= SETTLING * samples[-1].seconds]
    groups = np.array_split(np.arange(len(settled)), BLOCKS)
    hours = np.array([statistics.mean(settled[at].seconds for at in group) for group in groups]) / 3600
    mib = np.array([statistics.mean(settled[at].resident_mib for at in group) for group in groups])
    centred = hours - hours.mean()
    slope = float((centred * mib).sum() / (centred**2).sum())
    residuals = mib - mib.mean() - slope * centred
    error = STUDENT * float(np.sqrt((residuals**2).sum() / (BLOCKS - 2) / (centred**2).sum()))
    return slope, slope - error, slope + error


def judge(samples: list[Sample]) -> str:
    """Prints the verdict with its reasons."""
    slope, lowest, highest = growth(samples)
    settled = [one for one in samples if one.seconds >= SETTLING * samples[-1].seconds]
    halves = settled[: len(settled) // 2], settled[len(settled) // 2 :]
    more = [
        name
        for name in ("threads", "files")
        if max(getattr(one, name) for one in halves[1]) > max(getattr(one, name) for one in halves[0])
    ]
    if more or lowest > BOUND_MIB_PER_HOUR:
        verdict = "grows"
    else:
        verdict = "flat" if highest < BOUND_MIB_PER_HOUR else "inconclusive"
    print(
        f"verdict: {verdict}. Resident memory {slope:+.2f} MiB an hour ({lowest:+.2f} to {highest:+.2f}, bound "
        f"{BOUND_MIB_PER_HOUR:g}); more threads or open files in the second half: {', '.join(more) or 'neither'}"
    )
    return verdict


def print_samples(samples: list[Sample], sent: int) -> None:
    """About ten rows, and the whole."""
    print("| minute | resident MiB | threads | open files | frames/s | dropped | reconnections |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    places = np.unique(np.linspace(0, len(samples) - 1, 11).round().astype(int))
    previous = None
    for one in (samples[place] for place in places):
        rate = "-"
        if previous is not None:
            rate = f"{(one.frames - previous.frames) / (one.seconds - previous.seconds):.1f}"
        row = [f"{one.seconds / 60:.1f}", f"{one.resident_mib:.1f}", one.threads, one.files, rate]
        print("| " + " | ".join(map(str, [*row, one.stream["dropped"], one.stream["reconnections"]])) + " |")
        previous = one
    last = samples[-1]
    print(
        f"{last.seconds:.0f} s: {sent} pictures sent, {last.stream['read']} frames came, {last.frames} detected in, "
        f"{last.stream['dropped']} dropped, lost and found again {last.stream['reconnections']} times, "
        f"{last.stream['lost_seconds']:.1f} s away; {last.frames / last.seconds:.1f} frames/s"
    )


def plot(samples: list[Sample], path: Path) -> None:
    """Memory over time."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 3), layout="constrained")
    axes.plot([one.seconds / 60 for one in samples], [one.resident_mib for one in samples], linewidth=0.8)
    axes.axvspan(0, SETTLING * samples[-1].seconds / 60, alpha=0.15, color="grey", label="left out")
    axes.set_xlabel("minutes")
    axes.set_ylabel("resident memory, MiB")
    axes.set_ylim(bottom=0)
    axes.legend(loc="lower right")
    figure.savefig(path)


if __name__ == "__main__":
    sys.exit(main())
