"""Reading a PyTorch file from a stranger: tensors and plain data, of bounded size, nothing executed."""

from __future__ import annotations

import io
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgedet.errors import EdgedetError
from edgedet.files import MEBIBYTE, read_bytes

_PROBLEM = "truncated, or not a PyTorch file of tensors and plain data"
_FIX = "give a file that torch.save wrote from tensors and plain data, and copy it again if it may be incomplete"


def load_plain(path: Path, *, limit: int) -> Any:
    """What `torch.save` put into the file, on the CPU.

    Args:
        path: the file, in PyTorch's zip form or the older one.
        limit: the most bytes that are read, packed and unpacked alike.

    Raises:
        EdgedetError: missing, too large, truncated, or a pickle of anything but tensors and plain data; such a pickle
            is refused, not executed.
    """
    data = read_bytes(path, limit=limit)
    try:
        unpacked = _unpacked_size(data)
        if unpacked > limit:
            raise EdgedetError(f"unpacks to more than {limit / MEBIBYTE:.0f} MiB, the most that is read", where=path)
        with warnings.catch_warnings():
            # Foreign pickles make PyTorch warn of itself; what counts is whether they load.
            warnings.simplefilter("ignore")
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except EdgedetError:
        raise
    except Exception as error:
        # There is no end to what damaged bytes can raise from inside the unpickler: KeyError, struct.error, ...
        raise EdgedetError(_PROBLEM, where=path, fix=_FIX) from error


def is_dense(value: Any) -> bool:
    """Whether the values are there: a stranger's tensor may also be sparse, quantized or on no device."""
    return (
        isinstance(value, Tensor)
        and value.device.type == "cpu"
        and value.layout is torch.strided
        and not value.is_quantized
    )


def _unpacked_size(data: bytes) -> int:
    if not zipfile.is_zipfile(io.BytesIO(data)):
        return len(data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return sum(entry.file_size for entry in archive.infolist())
