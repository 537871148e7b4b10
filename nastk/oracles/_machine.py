"""What else a machine did while something was timed on it: processor time of threads, load, stolen time, frequency."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROCESS = Path("/proc/self/task")


class ThreadClock:
    """Processor time and waiting time of the calling thread and of those that a runtime starts for its networks.

    Linux tells both for each thread; on other systems :attr:`available` is False.
    """

    def __init__(self) -> None:
        self._started: set[int] = set()

    @property
    def available(self) -> bool:
        """Whether this system tells the processor and waiting time of single threads."""
        return (PROCESS / str(_own()) / "schedstat").exists()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Threads that are started within it belong to the runtime."""
        before = _threads()
        try:
            yield
        finally:
            self._started |= _threads() - before

    def processor_ns(self) -> int:
        """Nanoseconds that the threads ran on a processor."""
        total = 0
        for thread in tuple(self._started):
            try:
                total += time.clock_gettime_ns(_clock_of(thread))
            except OSError:  # the thread has ended
                self._started.discard(thread)
        return total + time.thread_time_ns()  # last: reading the others is no part of what is timed

    def waiting_ns(self) -> int:
        """Nanoseconds that the threads were ready to run while other work had the processor.

        The kernel brings it up to date a little late, so only sums over many milliseconds mean something.
        """
        total = 0
        for thread in (_own(), *self._started):
            with contextlib.suppress(OSError):  # the thread has ended
                total += int((PROCESS / str(thread) / "schedstat").read_text(encoding="ascii").split()[1])
        return total


def _own() -> int:
    import threading

    return threading.get_native_id()


def _threads() -> set[int]:
    try:
        return {int(name) for name in os.listdir(PROCESS)}
    except OSError:
        return set()


def _clock_of(thread: int) -> int:
    """The clock of another thread of this process: the kernel's encoding, CPUCLOCK_PERTHREAD | CPUCLOCK_SCHED."""
    return (~thread << 3) | 6


@dataclass(frozen=True)
class Load:
    """What the machine did over a time; NaN where the system does not tell.

    Args:
        others: processors that other processes kept busy, on average.
        stolen: share of the processors' time that a hypervisor gave to other machines.
        slowest, fastest: frequency in MHz, least and greatest that was seen at the beginning and the end.
    """

    others: float
    stolen: float
    slowest: float
    fastest: float

    def describe(self) -> str:
        """What disturbs measurements, in words; empty where nothing is known to."""
        found = []
        if self.others >= 0.3:
            found.append(f"other processes kept {self.others:.1f} of {os.cpu_count()} processors busy")
        if self.stolen >= 0.01:
            found.append(f"{self.stolen:.0%} of the processors' time went to other virtual machines")
        if self.slowest < 0.95 * self.fastest:
            found.append(f"frequency between {self.slowest:.0f} and {self.fastest:.0f} MHz")
        return ", ".join(found)


class LoadMeter:
    """The machine's load since it was made."""

    def __init__(self) -> None:
        self._busy, self._stolen, self._total = _processor_times()
        self._own_seconds, self._begun = time.process_time(), time.perf_counter()
        self._frequencies = _frequencies()

    def read(self) -> Load:
        """The load so far."""
        busy, stolen, total = _processor_times()
        ticks, seconds = total - self._total, time.perf_counter() - self._begun
        nan = float("nan")
        others = share = nan
        if ticks > 0 and seconds > 0:
            running = (busy - self._busy) / ticks * (os.cpu_count() or 1)
            others = max(running - (time.process_time() - self._own_seconds) / seconds, 0.0)
            share = (stolen - self._stolen) / ticks
        seen = [*self._frequencies, *_frequencies()]
        return Load(others, share, min(seen, default=nan), max(seen, default=nan))


def _processor_times() -> tuple[float, float, float]:
    """Ticks of all processors since the start: busy, stolen, in all; zeros where the system does not tell."""
    try:
        ticks = [float(n) for n in Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return 0.0, 0.0, 0.0
    ticks += [0.0] * (8 - len(ticks))
    user, nice, system, _, _, interrupts, soft, stolen = ticks
    return user + nice + system + interrupts + soft, stolen, sum(ticks)


def _frequencies() -> list[float]:
    """Present frequency of each processor, MHz, where the kernel shows what it really is."""
    found = []
    for file in Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq"):
        with contextlib.suppress(OSError, ValueError):
            found.append(float(file.read_text(encoding="ascii")) / 1000)
    return found
