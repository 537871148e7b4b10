"""Spaces by name."""

from __future__ import annotations

from typing import Any

from nastk.errors import InvalidValue
from nastk.registry import SPACES
from nastk.spaces._placeholders import derivable, space_of
from nastk.spaces.base import Choice, SearchSpace


def space(name: str | SearchSpace, **options: Any) -> SearchSpace:
    """The search space called `name`, or a user's own as ``module:Class`` or ``file.py:Class``.

    It may also be a space, or a network from which one is derived (see :func:`nastk.space_of`).

    Args:
        name: a registered name, ``module:Class``, ``file.py:Class``, or a space, which is returned as it is.
        options: of the constructor.

    Raises:
        UnknownName: no such space.
        InvalidValue: the named object is not a search space, fails when it is created, or lacks its name or choices.
    """
    if isinstance(name, SearchSpace):
        return name
    made = SPACES.get(name)
    if derivable(made):
        return space_of(made, **options)
    if not isinstance(made, SearchSpace):
        made = SPACES.create(name, **options)
    if not isinstance(made, SearchSpace):
        raise InvalidValue(f"{name!r} is a {type(made).__name__}, not a search space")
    _check_own(name, made)
    return made


def _check_own(name: str, space: SearchSpace) -> None:
    """Refuse a space without what every other method relies on."""
    called, choices = getattr(space, "name", None), getattr(space, "choices", ())
    if not isinstance(called, str) or not called:
        raise InvalidValue(f"the space {name} needs a name, such as name = 'mine'")
    if not choices or not all(isinstance(choice, Choice) and len(choice) for choice in choices):
        raise InvalidValue(f"the space {name} needs choices, such as choices = (nastk.Choice('width', ('16', '32')),)")
