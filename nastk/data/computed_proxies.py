"""Zero-cost proxies that nastk computed on networks of public tables: AZ-NAS's, on noise and random weights.

They are no part of any published file. The file ships; `nastk.weights.proxies` makes it and says how.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.files import atomic_path
from nastk.spaces.base import Archs

FILE = Path(__file__).with_name("computed_proxies.npz")
"""For each space ``<space>.archs`` ``(n, d)`` and ``<space>.values`` ``(n, k)``; ``facts``, a JSON text."""


@dataclass(frozen=True, eq=False)
class ComputedProxies:
    """Proxies of some architectures of a space; a source for `nastk.encodings.base.Context`.

    Args:
        names: of the ``k`` proxies.
        archs: ``(n, d)``, each once.
        values: ``(n, k)``, NaN where one has no value.
        facts: how they were computed.
    """

    names: tuple[str, ...]
    archs: Archs
    values: NDArray[np.float64]
    facts: dict[str, Any]

    def __post_init__(self) -> None:
        rows = {row.tobytes(): i for i, row in enumerate(np.ascontiguousarray(self.archs, dtype=np.int64))}
        object.__setattr__(self, "_rows", rows)

    def __call__(self, archs: Any) -> NDArray[np.float64]:
        """Values ``(n, k)``, NaN where unknown."""
        rows: dict[bytes, int] = self._rows  # type: ignore[attr-defined]
        asked = np.ascontiguousarray(archs, dtype=np.int64)
        at = np.array([rows.get(row.tobytes(), -1) for row in asked], dtype=np.int64)
        found = np.full((len(asked), len(self.names)), np.nan)
        found[at >= 0] = self.values[at[at >= 0]]
        return found


@lru_cache(maxsize=8)
def read(space: str) -> ComputedProxies | None:
    """Those of a space; None if there are none, or the file is yet to be made."""
    if not FILE.exists():
        return None
    with np.load(FILE, allow_pickle=False) as content:
        facts = json.loads(str(content["facts"]))
        if space not in facts["spaces"]:
            return None
        values = content[f"{space}.values"].astype(np.float64)
        archs = content[f"{space}.archs"].astype(np.int64)
    return ComputedProxies(tuple(facts["names"]), archs, values, facts["spaces"][space])


def write(spaces: dict[str, ComputedProxies], file: Path = FILE) -> None:
    """All spaces into one file, whole or not at all, each value rounded to four digits."""
    names = {one.names for one in spaces.values()}
    if len(names) != 1:
        raise ValueError(f"all spaces have the same proxies; got {names}")
    facts = {"names": list(names.pop()), "spaces": {name: one.facts for name, one in spaces.items()}}
    arrays = {"facts": np.array(json.dumps(facts))}
    for name, one in spaces.items():
        rounded = np.array([[float(f"{v:.4g}") for v in row] for row in one.values])
        arrays |= {f"{name}.archs": one.archs.astype(np.int8), f"{name}.values": rounded.astype(np.float32)}
    with atomic_path(file) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
