"""Hardware-Aware Transformers (Wang et al., ACL 2020): latency of translators on a Raspberry Pi, a Xeon and a Titan Xp.

Eight files of 2,000 measurements: two translation tasks on three devices, two more on the GPU. A measurement is known
by ten features only, means over the layers (:data:`nastk.spaces.hat.FEATURES`): the networks themselves cannot be
recovered. A row of the table is therefore the representative of its features, the architecture with the most even
layers among those that have them (:meth:`HAT.with_features`); other architectures with these features are looked up by
``space.with_features(space.features(archs))``.

The files share hardly any features: of 16,000 measurements, 15,945 have different ones. What a file measured twice with
equal features (7 times) is one value, the mean.

``latency`` is that of encoder and decoder together, which the files have apart, with the standard deviation of the
source's runs. The number of decoder layers alone ranks the sums at .90 to .99: judge a predictor within one number of
layers as well. On the Raspberry Pi, some rows lie far above all others of their size (an encoder up to 14 times the
median): measurements of a disturbed device, which are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nastk.data import readers
from nastk.data.repeats import Repeats, same_rows
from nastk.data.tables import Column, Draft, spread_of
from nastk.errors import DataError, InvalidArchitecture
from nastk.spaces.hat import FEATURES, HAT

VERSION = 1
"""Version of this importer; an increase recompiles the table."""

ROWS = 2000
"""Measurements of a file."""
DEVICES = {"raspberrypi": "cpu_raspberrypi", "xeon": "cpu_xeon", "titanxp": "gpu_titanxp"}
"""Devices, and what the files call them."""
MEASURED = {
    "wmt14ende": ("raspberrypi", "xeon", "titanxp"),
    "wmt14enfr": ("raspberrypi", "xeon", "titanxp"),
    "iwslt14deen": ("titanxp",),
    "wmt19ende": ("titanxp",),
}
"""Devices of each task."""
FILE = "hat/{}_{}_all.csv"
"""Measurements of a task on a device."""
FILES = tuple(FILE.format(task, DEVICES[device]) for task, devices in MEASURED.items() for device in devices)
"""Source files of the table."""
PARTS = ("encoder", "decoder")
"""What a file has the latency of."""
COLUMNS = (*FEATURES, *(f"latency_{what}_{part}" for what in ("mean", "std") for part in PARTS))
"""Columns of a file."""


def draft(path: Callable[[str], Path]) -> Draft:
    """Read every source.

    Args:
        path: gives the place of a file of :data:`FILES`, checksum verified.

    Raises:
        DataError: a file is not what it should be.
    """
    space = HAT()
    tables = [_numbers(path(file), file) for file in FILES]
    try:
        archs = [space.with_features(table[:, : len(FEATURES)]) for table in tables]
    except InvalidArchitecture as error:
        raise DataError(f"{FILES[0]} or another file has features of no architecture: {error}") from error
    everything = same_rows(np.concatenate(archs))
    made = Draft(np.concatenate(archs)[everything.first].astype(np.int8))
    numbers = np.split(everything.group, np.cumsum([len(a) for a in archs])[:-1])
    places = [(task, device) for task, devices in MEASURED.items() for device in devices]
    for (task, device), file, table, rows in zip(places, FILES, tables, numbers, strict=True):
        known, group = np.unique(rows, return_inverse=True)
        repeats = Repeats(group, np.unique(group, return_index=True)[1])
        latencies, spreads = table[:, 10:12], table[:, 12:14]
        note = "encoder and decoder; of the representative's ten features"
        total = Column("latency", "latency", "ms", "min", dataset=task, device=device, note=note)
        made.add(file, total, repeats.merge(latencies.sum(axis=1))[0], known, low=1e-3, high=1e6)
        for i, part in enumerate(PARTS):
            column = Column(f"{part}_latency", "other", "ms", "min", dataset=task, device=device, note=f"the {part}'s")
            mean, std = repeats.pooled(latencies[:, i], spreads[:, i])
            made.add(file, column, mean, known, low=1e-3, high=1e6)
            made.add(file, spread_of(column), std, known, low=0)
    return made


def _numbers(path: Path, file: str) -> NDArray[np.float64]:
    """The ten features, the latencies of encoder and decoder and their deviations, ``(2000, 14)``."""
    heading, _, body = readers.read_bytes(path).decode("utf-8", "replace").partition("\n")
    if tuple(name.strip() for name in heading.split(",")) != COLUMNS:
        raise DataError(f"{file} has other columns than {', '.join(COLUMNS[:3])} ... {COLUMNS[-1]}")
    try:
        table = np.loadtxt(body.splitlines(), delimiter=",", ndmin=2)
    except ValueError as error:
        raise DataError(f"{file} is no table of numbers: {readers.cut(error)}") from error
    if table.shape != (ROWS, len(COLUMNS)):
        raise DataError(f"{file} has {len(table):,} rows; needs {ROWS:,}")
    if not np.isfinite(table).all() or (table <= 0).any():
        raise DataError(f"{file} holds values that are unknown, or not positive")
    return table
