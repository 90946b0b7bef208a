"""The power of an NVIDIA GPU's board, by the driver's library.

Source: NVML API reference, "Device Queries" and "Clocks Event Reasons". The library is called directly: it takes
a handful of functions, and it comes with the driver, while NVIDIA's Python package would have to be installed.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Mapping

from edgedet.bench.machine.power_source import Reading
from edgedet.errors import EdgedetError

LIBRARY = "libnvidia-ml.so.1"

NVML_TEMPERATURE_GPU = 0

NAME_BYTES = 96
"""`NVML_DEVICE_NAME_V2_BUFFER_SIZE`."""

THROTTLE_REASONS: Mapping[int, str] = {
    0x04: "power limit",
    0x08: "hardware slowdown",
    0x20: "temperature, by software",
    0x40: "temperature, by hardware",
    0x80: "power brake",
}
"""Bits of `nvmlClocksEventReasons`; the others say that the GPU rests, or that somebody set its clocks."""

RAIL = "GPU"


class Nvml:
    """One GPU."""

    name = "NVML"
    covers = "the GPU's board"

    def __init__(self, library: ctypes.CDLL, bus_id: str | None) -> None:
        """Opens it.

        Raises:
            EdgedetError: there is no driver, no such GPU, or several to choose from.
        """
        self._library = library
        self._call("nvmlInit_v2")
        self._is_open = True
        try:
            self._device = self._by_bus_id(bus_id) if bus_id is not None else self._only_one()
            self._moment, self._energy = time.monotonic(), self._millijoules()
            if self._energy is None:
                self._milliwatts()
        except EdgedetError:
            self.close()
            raise

    def gpu_name(self) -> str:
        """As the driver calls it."""
        name = ctypes.create_string_buffer(NAME_BYTES)
        self._call("nvmlDeviceGetName", self._device, name, ctypes.c_uint(NAME_BYTES))
        return name.value.decode(errors="replace")

    def read(self) -> Reading | None:
        """On average since the last time by the counter of energy, where the GPU has one; else as the GPU says.

        What GPUs say from Ampere on (but not GA100) is an average of the last second (NVML, `nvmlDeviceGetPowerUsage`).
        """
        moment, energy = time.monotonic(), self._millijoules()
        elapsed = moment - self._moment
        if energy is None or self._energy is None:
            watts = self._milliwatts() / 1000
        elif elapsed > 0:
            watts = (energy - self._energy) / 1000 / elapsed
        else:
            return None
        self._moment, self._energy = moment, energy
        return Reading({RAIL: watts}, self._throttle_reasons(), self._celsius())

    def total_rails(self, rails: tuple[str, ...]) -> tuple[str, ...]:
        """There is one."""
        return rails

    def close(self) -> None:
        """Lets go of the library; once."""
        if self._is_open:
            self._is_open = False
            self._library.nvmlShutdown()

    def _only_one(self) -> ctypes.c_void_p:
        """CUDA counts GPUs in another order than NVML: which of several is meant, only their bus says."""
        count = ctypes.c_uint()
        self._call("nvmlDeviceGetCount_v2", ctypes.byref(count))
        if count.value != 1:
            raise EdgedetError(f"there are {count.value} GPUs, and which one is measured is not known", where="NVML")
        device = ctypes.c_void_p()
        self._call("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(0), ctypes.byref(device))
        return device

    def _by_bus_id(self, bus_id: str) -> ctypes.c_void_p:
        device = ctypes.c_void_p()
        self._call("nvmlDeviceGetHandleByPciBusId_v2", ctypes.c_char_p(bus_id.encode()), ctypes.byref(device))
        return device

    def _milliwatts(self) -> int:
        value = ctypes.c_uint()
        self._call("nvmlDeviceGetPowerUsage", self._device, ctypes.byref(value))
        return value.value

    def _millijoules(self) -> int | None:
        """Since the driver was loaded; GPUs before Volta do not count them."""
        value = ctypes.c_ulonglong()
        is_counted = self._has("nvmlDeviceGetTotalEnergyConsumption", ctypes.byref(value))
        return value.value if is_counted else None

    def _throttle_reasons(self) -> tuple[str, ...]:
        """Drivers before 535 know the older name alone."""
        bits = ctypes.c_ulonglong()
        if not self._has("nvmlDeviceGetCurrentClocksEventReasons", ctypes.byref(bits)):
            self._has("nvmlDeviceGetCurrentClocksThrottleReasons", ctypes.byref(bits))
        return tuple(reason for bit, reason in THROTTLE_REASONS.items() if bits.value & bit)

    def _celsius(self) -> float | None:
        value = ctypes.c_uint()
        is_known = self._has("nvmlDeviceGetTemperature", ctypes.c_int(NVML_TEMPERATURE_GPU), ctypes.byref(value))
        return value.value if is_known else None

    def _has(self, name: str, *arguments: object) -> bool:
        """Whether this driver and GPU answer."""
        function = getattr(self._library, name, None)
        return function is not None and function(self._device, *arguments) == 0

    def _call(self, name: str, *arguments: object) -> None:
        function = getattr(self._library, name, None)
        if function is None:
            raise EdgedetError(f"the library has no {name}", where=LIBRARY, fix="update the driver")
        status = function(*arguments)
        if status != 0:
            self._library.nvmlErrorString.restype = ctypes.c_char_p
            reason = self._library.nvmlErrorString(status).decode(errors="replace")
            raise EdgedetError(f"{reason} ({name}, error {status})", where="NVML", fix="see what nvidia-smi says")


def find_nvml(bus_id: str | None = None) -> Nvml | None:
    """None where there is no such library.

    Args:
        bus_id: the GPU's place, e.g. `0000:01:00.0`; None where it is the only one.

    Raises:
        EdgedetError: there is no driver, no such GPU, or several to choose from.
    """
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        return None
    return Nvml(library, bus_id)
