"""Supernets by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from nastk.errors import InvalidValue
from nastk.registry import SUPERNETS

if TYPE_CHECKING:
    from nastk.supernets.base import Supernet

KINDS: dict[type, tuple[str, Callable[[Any], bool]]] = {
    bool: ("true or false", lambda value: isinstance(value, bool)),
    int: ("a whole number", lambda value: isinstance(value, Integral) and not isinstance(value, bool)),
    float: ("a number", lambda value: isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)),
    str: ("a name", lambda value: not isinstance(value, Real)),
}
"""What an option is, by the type of what it is by default, and whether a value is that."""


def supernet(name: str, **options: Any) -> Supernet:
    """A supernet by name, such as "sandwich", or by the path of a user's own class, ``file.py:Class``.

    Args:
        options: of its class, such as ``steps=600``; others go to `SearchSpace.build`.

    Raises:
        UnknownName: no such supernet.
        InvalidValue: an option that cannot be used.
    """
    from nastk.supernets.base import Supernet, parameters_of

    cls = SUPERNETS.get(name)
    known = parameters_of(cls) if isinstance(cls, type) and issubclass(cls, Supernet) else {}
    for option, value in options.items():
        kind = KINDS.get(type(known[option].default)) if option in known else None
        if kind is not None and not kind[1](value):
            raise InvalidValue(f"{option} of the supernet {name} is {kind[0]}; got {value!r}")
    made: Supernet = SUPERNETS.create(name, **options)
    return made
