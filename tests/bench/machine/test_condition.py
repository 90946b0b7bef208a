"""What is read of the machine's condition; and that a program on the same CPU is noticed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgedet.bench.machine.condition import Condition, read_condition
from edgedet.bench.machine.disturbance import disturbances
from edgedet.bench.machine.heat import trip_temperatures
from edgedet.bench.machine.limits import read_limits
from edgedet.bench.machine.load import TICK_SECONDS
from edgedet.bench.machine.quota import Quota
from edgedet.config import parse

Grow = Callable[[Mapping[str, str]], Path]

STAT = """\
cpu  900 0 0 0 0 0 0 0 0 0
cpu0 100 20 30 4000 50 6 7 8 90 91
cpu1 200 0 0 5000 0 0 0 0 0 0
cpu10 300 0 0 6000 0 0 0 9 0 0
intr 1 2 3
"""


def zone(place: int, kind: str, millidegrees: str, *trips: tuple[str, int]) -> dict[str, str]:
    folder = f"sys/class/thermal/thermal_zone{place}"
    files = {f"{folder}/type": f"{kind}\n", f"{folder}/temp": f"{millidegrees}\n"}
    for number, (trip, temperature) in enumerate(trips):
        files[f"{folder}/trip_point_{number}_type"] = f"{trip}\n"
        files[f"{folder}/trip_point_{number}_temp"] = f"{temperature}\n"
    return files


def cooling(place: int, kind: str, state: int) -> dict[str, str]:
    folder = f"sys/class/thermal/cooling_device{place}"
    return {f"{folder}/type": f"{kind}\n", f"{folder}/cur_state": f"{state}\n"}


class TestReading:
    def test_a_machine_that_says_nothing(self, grow: Grow) -> None:
        found = read_condition([0], grow({"x": ""}))
        assert found.own_seconds > 0
        silent = (found.megahertz, found.celsius, found.throttle_counts, found.throttle_alerts, found.cpu_times)
        assert silent == ({}, {}, {}, (), {})
        assert (found.pressure_seconds, found.run_queue_seconds, found.quota) == (None, None, None)

    def test_this_machine_is_read_in_milliseconds_and_survives_json(self) -> None:
        cpu = min(os.sched_getaffinity(0))
        durations = []
        for _ in range(10):
            begin = time.thread_time()
            found = read_condition([cpu])
            durations.append(time.thread_time() - begin)
        assert min(durations) < 0.01
        assert set(found.cpu_times) == {cpu} and found.cpu_times[cpu].busy > 0
        assert parse(Condition, json.loads(found.model_dump_json())) == found

    def test_times_of_the_measured_cpus_and_of_their_hyperthreads(self, grow: Grow) -> None:
        files = {f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list": "0,10\n" for cpu in (0, 10)}
        found = read_condition([0], grow({"proc/stat": STAT} | files))
        assert list(found.cpu_times) == [0] and list(found.sibling_times) == [10]
        times = found.cpu_times[0]
        assert times.busy == pytest.approx((100 + 20 + 30 + 6 + 7) * TICK_SECONDS), "guests are in it already"
        assert times.idle == pytest.approx(4050 * TICK_SECONDS)
        assert times.stolen == pytest.approx(8 * TICK_SECONDS)
        assert found.sibling_times[10].busy == pytest.approx(300 * TICK_SECONDS)

    def test_zones_of_one_kind_and_a_zone_without_power(self, grow: Grow) -> None:
        files = zone(0, "acpitz", "27800") | zone(2, "cpu-thermal", "54250") | zone(10, "acpitz", "30000")
        root = grow(files)
        (root / "sys/class/thermal/thermal_zone11").mkdir()
        assert read_condition([0], root).celsius == pytest.approx(
            {"acpitz": 27.8, "cpu-thermal": 54.25, "acpitz 2": 30}
        )

    def test_the_lowest_trip_that_slows_is_the_limit_of_a_zone(self, grow: Grow) -> None:
        trips = (("active", 51000), ("critical", 104500), ("passive", 99000), ("passive", -274000), ("hot", 0))
        assert trip_temperatures(grow(zone(0, "cpu-thermal", "50000", *trips))) == {"cpu-thermal": 99}
        assert trip_temperatures(grow(zone(0, "cpu-thermal", "50000", ("active", 60000)))) == {"cpu-thermal": 99}

    def test_counts_of_an_x86(self, grow: Grow) -> None:
        folder = "sys/devices/system/cpu/cpu3/thermal_throttle"
        root = grow({f"{folder}/core_throttle_count": "4\n", f"{folder}/package_throttle_count": "9\n"})
        assert read_condition([3], root).throttle_counts == {"CPU 3 core": 4, "CPU 3 package": 9}
        assert read_condition([2], root).throttle_counts == {}

    def test_a_jetsons_alerts_are_seen_and_its_fan_is_none(self, grow: Grow) -> None:
        files = cooling(0, "pwm-fan", 3) | cooling(8, "cpu-throttle-alert", 0) | cooling(9, "gpu-throttle-alert", 1)
        assert read_condition([0], grow(files)).throttle_alerts == ("gpu-throttle-alert",)

    def test_an_orins_over_current(self, grow: Grow) -> None:
        folder = "sys/class/hwmon/hwmon3"
        names = {f"{folder}/oc{place}_event_cnt": f"{place * 5}\n" for place in (1, 2, 3)}
        other = {"sys/class/hwmon/hwmon1/name": "ina3221\n", "sys/class/hwmon/hwmon1/oc1_event_cnt": "7\n"}
        found = read_condition([0], grow(names | other | {f"{folder}/name": "soctherm_oc\n"}))
        assert found.throttle_counts == {"over-current 1": 5, "over-current 2": 10, "over-current 3": 15}

    @pytest.mark.parametrize(
        ("written", "alerts", "since_start"),
        [
            ("0\n", (), []),
            ("50005\n", ("throttled", "under-voltage"), ["under-voltage", "throttled"]),
            ("e0000\n", (), ["clock capped", "throttled", "soft temperature limit"]),
            ("0x2\n", ("clock capped",), []),
        ],
    )
    def test_a_raspberry_pis_bits(
        self, grow: Grow, written: str, alerts: tuple[str, ...], since_start: list[str]
    ) -> None:
        found = read_condition([0], grow({"sys/devices/platform/soc/soc:firmware/get_throttled": written}))
        assert found.throttle_alerts == alerts
        assert [name for name, count in found.throttle_counts.items() if count] == since_start

    def test_pressure_and_the_run_queue_of_all_threads(self, grow: Grow) -> None:
        files = {
            "proc/pressure/cpu": "some avg10=0.13 avg60=0.43 avg300=0.14 total=6707280522\nfull avg10=0.00 total=1\n",
            "proc/self/task/4194300/schedstat": "900 2000000000 5\n",
            "proc/self/task/4194301/schedstat": "0 500000000 1\n",
        }
        found = read_condition([0], grow(files))
        assert found.pressure_seconds == pytest.approx(6707.280522)
        assert found.run_queue_seconds == pytest.approx(2.5)

    def test_a_kernel_that_does_not_count_the_run_queue(self, grow: Grow) -> None:
        files = {f"proc/self/task/{thread}/schedstat": "0 0 0\n" for thread in (1, 2)}
        assert read_condition([0], grow(files)).run_queue_seconds is None


class TestQuota:
    def test_of_version_2_the_groups_around_count_too(self, grow: Grow) -> None:
        files = {
            "proc/self/cgroup": "0::/pods/one\n",
            "sys/fs/cgroup/cpu.stat": "usage_usec 5\n",
            "sys/fs/cgroup/pods/cpu.stat": "usage_usec 5\nnr_periods 9\nnr_throttled 2\nthrottled_usec 1500000\n",
            "sys/fs/cgroup/pods/one/cpu.stat": "nr_periods 9\nnr_throttled 1\nthrottled_usec 250000\n",
        }
        assert read_condition([0], grow(files)).quota == Quota(periods=3, seconds=1.75)

    def test_of_version_1_in_a_container_that_does_not_see_its_own_name(self, grow: Grow) -> None:
        files = {
            "proc/self/cgroup": "5:cpu,cpuacct:/docker/abc\n4:cpuset:/docker/abc\n0::/docker/abc\n",
            "sys/fs/cgroup/cpu/cpu.stat": "nr_periods 9\nnr_throttled 4\nthrottled_time 3000000000\n",
            "sys/fs/cgroup/cpuset/cpu.stat": "nr_throttled 99\n",
        }
        assert read_condition([0], grow(files)).quota == Quota(periods=4, seconds=3)

    @pytest.mark.parametrize("groups", ["", "0::/../../etc\n", "nonsense", "0:"])
    def test_groups_that_lead_elsewhere_are_not_followed(self, grow: Grow, groups: str) -> None:
        files = {
            "proc/self/cgroup": groups,
            "sys/fs/cgroup/cgroup.procs": "",
            "sys/etc/cpu.stat": "nr_throttled 1\n",
        }
        assert read_condition([0], grow(files)).quota is None


@contextmanager
def spinning(cpu: int) -> Iterator[None]:
    """Another program that computes on this CPU."""
    code = f"import os; os.sched_setaffinity(0, {{{cpu}}}); print(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline()
        try:
            yield
        finally:
            other.kill()


def test_a_program_on_the_same_cpu_is_noticed() -> None:
    allowed = os.sched_getaffinity(0)
    cpu = min(allowed)
    try:
        os.sched_setaffinity(0, {cpu})
        with spinning(cpu):
            before = read_condition([cpu])
            end = time.monotonic() + 0.5
            while time.monotonic() < end:
                pass
            found = disturbances(before, read_condition([cpu]), read_limits([cpu]))
    finally:
        os.sched_setaffinity(0, allowed)
    shares = [disturbance.value for disturbance in found if disturbance.kind == "busy"]
    assert shares and max(shares) > 0.2
