"""Where images come from: files, folders, videos, cameras and streams."""

from edgedet.runtime.sources.frame import Frame, Source, SourceLostError, StreamCounts
from edgedet.runtime.sources.open import open_source
from edgedet.runtime.sources.reader import LiveSettings

__all__ = ["Frame", "LiveSettings", "Source", "SourceLostError", "StreamCounts", "open_source"]
