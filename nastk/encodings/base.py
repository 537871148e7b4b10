"""Encodings: architectures to numbers.

``fit(space, context)`` learns what it must (scales, which columns exist), ``transform(archs)`` answers ``(n, k)``.
Encodings add up: ``nastk.encoding("vec+statics")``.
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
    """Where zero-cost proxies of architectures come from (a fetched table, a live network)."""

    names: Sequence[str]

    def __call__(self, archs: Archs) -> Features:
        """Proxies ``(n, len(names))``, NaN where unknown."""


@dataclass(frozen=True)
class Context:
    """Where looked-up values come from.

    Args:
        build_options: options of the network, as `SearchSpace.build` takes them (classes, input size).
        proxies: source of zero-cost proxies, or None.
        dataset: data set that looked-up values belong to.
        sources: source devices whose latencies an ``hwl`` encoding may use; never the target's.
    """

    build_options: dict[str, Any] = field(default_factory=dict)
    proxies: ProxySource | None = None
    dataset: str | None = None
    sources: tuple[str, ...] = ()


class Encoding(ABC):
    """Turns the architectures of one space into features.

    Attributes:
        relaxable: whether :meth:`transform_relaxed` answers.
        names_: names of the features, known after :meth:`fit`.
    """

    relaxable: bool = False
    names_: list[str]

    @abstractmethod
    def fit(self, space: SearchSpace, context: Context | None = None) -> Encoding:
        """Prepare for a space; returns itself."""

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
    """Several encodings side by side."""

    def __init__(self, terms: Sequence[Encoding]):
        self.terms = list(terms)

    @property
    def relaxable(self) -> bool:  # type: ignore[override]
        return all(t.relaxable for t in self.terms)

    def fit(self, space: SearchSpace, context: Context | None = None) -> Sum:
        for term in self.terms:
            term.fit(space, context)
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


def encoding(name: str | Encoding) -> Encoding:
    """The encoding called `name`; terms are joined by ``+`` ("vec+statics").

    Raises:
        UnknownName: no such encoding.
    """
    if isinstance(name, Encoding):
        return name
    from nastk.registry import ENCODINGS

    parts = [p.strip() for p in name.split("+")]
    if not all(parts):
        raise InvalidValue(f"encoding {name!r}: write names joined by '+', such as vec+statics")
    terms = [ENCODINGS.create(p) for p in parts]
    return terms[0] if len(terms) == 1 else Sum(terms)
