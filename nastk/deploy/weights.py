"""Weights that a search's trainings kept."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from nastk.finished import FinishedSearch
from nastk.oracles._weights import Weights, read_weights
from nastk.oracles.base import network_folder_name
from nastk.spaces.base import Archs
from nastk.spaces.precisions import WithPrecision

if TYPE_CHECKING:
    from nastk.oracles._weights import State


def find_weights(finished: FinishedSearch, arch: Archs) -> Weights | None:
    """The weights of an architecture ``(d,)`` as its training kept them; None where none did.

    Of isomorphic encodings the one that was trained has them; the facts say which (``arch``).

    Raises:
        DataError: their file is damaged.
    """
    space = finished.space
    if isinstance(space, WithPrecision):
        space, arch = space.networks, arch[:-1]
    names = {network_folder_name(row): None for row in (space.as_networks(arch[None])[0], arch)}
    for objective in finished.objectives:
        for name in names if objective.networks is not None else ():
            assert objective.networks is not None
            folder = objective.networks / name
            if os.path.isdir(folder) and (found := read_weights(folder)) is not None:
                return found
    return None


def weights_of(finished: FinishedSearch, arch: Archs) -> State | None:
    """The state dict of :func:`find_weights`, or None."""
    found = find_weights(finished, arch)
    return None if found is None else found.state
