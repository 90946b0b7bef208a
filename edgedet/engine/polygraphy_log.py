"""What Polygraphy and TensorRT say while an engine is built, kept instead of printed."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from polygraphy.logger import G_LOGGER

KEPT = 200


class _Keeper(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.messages: deque[str] = deque(maxlen=KEPT)

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR:
            self.messages.append(record.getMessage())


@contextmanager
def kept_errors() -> Iterator[deque[str]]:
    """Yields the errors of the block, the last ones; nothing of Polygraphy's is printed meanwhile."""
    keeper, python_logger = _Keeper(), logging.getLogger("Polygraphy")
    before = (G_LOGGER.use_python_logging_system, G_LOGGER.colors, G_LOGGER.letter, python_logger.propagate)
    G_LOGGER.use_python_logging_system, G_LOGGER.colors, G_LOGGER.letter = True, False, False
    python_logger.propagate = False
    python_logger.addHandler(keeper)
    try:
        with G_LOGGER.verbosity(G_LOGGER.WARNING):
            yield keeper.messages
    finally:
        python_logger.removeHandler(keeper)
        G_LOGGER.use_python_logging_system, G_LOGGER.colors, G_LOGGER.letter, python_logger.propagate = before
