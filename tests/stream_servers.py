"""Senders of video on this machine, which tests can stop, hold up and break: MJPEG over HTTP, and RTSP with RTP/JPEG.

Sources: RFC 2046 (multipart), RFC 2326 (RTSP, its messages and interleaved binary data), RFC 3550 (RTP), RFC 2435 (its
payload for JPEG).
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import cv2
import numpy as np

BOUNDARY = b"frame"

Picture = Callable[[int], np.ndarray]
"""The image of a number, uint8 `[h, w, 3]` BGR."""


class Sender:
    """A server of one stream to any number of clients; the pictures' numbers go on from client to client.

    Attributes:
        sent: pictures that were sent so far, to whomever.
        connections: clients so far.
        stalled: while set, nothing is sent and no connection closed.
        garbage: while set, what is sent is no picture.
    """

    scheme = ""

    def __init__(self, picture: Picture, fps: float = 60.0, port: int = 0) -> None:
        self.sent = self.connections = 0
        self.stalled, self.garbage = threading.Event(), threading.Event()
        self._picture, self._interval = picture, 1 / fps
        self._stopped = threading.Event()
        self._clients: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{self.scheme}://127.0.0.1:{self.port}/live"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Hangs up on every client and listens no more."""
        self._stopped.set()
        for end in (self._listener, *self._clients):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        for thread in self._threads:
            thread.join(5)

    def hang_up(self) -> None:
        """Ends the connections that there are, and takes new ones."""
        clients, self._clients = self._clients, []
        for client in clients:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._clients.append(client)
            thread = threading.Thread(target=self._serve_quietly, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve_quietly(self, client: socket.socket) -> None:
        with suppress(OSError), client:
            self.serve(client)

    def serve(self, client: socket.socket) -> None:
        raise NotImplementedError

    def jpegs(self):
        """What to send, at the sender's rate: the encoded pictures."""
        due = time.monotonic()
        while not self._stopped.is_set():
            if not self.stalled.is_set():
                number, self.sent = self.sent, self.sent + 1
                yield cv2.imencode(".jpg", self._picture(number), [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
            due = max(due + self._interval, time.monotonic() - self._interval)
            self._stopped.wait(max(0.0, due - time.monotonic()))


class MjpegSender(Sender):
    """Pictures as the parts of one endless answer, as network cameras send them."""

    scheme = "http"

    def serve(self, client: socket.socket) -> None:
        client.recv(65536)
        client.sendall(
            b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=" + BOUNDARY + b"\r\n\r\n"
        )
        for jpeg in self.jpegs():
            if self.garbage.is_set():
                jpeg = b"\x00\xff" * (len(jpeg) // 2)
                client.sendall(jpeg)
                continue
            client.sendall(b"--" + BOUNDARY + b"\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg))
            client.sendall(jpeg + b"\r\n")


class RtspSender(Sender):
    """RTSP over TCP: RTP packets of JPEG pictures between the messages."""

    scheme = "rtsp"
    clock = 90_000
    payload_limit = 1400

    def serve(self, client: socket.socket) -> None:
        reading = client.makefile("rb")
        while (request := self._request(reading)) is not None:
            method, headers = request
            answer = {"CSeq": headers.get("cseq", "0")}
            body = b""
            if method == "OPTIONS":
                answer["Public"] = "OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN"
            elif method == "DESCRIBE":
                body = (
                    b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=live\r\nt=0 0\r\nm=video 0 RTP/AVP 26\r\na=control:track\r\n"
                )
                answer |= {"Content-Type": "application/sdp", "Content-Base": f"{self.url}/"}
            elif method == "SETUP":
                answer |= {"Transport": "RTP/AVP/TCP;unicast;interleaved=0-1", "Session": "1"}
            elif method == "PLAY":
                answer |= {"Session": "1", "Range": "npt=0-"}
            lines = "".join(f"{name}: {value}\r\n" for name, value in answer.items())
            client.sendall(f"RTSP/1.0 200 OK\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            if method == "PLAY":
                self._play(client)
                return
            if method == "TEARDOWN":
                return

    @staticmethod
    def _request(reading) -> tuple[str, dict[str, str]] | None:
        first = reading.readline().decode()
        if not first:
            return None
        headers = {}
        while line := reading.readline().decode().strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return first.split(" ")[0], headers

    def _play(self, client: socket.socket) -> None:
        sequence, began = 0, time.monotonic()
        for jpeg in self.jpegs():
            if self.garbage.is_set():
                client.sendall(b"\x00\xff" * 700)
                continue
            moment = int((time.monotonic() - began) * self.clock)
            width, height, tables, scan = _parts(jpeg)
            for start in range(0, len(scan), self.payload_limit):
                piece = scan[start : start + self.payload_limit]
                last = start + len(piece) == len(scan)
                # Type 1 is 4:2:0; Q 255 says that the tables come with the first packet.
                payload = struct.pack(">IBBBB", start, 1, 255, width // 8, height // 8)
                if start == 0:
                    payload += struct.pack(">BBH", 0, 0, len(tables)) + tables
                packet = struct.pack(">BBHII", 0x80, last << 7 | 26, sequence & 0xFFFF, moment & 0xFFFFFFFF, 1)
                packet += payload + piece
                client.sendall(struct.pack(">cBH", b"$", 0, len(packet)) + packet)
                sequence += 1


def _parts(jpeg: bytes) -> tuple[int, int, bytes, bytes]:
    """Width and height (multiples of 8), the two quantization tables and the scan of a baseline JPEG of 4:2:0."""
    tables, place = b"", 2
    while True:
        marker, length = struct.unpack(">HH", jpeg[place : place + 4])
        segment = jpeg[place + 4 : place + 2 + length]
        if marker == 0xFFDB:
            tables += b"".join(segment[at + 1 : at + 65] for at in range(0, len(segment), 65))
        elif marker == 0xFFC0:
            height, width = struct.unpack(">HH", segment[1:5])
            assert segment[7] == 0x22, "not 4:2:0"
        elif marker == 0xFFDA:
            return width, height, tables, jpeg[place + 2 + length : -2]
        place += 2 + length
