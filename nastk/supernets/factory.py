"""Supernets by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nastk.registry import SUPERNETS

if TYPE_CHECKING:
    from nastk.supernets.base import Supernet


def supernet(name: str, **options: Any) -> Supernet:
    """A supernet by name, such as "sandwich", or by the path of a user's own class, ``file.py:Class``.

    Args:
        options: of its class, such as ``steps=600``; others go to `SearchSpace.build`.

    Raises:
        UnknownName: no such supernet.
        InvalidValue: an option that cannot be used.
    """
    made: Supernet = SUPERNETS.create(name, **options)
    return made
