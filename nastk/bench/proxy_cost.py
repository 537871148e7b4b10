"""Cost of zero-cost proxies, alone and in one pass, relative to a forward and backward pass; peak memory."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nastk.metrics import mean_ci
from nastk.oracles.zerocost import zcp
from nastk.oracles.zerocost._batch import make_batch
from nastk.oracles.zerocost._scores import named_proxies
from nastk.parallel import each, one_thread
from nastk.spaces.factory import space as named


def run(
    space: str = "nasbench201",
    networks: int = 3,
    batch_size: int = 64,
    proxies: Sequence[str] | None = None,
    seed: int = 0,
    batch: str = "digits",
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Ratios of times on one thread, each relative to the plain pass of the same network, measured alternately.

    Args:
        networks: random architectures.
        proxies: by default all.

    Returns:
        Tidy rows with ``metric`` "ratio_to_forward_backward" (``method`` a proxy or "all") and "seconds": mean and 95 %
        interval over the networks.
    """
    named(space).need_networks("a zero-cost proxy")
    with one_thread():
        return _rows(space, _times(space, networks, batch_size, proxies, seed, batch, progress))


def memory(
    space: str = "nasbench201",
    networks: int = 3,
    batch_size: int = 64,
    proxies: Sequence[str] | None = None,
    seed: int = 0,
    batch: str = "digits",
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Increase of the process's peak memory, each method on each network in a new process.

    Returns:
        Tidy rows with ``metric`` "peak_bytes" (``method`` a proxy or "all") and, for "all", "ratio_to_dearest_proxy".
    """
    named(space).need_networks("a zero-cost proxy")
    names = list(named_proxies(proxies))
    methods = {**{name: [name] for name in names}, "all": names}
    jobs = {
        (method, i): (space, i, networks, batch_size, tuple(used), seed, batch)
        for method, used in methods.items()
        for i in range(networks)
    }
    found = dict(each(_peak, list(jobs.values()), 1, progress, fresh=True))
    peaks = {method: np.array([found[jobs[method, i]] for i in range(networks)]) for method in methods}
    largest = np.max([peaks[name] for name in names], axis=0)
    return [
        *(_row(space, method, "peak_bytes", values) for method, values in peaks.items()),
        _row(space, "all", "ratio_to_dearest_proxy", peaks["all"] / largest),
    ]


def _peak(job: tuple[str, int, int, int, tuple[str, ...], int, str]) -> float:
    space_name, i, networks, batch_size, proxies, seed, batch = job
    space = named(space_name)
    model = space.build(space.sample(networks, seed, unique=True)[i])
    images, labels = make_batch(batch, batch_size, space.input_shape(), 10, seed)
    zcp(model, images[:2], labels[:2], proxies)  # libraries load lazily
    before = _high_water()
    zcp(model, images, labels, proxies)
    return _high_water() - before


def _high_water() -> float:
    """Peak resident bytes of this process.

    From the kernel's own count if available: ``ru_maxrss`` starts at the parent's value.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return 1024.0 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
    except (OSError, StopIteration):
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak if sys.platform == "darwin" else peak * 1024)


def _times(
    space_name: str,
    networks: int,
    batch_size: int,
    proxies: Sequence[str] | None,
    seed: int,
    batch: str,
    progress: Callable[[int, int], None] | None,
) -> dict[str, list[tuple[float, float]]]:
    """Seconds, and seconds of the plain pass, by method."""
    space = named(space_name)
    images, labels = make_batch(batch, batch_size, space.input_shape(), 10, seed)
    methods: dict[str, list[str]] = {name: [name] for name in named_proxies(proxies)}
    methods["all"] = list(methods)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in methods}
    archs = space.sample(networks, seed, unique=True)
    for i, arch in enumerate(archs):
        model = space.build(arch)
        _plain(model, images, labels)  # warm up
        for j, (method, names) in enumerate(methods.items()):
            plain = _seconds(lambda: _plain(model, images, labels))  # noqa: B023
            mine = _seconds(lambda: zcp(model, images, labels, names))  # noqa: B023
            found[method].append((mine, plain))
            if progress:
                progress(i * len(methods) + j + 1, len(archs) * len(methods))
    return found


def _seconds(action: Callable[[], object]) -> float:
    """CPU time of this process, which other load on the machine affects less than wall-clock time."""
    start = _cpu()
    action()
    return _cpu() - start


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _plain(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> None:
    model.train()
    model.zero_grad(set_to_none=True)
    torch.nn.functional.cross_entropy(model(images), labels).backward()
    model.zero_grad(set_to_none=True)


def _rows(space: str, times: dict[str, list[tuple[float, float]]]) -> list[dict[str, Any]]:
    rows = []
    for method, pairs in times.items():
        mine, plain = np.array(pairs).T
        rows += [_row(space, method, "ratio_to_forward_backward", mine / plain), _row(space, method, "seconds", mine)]
    return rows


def _row(space: str, method: str, metric: str, values: NDArray[np.float64]) -> dict[str, Any]:
    mean, half = mean_ci(values)
    return {
        "experiment": "zcp",
        "space": space,
        "method": method,
        "metric": metric,
        "mean": mean,
        "ci95": half,
        "samples": len(values),
        "seeds": 1,
        "reference": None,
        "reference_source": None,
    }
