"""Encodings: architectures to feature vectors.

``fit(space, context, archs)`` learns scales and columns, ``transform(archs)`` returns ``(n, k)``.
Encodings are concatenated by ``+``: ``nastk.encoding("vec+statics")``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nastk.errors import InvalidValue, Unsupported
from nastk.spaces.base import Archs, SearchSpace

if TYPE_CHECKING:
    import torch

Features = NDArray[np.float64]


class ProxySource(Protocol):
    """Source of zero-cost proxies of architectures (a fetched table, live networks).

    One whose attribute ``live`` is true computes each on the network: gp-bma then asks for few but what it predicts. An
    attribute ``further`` is another source, of proxies that are no features of the ``zcp`` encoding; gp-bma's prior
    reads them.
    """

    @property
    def names(self) -> Sequence[str]:
        """Names of the ``k`` proxies."""

    def __call__(self, archs: Archs) -> Features:
        """Proxies ``(n, k)``, NaN where unknown."""


class LatencySource(Protocol):
    """Source of latencies on other devices (a fetched table, models of the source devices)."""

    @property
    def names(self) -> Sequence[str]:
        """Names of the ``k`` devices."""

    def __call__(self, archs: Archs) -> Features:
        """Latencies ``(n, k)``, positive, NaN where unknown."""


@dataclass(frozen=True)
class Context:
    """Sources of looked-up values.

    Args:
        build_options: options of the network, as `SearchSpace.build` takes them (classes, input size).
        proxies: source of zero-cost proxies, or None.
        dataset: data set that looked-up values belong to.
        latencies: source of other devices' latencies for the ``hwl`` encoding, or None; never the target's.
    """

    build_options: dict[str, Any] = field(default_factory=dict)
    proxies: ProxySource | None = None
    dataset: str | None = None
    latencies: LatencySource | None = None


class Encoding(ABC):
    """Turns the architectures of one space into features.

    Attributes:
        relaxable: whether :meth:`transform_relaxed` is supported.
        names_: names of the features, set by :meth:`fit`.
    """

    relaxable: bool = False
    names_: list[str]

    @abstractmethod
    def fit(self, space: SearchSpace, context: Context | None = None, archs: Archs | None = None) -> Encoding:
        """Prepare for a space; returns itself.

        Args:
            space: of the architectures to transform.
            context: sources of looked-up values.
            archs: ``(n, d)``, sample for statistics (means of missing values); by default one of the space.
        """

    @abstractmethod
    def transform(self, archs: Archs) -> Features:
        """Features, shape ``(n, k)``, finite."""

    def transform_relaxed(self, one_hot: torch.Tensor) -> torch.Tensor:
        """Features of relaxed architectures ``(n, sum(sizes))`` (a float one-hot), through which gradients flow."""
        raise Unsupported(f"the encoding {type(self).__name__} has no relaxed form")

    def __add__(self, other: Encoding) -> Sum:
        return Sum([*_terms(self), *_terms(other)])


def _terms(encoding: Encoding) -> list[Encoding]:
    return encoding.terms if isinstance(encoding, Sum) else [encoding]


class Sum(Encoding):
    """Concatenation of several encodings."""

    def __init__(self, terms: Sequence[Encoding]):
        self.terms = list(terms)

    @property
    def relaxable(self) -> bool:  # type: ignore[override]
        return all(t.relaxable for t in self.terms)

    def fit(self, space: SearchSpace, context: Context | None = None, archs: Archs | None = None) -> Sum:
        for term in self.terms:
            term.fit(space, context, archs)
        self.names_ = [name for term in self.terms for name in term.names_]
        return self

    def transform(self, archs: Archs) -> Features:
        return np.concatenate([t.transform(archs) for t in self.terms], axis=1)

    def transform_relaxed(self, one_hot: torch.Tensor) -> torch.Tensor:
        import torch

        if not self.relaxable:
            fixed = ", ".join(type(t).__name__ for t in self.terms if not t.relaxable)
            raise Unsupported(f"no relaxed form: {fixed}")
        return torch.cat([t.transform_relaxed(one_hot) for t in self.terms], dim=1)


def some_archs(space: SearchSpace) -> Archs:
    """Default architectures for statistics: all of a small space, else a fixed random sample of 2,000."""
    return space.enumerate() if space.enumerable else space.sample(2000, seed=0)


def column_means(values: Features) -> Features:
    """Mean of the known values of each column, zero if none is known, ``(k,)``."""
    known = ~np.isnan(values)
    return np.where(known, values, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)


def encoding(name: str | Encoding) -> Encoding:
    """The encoding called `name`; terms are joined by ``+`` ("vec+statics").

    Raises:
        UnknownName: no such encoding.
        InvalidValue: an empty term.
    """
    if isinstance(name, Encoding):
        return name
    from nastk.registry import ENCODINGS

    parts = [p.strip() for p in name.split("+")]
    if not all(parts):
        raise InvalidValue(f"encoding {name!r}: write names joined by '+', such as vec+statics")
    terms = [ENCODINGS.create(p) for p in parts]
    return terms[0] if len(terms) == 1 else Sum(terms)
