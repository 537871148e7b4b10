"""The predictor of an expensive objective in a search, by name or by default."""

from __future__ import annotations

import os
from collections.abc import Sequence
from copy import copy
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from nastk.data import measured
from nastk.errors import InvalidValue
from nastk.oracles._settings import Setting
from nastk.oracles.base import Direction, Oracle
from nastk.predictors._gp_bma_features import choices_alone
from nastk.predictors._local_sources import LEAST, NETWORKS, LocalSources, count_networks
from nastk.predictors.base import Predictor
from nastk.predictors.factory import predictor, shipped_prior, weights
from nastk.predictors.few_shot_gp import FewShotGP
from nastk.predictors.gp_bma import GPBMA
from nastk.spaces.base import Archs, SearchSpace

FEW_SHOT = "few-shot-gp"
"""Predictor of latencies where the searcher supports few-shot predictors: the only one of them with shipped weights."""

DUPLICATES = 0.99
"""Source devices whose latencies correlate above this (Spearman) with the target's count as the target, and are left
out. A lower value excludes more useful sources; a higher one lets near-copies of the target leak its values."""

SEARCH_AMPLITUDES = (0.9, 0.3, 2.0)
"""Signal variances that gp-bma averages over in a search, relative to the variance of the samples. Those are alike
because they are good, so the function may vary more over the space than among them; more values cost time in each
fit."""

FRONT_NOISES = (0.003, 0.01, 0.03, 0.1, 0.3)
"""Noise variances that gp-bma averages over in a search of a front, relative to the variance of the samples. Samples
along a front differ far more than the most accurate of them do among themselves, so the noise to tell those apart is
small."""

SEARCH_WARP = "distance"
"""Output warp of gp-bma in a search for the best of one objective: it spreads the values near the best, where
differences matter, also where a few bad samples dominate the variance. It expects those far from it to be more
uncertain than they are, which sends the search of a front there."""


def default_predictor(space: SearchSpace, direction: Direction, alone: bool) -> Predictor:
    """What learns an expensive objective where none is named.

    gp-bma (see :func:`gp_bma_for_search`) for one that is searched alone, for which a prior ships, or of a space that
    tells nothing beyond its choices, of which gp learns too late which ones matter. Else gp: of what is nearly linear
    in totals, such as memory and throughput, it learns fronts sooner.
    """
    if alone or shipped_prior(space, direction) is not None or choices_alone(space):
        return gp_bma_for_search(space, direction, alone)
    return predictor("gp")


def gp_bma_for_search(space: SearchSpace, direction: Direction, alone: bool) -> Predictor:
    """gp-bma for samples that a search of this objective `alone`, or of a front, chooses; with the shipped prior."""
    # further proxies rank all networks better, and the best ones less well (docs/accuracy.md)
    found = copy(_prior(shipped_prior(space, direction), further=False))
    found.amplitudes = SEARCH_AMPLITUDES
    if alone:
        found.warp = SEARCH_WARP
    else:
        found.noises = FRONT_NOISES
    return found


def gp_bma_with_prior(space: SearchSpace, direction: Direction) -> GPBMA:
    """gp-bma with the prior that ships for a space, if one does."""
    return copy(_prior(shipped_prior(space, direction), further=True))


@lru_cache(maxsize=8)
def _prior(pretrained: str | None, further: bool) -> GPBMA:
    """That prior, once a process; its copies share the features that it caches."""
    found = predictor("gp-bma", pretrained=pretrained)
    assert isinstance(found, GPBMA)
    return found if further else found.without_further()


def latency_predictor(space: SearchSpace, device: str | None = None, name: str = FEW_SHOT) -> Predictor:
    """A few-shot latency predictor, with the shipped weights where the space has some.

    Args:
        device: of a table, if that is the target: it, and source devices that rank like it, are left out.
        name: of the predictor.
    """
    whole = space.whole
    if f"{name}-{whole.name}" not in weights():
        return predictor(name)
    return copy(_pretrained(name, whole.name, device))


@lru_cache(maxsize=8)
def _pretrained(name: str, space: str, device: str | None) -> Predictor:
    """Shipped weights without a target, once a process; its copies share the features that it caches."""
    few = predictor(name, pretrained=space)
    return few.without([device], duplicates=DUPLICATES) if device else few


def learns_sources(model: Predictor) -> TypeGuard[FewShotGP]:
    """Whether a predictor learns networks measured here as source devices: few-shot-gp with none, or of one kind."""
    return isinstance(model, FewShotGP) and (not model.devices or model.calculated == "always")


def sources_here(
    space: SearchSpace,
    networks: int | None,
    seconds: float,
    learned: bool,
    elsewhere: bool,
    but: Sequence[Setting] = (),
    **build_options: Any,
) -> LocalSources | None:
    """The networks to measure on this machine as source devices; None for none.

    Args:
        networks: as asked for; None for the default: some where a device elsewhere is learned and a predictor learns
            them.
        seconds: time limit.
        learned: whether a predictor learns them (:func:`learns_sources`).
        elsewhere: whether such a predictor is of a device that is not this machine.
        but: settings that are none of them.
        build_options: of `SearchSpace.build`.

    Raises:
        InvalidValue: networks were asked for, and no predictor learns them; or too few.
        Unsupported: networks were asked for, and the space builds none.
    """
    if networks == 0:
        return None
    if networks is None:
        if not (learned and elsewhere) or not space.whole.has_networks:
            return None
        networks = NETWORKS
        if count_networks(space.whole, networks) < LEAST:
            return None  # ten measurements are a good part of them
    elif not learned:
        raise InvalidValue(
            "local sources are for few-shot-gp in a space without shipped latencies of various devices, which learns "
            "nothing here; leave them out"
        )
    return LocalSources(space, networks, seconds, but=but, **build_options)


def read_measured(space: SearchSpace, path: str | os.PathLike[str]) -> measured.Measured:
    """Measurements of one device from a CSV file; see :func:`nastk.data.measured.read`.

    Values far from those of all devices that the shipped predictor knows are named in a warning.

    Raises:
        DataError: unreadable, a column is missing or an entry is wrong; the message has file, line and column.
    """
    sources = getattr(latency_predictor(space), "sources_", None)

    def known(archs: Archs) -> Any:
        return np.empty(0) if sources is None else np.median(sources(archs), axis=0)

    return measured.read(Path(path), space, known)


def predictor_for_search(name: str, space: SearchSpace, oracle: Oracle, alone: bool) -> Predictor:
    """The predictor called `name` as a search uses it: with the weights that ship for the space, the target left out.

    Args:
        oracle: of the objective that it learns.
        alone: whether that is the search's only objective.
    """
    if name == FEW_SHOT:
        return latency_predictor(space, oracle.device)
    if name == "gp-bma":
        return gp_bma_for_search(space, oracle.direction, alone)
    return predictor(name)
