"""FBNet (Wu et al., CVPR 2019): latency on HELP's 27 devices and 13 proxies of 5,000 sampled architectures.

Rows follow HELP's order. Latencies of some phones drift with the row number (they were measured in that order): it must
not be used as a feature.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from nastk.data import _pickles, readers
from nastk.data.proxies import FAILED, PROXIES, proxy_column
from nastk.data.tables import Column, Draft
from nastk.errors import DataError

VERSION = 1
"""Version of this importer; an increase recompiles the table."""

OPERATIONS = ("k3_e1", "k3_e1_g2", "k3_e3", "k3_e6", "k5_e1", "k5_e1_g2", "k5_e3", "k5_e6", "skip")
"""In the order of the file's integers."""
N = 5000
"""Architectures of the file."""
LAYERS = 22
"""Choices of an architecture."""

DEVICES = (
    *("1080ti_1", "1080ti_32", "1080ti_64", "2080ti_1", "2080ti_32", "2080ti_64", "titan_rtx_1", "titan_rtx_32"),
    *("titan_rtx_64", "titanx_1", "titanx_32", "titanx_64", "titanxp_1", "titanxp_32", "titanxp_64", "gold_6226"),
    *("gold_6240", "silver_4114", "silver_4210r", "essential_ph_1", "samsung_a50", "samsung_s7", "pixel2", "pixel3"),
    *("raspi4", "eyeriss", "fpga"),
)
"""All devices of HELP's FBNet table."""

SOURCE_DEVICES = (
    *("1080ti_1", "1080ti_32", "1080ti_64", "silver_4114", "silver_4210r", "samsung_a50", "pixel3", "essential_ph_1"),
    "samsung_s7",
)
"""Training devices of Multi-Predict's default task FD."""
NOISY_PROXIES = ("epe_nas", "grasp", "jacov", "plain")
"""Proxies whose published values are mostly noise (their batch seems to have been 16 random images): jacov, epe_nas and
plain agree with none of the other twelve, |Spearman| below .05 over 5,000 networks, and grasp barely, .2."""
TARGET_DEVICES = ("fpga", "raspi4", "eyeriss")
"""Test devices of task FD."""
ARCHS = "help/fbnet/arch.pt"
"""Architectures, one row of integers each."""
META = "help/fbnet/metainfo.pt"
"""The architectures once more, to check their order."""
LATENCY = "help/fbnet/latency/{}.pt"
"""Latencies on one device."""
PROXY_FILE = "nasflat_latency/zc_fbnet.json"
"""Zero-cost proxies by architecture."""
FILES = (ARCHS, META, *(LATENCY.format(d) for d in DEVICES), PROXY_FILE)
"""Source files of the table."""


def draft(path: Callable[[str], Path]) -> Draft:
    """Read every source.

    Args:
        path: gives the place of a file of :data:`FILES`, checksum verified.

    Raises:
        DataError: a file is not what it should be.
    """
    archs = _architectures(path)
    table = Draft(archs)
    for device in DEVICES:
        file = LATENCY.format(device)
        content = _pickles.load_torch(path(file), readers.LIMIT)
        if not isinstance(content, list):
            raise DataError(f"{file} holds a {type(content).__name__}, expected a list")
        column = Column("latency", "latency", "ms", "min", device=device)
        table.add(file, column, readers.numbers(content, file), low=1e-6, high=1e5)
    scores = readers.read_json(path(PROXY_FILE))
    try:
        ordered = [scores["_".join(map(str, row))] for row in archs.tolist()]
        for name in PROXIES:
            values = readers.numbers([entry[name] for entry in ordered], f"{PROXY_FILE}, {name}")
            table.add(PROXY_FILE, proxy_column(name), values, failed=FAILED)
    except (KeyError, TypeError) as error:
        raise DataError(f"{PROXY_FILE} has no entry {error} for an architecture of {ARCHS}") from error
    return table


def _architectures(path: Callable[[str], Path]) -> np.ndarray:
    content = _pickles.load_torch(path(ARCHS), readers.LIMIT)
    try:
        archs = np.array(content)
    except ValueError as error:
        raise DataError(f"{ARCHS} holds rows of different lengths") from error
    if archs.shape != (N, LAYERS) or archs.dtype.kind != "i" or archs.min() < 0 or archs.max() >= len(OPERATIONS):
        raise DataError(f"{ARCHS} has shape {archs.shape}, expected {N} rows of {LAYERS} integers 0 to 8")
    if len(np.unique(archs, axis=0)) != N:
        raise DataError(f"{ARCHS} holds an architecture twice")
    try:
        described = _pickles.load_torch(path(META), readers.LIMIT)["arch"]
        same = [d["op_idx_list"] for d in described] == content
        named = all([OPERATIONS[i] for i in d["op_idx_list"]] == list(d["arch_str"]) for d in described)
    except (KeyError, TypeError, IndexError) as error:
        raise DataError(f"{META} has another layout than expected: {error!r}") from error
    if not (same and named):
        raise DataError(f"{META} describes other architectures than {ARCHS} lists")
    return archs.astype(np.int8)
