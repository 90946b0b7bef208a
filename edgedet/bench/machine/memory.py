"""The most memory that something takes while it runs."""

from __future__ import annotations

import re
from pathlib import Path
from types import TracebackType

from edgedet.bench.machine import kernel_files
from edgedet.config import Frozen
from edgedet.trt import cuda

RESET_PEAK = "5"
"""Written to `clear_refs`, it makes the peak what is resident now (proc(5), since Linux 4.0)."""


class Memory(Frozen):
    """What a block took.

    Attributes:
        peak_resident_bytes: the most of this process that was in memory at one moment; libraries and what was there
            before the block included.
        since_process_began: the kernel would not forget what was before the block: the peak may be from then.
        gpu_bytes: of the GPU's memory, what was free before the block and is not after it; on a Jetson of the board's.
            What CUDA itself takes is not in it. None where it was not asked for.
    """

    peak_resident_bytes: int
    since_process_began: bool
    gpu_bytes: int | None


class MemoryMeter:
    """Measures a `with` block.

    Attributes:
        memory: the result, after the block; None where the kernel does not tell.
    """

    memory: Memory | None = None

    def __init__(self, *, on_gpu: bool = False, root: Path = kernel_files.ROOT) -> None:
        """Nothing happens before the block.

        Args:
            on_gpu: look at the GPU's memory, too: the block loads an engine, and keeps it.
            root: the folder that holds `proc`.
        """
        self._on_gpu, self._process = on_gpu, root / "proc/self"

    def __enter__(self) -> MemoryMeter:
        """Forgets the peak, where that is allowed.

        Raises:
            EdgedetError: the GPU was asked for, and there is no CUDA or no GPU.
        """
        self._free = cuda.free_memory_bytes() if self._on_gpu else None
        self._was_reset = self._reset()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Reads the peak."""
        if kind is not None:
            return
        taken = None if self._free is None else max(self._free - cuda.free_memory_bytes(), 0)
        status = kernel_files.text(self._process / "status") or ""
        found = re.search(r"^VmHWM:\s+([0-9]{1,15}) kB$", status, re.MULTILINE)
        if found is not None:
            peak = int(found[1]) * 1024
            self.memory = Memory(peak_resident_bytes=peak, since_process_began=not self._was_reset, gpu_bytes=taken)

    def _reset(self) -> bool:
        """Containers and kernels without CONFIG_PROC_PAGE_MONITOR do not allow it."""
        try:
            (self._process / "clear_refs").write_text(RESET_PEAK)
        except OSError:
            return False
        return True
