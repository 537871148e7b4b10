"""What differs between the identities of two studies, as a person would say it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What differs between two identities, as a person would say it."""
    said = []
    for key in sorted({*before, *now}):
        a, b = before.get(key), now.get(key)
        if a == b:
            continue
        if key == "choices" and isinstance(a, list) and isinstance(b, list):
            said.append(_different_choices(a, b))
            continue
        if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
            pairs = [_only_differing(x, y) for x, y in zip(a, b, strict=True) if x != y]
            a, b = [x for x, _ in pairs], [y for _, y in pairs]
        said.append(f"{key} was {_short(a)}, now {_short(b)}")
    return "; ".join(said) or "nothing"


def _different_choices(before: list[list[str]], now: list[list[str]]) -> str:
    old, new = {name: options for name, *options in before}, {name: options for name, *options in now}
    said = [
        f"the options of {name} were {', '.join(old[name])} and are {', '.join(new[name])}"
        for name in new
        if name in old and old[name] != new[name]
    ]
    if list(old) != list(new):
        said.append(f"the choices were {', '.join(old)} and are {', '.join(new)}")
    return _short_text("; ".join(said))


def _only_differing(a: Any, b: Any) -> tuple[Any, Any]:
    if not (isinstance(a, dict) and isinstance(b, dict)):
        return a, b
    keys = [key for key in {**a, **b} if a.get(key) != b.get(key)]
    return {key: a.get(key) for key in keys}, {key: b.get(key) for key in keys}


def _short(value: Any) -> str:
    return _short_text(repr(value))


def _short_text(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}..."
