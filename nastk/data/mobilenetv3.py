"""Once-for-all MobileNetV3 (Cai et al., ICLR 2020): latency of 5,000 sampled subnets in HELP's 12 GPU settings.

Rows follow HELP's order, each in its canonical form: the source also has kernels and expansions of layers beyond
a stage's depth, which have no effect. No two of its architectures are isomorphic, nor differ in resolution only.
Latencies are those of a whole batch of images on one of four GPUs, at the resolution of the architecture; the number
behind the GPU's name is the batch size. At batch 1 they depend on the number of layers, not on the resolution.

The networks are of width 1.2. The accuracies of once-for-all networks that are public are of width 1.0: those are
another table, of the space ``mobilenetv3-w10``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nastk.data import _pickles, readers
from nastk.data.tables import Column, Draft
from nastk.errors import DataError, InvalidArchitecture
from nastk.spaces.mobilenetv3 import MobileNetV3, Settings

VERSION = 2
"""Version of this importer; an increase recompiles the table."""

N = 5000
"""Architectures of the file."""
SOURCE_DEVICES = (
    *("2080ti_1", "2080ti_32", "2080ti_64", "titan_xp_1", "titan_xp_32", "titan_xp_64", "v100_1", "v100_32"),
    "v100_64",
)
"""HELP's training devices."""
TARGET_DEVICES = ("titan_rtx_1", "titan_rtx_32", "titan_rtx_64")
"""HELP's validation devices (batch 1 and 32) and its test device (batch 64)."""
DEVICES = (*SOURCE_DEVICES, *TARGET_DEVICES)
"""All devices of the table."""

ARCHS = "help/ofa/ofa_archs.pt"
"""Architectures as dictionaries of the once-for-all library."""
LATENCY = "help/ofa/latency/{}.pt"
"""Latencies on one device."""
FILES = (ARCHS, *(LATENCY.format(d) for d in DEVICES))
"""Source files of the table."""


def draft(path: Callable[[str], Path]) -> Draft:
    """Read every source.

    Args:
        path: gives the place of a file of :data:`FILES`, checksum verified.

    Raises:
        DataError: a file is not what it should be.
    """
    table = Draft(_architectures(path(ARCHS)))
    for device in DEVICES:
        file = LATENCY.format(device)
        content = _pickles.load_torch(path(file), readers.LIMIT)
        if not isinstance(content, list):
            raise DataError(f"{file} holds a {type(content).__name__}, expected a list")
        batch = device.rsplit("_", 1)[1]
        note = f"of a batch of {batch} image{'' if batch == '1' else 's'}; networks of width 1.2"
        column = Column("latency", "latency", "ms", "min", device=device, note=note)
        table.add(file, column, readers.numbers(content, file), low=1e-6, high=1e5)
    return table


def _architectures(file: Path) -> NDArray[np.int8]:
    content = _pickles.load_torch(file, readers.LIMIT)
    try:
        subnets = content["arch"]
        settings = Settings(*(np.array([s[key] for s in subnets]) for key in ("d", "ks", "e", "r")))
        if len(subnets) != N:
            raise DataError(f"{ARCHS} holds {len(subnets)} architectures, expected {N}")
        space = MobileNetV3()
        archs = space.canonical(space.from_settings(settings))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{ARCHS} has another layout than expected: {error!r}") from error
    except InvalidArchitecture as error:
        raise DataError(f"{ARCHS} holds an architecture of another space: {error}") from error
    if len(np.unique(archs, axis=0)) != N:
        raise DataError(f"{ARCHS} holds a network twice")
    return archs.astype(np.int8)
