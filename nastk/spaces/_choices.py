"""Choices made in a network's constructor, and the build that answers them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from functools import partial
from typing import Any

from nastk.errors import InvalidArchitecture, InvalidValue
from nastk.spaces._exploration import Answers, differing


class Build:
    """One build of a network: the answers to its choices, and the choices it made (`calls`: one after another)."""

    def __init__(self, what: str, answers: Answers, known: Mapping[str, tuple[str, ...]] | None):
        self._what, self._answers, self._known = what, answers, known
        self.labels: dict[str, tuple[str, ...]] = {}
        self.values: dict[str, Any] = {}
        self.calls: list[str] = []

    def answer(self, name: str, options: Mapping[str, Any]) -> Any:
        labels = tuple(options)
        self.calls.append(name)
        if self._known is not None and name not in self._known:
            raise InvalidArchitecture(
                f"{self._what}: the choice {name!r} was not found when the space was derived; give nastk.space_of a "
                "greater checks="
            )
        before = (self._known or {}).get(name, labels) if name not in self.labels else self.labels[name]
        if before != labels:
            raise InvalidValue(differing(self._what, name, before, labels))
        self.labels[name] = labels
        self.values[name] = options[labels[self._answers.get(name, 0)]]
        return self.values[name]

    def label(self, name: str) -> str:
        """The label of the option that a choice, made before, was answered with."""
        return self.labels[name][self._answers.get(name, 0)]

    def __str__(self) -> str:
        return ", ".join(f"{n}={labels[self._answers.get(n, 0)]}" for n, labels in self.labels.items()) or "no choice"


building: ContextVar[Build | None] = ContextVar("nastk_build", default=None)
"""The build in progress in this thread or task, if any; it answers :func:`choice`."""


def choice(name: str, options: Iterable[Any]) -> Any:
    """An architectural choice, called in a network's constructor; see :func:`nastk.space_of`.

    Args:
        name: what is decided; calls with the same name are the same choice.
        options: values of any kind, or a mapping from labels to values. By default a label is the value's text, for
            classes and functions their name.

    Returns:
        The option of the architecture being built; the first one outside of a build.

    Raises:
        InvalidValue: no options, two with the same label, or options that differ from earlier ones of this name.

    Example::

        >>> kernel = nastk.choice("kernel", [3, 5, 7])
    """
    labelled = _by_label(name, options)
    build = building.get()
    return next(iter(labelled.values())) if build is None else build.answer(name, labelled)


def _by_label(name: str, options: Iterable[Any]) -> dict[str, Any]:
    if not isinstance(name, str) or not name.strip() or "\n" in name or name in ("input", "output"):
        raise InvalidValue(f"the name of a choice must be one line of text, not input or output; got {name!r}")
    if isinstance(options, str) or not isinstance(options, Iterable):
        raise InvalidValue(f"choice {name!r}: options must be a list; got {options!r}")
    if isinstance(options, Mapping):
        pairs = [(_clean(str(label)), value) for label, value in options.items()]
    else:
        pairs = [(_label(value), value) for value in options]
    labelled = dict(pairs)
    if not labelled:
        raise InvalidValue(f"choice {name!r} has no options")
    if len(labelled) < len(pairs):
        labels = [label for label, _ in pairs]
        double = next(label for label in labels if labels.count(label) > 1)
        raise InvalidValue(f"choice {name!r} has two options {double!r}; label them: {{'this': ..., 'that': ...}}")
    return labelled


def _label(value: Any) -> str:
    if isinstance(value, partial):
        arguments = [*map(_label, value.args), *(f"{k}={_label(v)}" for k, v in value.keywords.items())]
        return f"{_label(value.func)}({', '.join(arguments)})"
    text = value.__name__ if hasattr(value, "__name__") else str(value)
    return _clean(type(value).__name__ if " at 0x" in text else text)


def _clean(text: str) -> str:
    """A text that fits between the separators of :meth:`nastk.spaces._placeholders.DerivedSpace.format`."""
    return " ".join(text.split()).replace("|", "/") or "''"
