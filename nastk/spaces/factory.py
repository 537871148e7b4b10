"""Spaces by name."""

from __future__ import annotations

from typing import Any

from nastk.errors import InvalidValue
from nastk.registry import SPACES
from nastk.spaces._placeholders import derivable, space_of
from nastk.spaces.base import SearchSpace


def space(name: str | SearchSpace, **options: Any) -> SearchSpace:
    """The search space called `name`, or a user's own as ``module:Class`` or ``file.py:Class``.

    It may also be a space, or a network from which one is derived (see :func:`nastk.space_of`).

    Args:
        name: a registered name, ``module:Class``, ``file.py:Class``, or a space, which is returned as it is.
        options: of the constructor.

    Raises:
        UnknownName: no such space.
        InvalidValue: the named object is not a search space.
    """
    if isinstance(name, SearchSpace):
        return name
    made = SPACES.get(name)
    if isinstance(made, SearchSpace):
        return made
    if derivable(made):
        return space_of(made, **options)
    made = SPACES.create(name, **options)
    if not isinstance(made, SearchSpace):
        raise InvalidValue(f"{name!r} is a {type(made).__name__}, not a search space")
    return made
