"""Compute the shipped columns of AZ-NAS's proxies: ``python -m nastk.weights.proxies`` after ``nastk data fetch``.

On random networks of each table, or on all that have accuracies and proxies there (:data:`NETWORKS`), each network
once. Values are cached on disk as they are found, so that an interrupted run goes on; what the file holds already is
kept, unless ``--anew`` asks for everything again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nastk.bench import accuracy
from nastk.data import computed_proxies
from nastk.data.computed_proxies import ComputedProxies
from nastk.oracles.zerocost import ZeroCost

PROXIES = ("az_expressivity", "az_progressivity", "az_trainability")
"""`near` would cost as much again on wide networks, and adds nothing (docs/accuracy.md)."""
CHUNK = 100
"""Networks after which the cache is written."""


class Networks(NamedTuple):
    """What is computed of a space.

    Args:
        networks: random ones of each of these data sets, how many; None for all.
        images: random images of a batch; those of TransNAS-Bench-101 have 256 x 256 pixels, others 32 x 32.
    """

    networks: dict[str, int | None]
    images: int


NETWORKS = {
    "nasbench101": Networks({"cifar10": None}, 8),
    "nasbench201": Networks({"cifar10": None}, 4),
    "nasbench301": Networks({"cifar10": 110, "svhn": 90}, 8),
    "transbench101-micro": Networks({"class_object": 90, "svhn": 40}, 4),
    "transbench101-macro": Networks({"class_scene": 88}, 4),
}
"""By space; the data sets of a space share their networks but where several are named."""


def compute(space: str, kept: ComputedProxies | None = None) -> ComputedProxies:
    """The columns of a space.

    Args:
        kept: what is known already; not computed again if it was computed in the same way.
    """
    which = NETWORKS[space]
    tasks = accuracy.targets(space)
    parts = []
    for dataset, count in which.networks.items():
        order = np.random.default_rng(0).permutation(len(tasks[dataset]))[:count]
        parts.append(tasks[dataset].archs[order])
    archs = np.concatenate(parts)
    whole = next(iter(tasks.values())).space.whole
    archs = archs[np.sort(np.unique(whole.canonical(archs), axis=0, return_index=True)[1])]
    source = ZeroCost(whole, PROXIES, "random", which.images, init="kaiming")
    facts = {"networks": len(archs), "source": source.source, "init": "kaiming", "seed": 0}
    values = np.full((len(archs), len(PROXIES)), np.nan)
    if kept is not None and {**kept.facts, "networks": len(archs)} == facts and kept.names == PROXIES:
        values = kept(archs)
    todo = np.flatnonzero(np.isnan(values).all(axis=1))
    for start in range(0, len(todo), CHUNK):
        rows = todo[start : start + CHUNK]
        values[rows] = source(archs[rows])
        print(f"{space}: {len(archs) - len(todo) + start + len(rows)} of {len(archs)} networks", file=sys.stderr)
    return ComputedProxies(PROXIES, archs, values, facts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "spaces",
        nargs="*",
        choices=[[], *NETWORKS],
        metavar="SPACE",
        help=f"spaces to compute: {', '.join(NETWORKS)} (default: all)",
    )
    parser.add_argument("--out", type=Path, default=computed_proxies.FILE, help="file (default: the package's)")
    parser.add_argument("--anew", action="store_true", help="compute what the file holds already, too")
    asked = parser.parse_args()
    known = {name: one for name in NETWORKS if (one := computed_proxies.read(name)) is not None}
    found = {name: compute(name, None if asked.anew else known.get(name)) for name in asked.spaces or NETWORKS}
    columns = {**known, **found}
    computed_proxies.write({name: columns[name] for name in NETWORKS if name in columns}, asked.out)


if __name__ == "__main__":
    main()
