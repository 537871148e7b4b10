"""Device sets beside those of the literature: any sources and targets of a table, random ones, and far ones.

Multi-Predict, Table 12 and Figure 16: how fast a predictor falls as the training devices that rank like the target are
taken away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from nastk.bench.latency import device_set_of, open_table
from nastk.bench.latency_tasks import SOURCE_SAMPLES, DeviceSet
from nastk.errors import InvalidValue, UnknownName
from nastk.metrics import spearman

DEFAULT_SOURCES, DEFAULT_TARGETS = 5, 5
"""Devices of a random set."""


def device_set(space: str, sources: Sequence[str], targets: Sequence[str]) -> DeviceSet:
    """Devices of a fetched table.

    Raises:
        UnknownName: no such space, or it has no such device.
        InvalidValue: a device is a source and a target.
    """
    known = open_table(space).devices()
    for name in (*sources, *targets):
        if name not in known:
            raise UnknownName(f"device of {space}", name, known)
    both = sorted(set(sources) & set(targets))
    if both:
        raise InvalidValue(f"{', '.join(both)}: a target must not be a source too")
    most = len(open_table(space).space.enumerate())
    size = min(SOURCE_SAMPLES.get(space, 4000), most)
    return DeviceSet(space, tuple(dict.fromkeys(sources)), tuple(dict.fromkeys(targets)), size)


def random_sets(
    space: str, count: int, seed: int = 0, sources: int = DEFAULT_SOURCES, targets: int = DEFAULT_TARGETS
) -> dict[str, DeviceSet]:
    """Sets of random devices, named R1, R2 ... (Multi-Predict, Figure 4).

    Raises:
        InvalidValue: the table has too few devices, or `count` is below 1.
    """
    known = open_table(space).devices()
    if count < 1 or len(known) < sources + targets:
        raise InvalidValue(
            f"a random set has {sources} sources and {targets} targets, and there is 1 at least; {space} has "
            f"{len(known)} devices"
        )
    found = {}
    for i in range(count):
        drawn = np.random.default_rng([seed, i]).permutation(known).tolist()
        found[f"R{i + 1}"] = device_set(space, drawn[:sources], drawn[sources : sources + targets])
    return found


def all_far_sets(
    tasks: Sequence[str], sets: Mapping[str, DeviceSet], most: float, least: float | None = None
) -> dict[str, DeviceSet]:
    """:func:`far_sets` of tasks of the literature, or of `sets`.

    Raises:
        UnknownName: no such task.
        InvalidValue: as of :func:`far_sets`.
    """
    found: dict[str, DeviceSet] = {}
    for task in tasks:
        found |= far_sets(task, device_set_of(task, sets), most, least)
    return found


def far_sets(name: str, devices: DeviceSet, most: float, least: float | None = None) -> dict[str, DeviceSet]:
    """For each target the sources whose Spearman correlation with it over the whole table is at most `most`.

    Which they are is told by all values of the target, as in the paper: a study of methods, no way to choose sources.

    Args:
        name: of the set; those made are "name<most/target", or "least<name<most/target".
        least: and at least this; None for no bound.

    Raises:
        InvalidValue: no source of any target is as far; `most` or `least` is no correlation.
    """
    if not -1 < most < 1 or not -1 <= (-1 if least is None else least) < most:
        raise InvalidValue(
            f"a rank correlation is between -1 and 1, the least below the most; got {most:g}"
            + ("" if least is None else f" and {least:g}")
        )
    label = f"{name}<{most:g}" if least is None else f"{least:g}<{name}<{most:g}"
    table, found = open_table(devices.space), {}
    for target in devices.targets:
        if target not in table.devices():
            continue
        mine = table.values("latency", device=target)
        far = []
        for source in (d for d in devices.sources if d in table.devices()):
            values = table.values("latency", device=source)
            known = np.isfinite(values) & np.isfinite(mine)
            if (-1 if least is None else least) <= spearman(values[known], mine[known]) <= most:
                far.append(source)
        if far:
            found[f"{label}/{target}"] = device_set(devices.space, far, [target])
    if not found:
        if least is None:
            raise InvalidValue(f"every source of {name} ranks closer than {most:g} to every target")
        raise InvalidValue(f"no source of {name} correlates {least:g} to {most:g} with a target")
    return found
