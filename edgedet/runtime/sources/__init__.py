"""Where images come from: files, folders, videos, cameras and streams."""

from edgedet.runtime.sources.frame import Frame, Source
from edgedet.runtime.sources.open import open_source

__all__ = ["Frame", "Source", "open_source"]
