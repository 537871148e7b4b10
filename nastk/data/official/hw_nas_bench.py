"""HW-NAS-Bench-v1_0.pickle: latency on six devices and energy on three of all NAS-Bench-201 cells, on three data sets.

The file (Li et al., ICLR 2021) is ``{"nasbench201": {data set: {"edgegpu_latency": [15,625 numbers], ...}}, "fbnet":
...}``, in ms and mJ, in the order of NAS-Bench-201's index. Its ``fbnet`` part is one look-up table of operators per
metric, from which the authors' program sums up networks. It has no measured architectures and is not imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.data import _pickles, readers
from nastk.data.nasbench201 import DATASETS, HW_ENERGY, HW_LATENCY
from nastk.data.official import Measurements, one_file
from nastk.data.tables import Column
from nastk.errors import DataError
from nastk.spaces.nasbench201 import NASBench201

SPACE = "nasbench201"
"""Space of the imported part."""
LIMIT = 1 << 30
"""Most bytes of the file, unpacked, so that a wrong file cannot exhaust the memory."""
METRICS = (*(f"{d}_latency" for d in HW_LATENCY), *(f"{d}_energy" for d in HW_ENERGY), "eyeriss_arithmetic_intensity")
"""Metrics of the file."""
FAILED = -1.0
"""Value in the file where a network could not be run on the device; NaN in the table."""


def read(paths: Sequence[Path]) -> list[Measurements]:
    """The columns of the NAS-Bench-201 part, all of its architectures.

    Raises:
        InvalidValue: not exactly one file.
        DataError: not HW-NAS-Bench's file, or in another order than the official index.
    """
    path = one_file(paths, "HW-NAS-Bench's pickle")
    content = _pickles.load(path, LIMIT, family="the pickle of HW-NAS-Bench")
    space = NASBench201()
    columns = []
    try:
        for dataset in DATASETS:
            part = content["nasbench201"][dataset]
            _check_order(part.get("config"), space, path)
            columns += [(_column(name, dataset), _values(part[name], f"{path}, {dataset} {name}")) for name in METRICS]
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} has another layout than HW-NAS-Bench's pickle: {error!r}") from error
    return [Measurements(SPACE, space.enumerate(), columns)]


def _check_order(configurations: Any, space: NASBench201, path: Path) -> None:
    """Check the order of the networks if the file lists them."""
    if configurations is None:
        return
    listed = configurations.values() if isinstance(configurations, dict) else configurations
    if [c["arch_str"] for c in listed] != space.format_all(space.enumerate()):
        raise DataError(f"{path} does not follow the official index of NAS-Bench-201")


def _values(content: Any, name: str) -> NDArray[np.float64]:
    values = readers.numbers(content, name)
    if len(values) != NASBench201().size:
        raise DataError(f"{name}: {len(values)} values, expected {NASBench201().size}")
    values = np.where(values == FAILED, np.nan, values)
    if (values <= 0).any() or np.isinf(values).any():
        raise DataError(f"{name}: {values[(values <= 0) | np.isinf(values)][0]:g}, must be positive and finite")
    return values


def _column(name: str, dataset: str) -> Column:
    device, _, metric = name.partition("_")
    if metric == "latency":
        note = "NaN where the network could not be run on the device" if device == "edgetpu" else ""
        return Column(metric, "latency", "ms", "min", dataset=dataset, device=device, note=note)
    if metric == "energy":
        return Column(metric, "energy", "mJ", "min", dataset=dataset, device=device)
    return Column(metric, "other", "operations/byte", "max", dataset=dataset, device=device)
