"""TransNAS-Bench-101 macro (Duan et al., CVPR 2021): scores on seven tasks and zen of all 3,256 networks.

Scores are those that NASLib calls validation accuracy, higher is better; they come from the file that has all of
them. Two tasks have the other proxies of 662 networks, five of 725.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from nastk.data import _transbench101 as shared
from nastk.data.tables import Draft
from nastk.spaces.transbench101_macro import TransBench101Macro

VERSION = 1
"""Version of this importer; an increase recompiles the table."""

SCORES = "naslib/tnb101_macro_zen.zip"
"""Scores and zen of all architectures."""
PROXY_FILE = "naslib/zc_transbench101_macro.json"
"""The other proxies."""
FILES = (SCORES, PROXY_FILE)
"""Source files of the table."""


def draft(path: Callable[[str], Path]) -> Draft:
    """Read both sources.

    Args:
        path: gives the place of a file of :data:`FILES`, checksum verified.

    Raises:
        DataError: a file is not what it should be.
    """
    space = TransBench101Macro()
    table = Draft(space.enumerate().astype(np.int8))
    shared.add_scores(table, space, SCORES, path(SCORES))
    shared.add_proxies(table, space, PROXY_FILE, path(PROXY_FILE))
    return table
