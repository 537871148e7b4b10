"""Which of a network's outputs is its logits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from nastk.errors import InvalidValue

if TYPE_CHECKING:
    from torch import Tensor


class AmbiguousOutput(InvalidValue):
    """None of a network's outputs, or more than one, may be its logits."""


@dataclass(frozen=True)
class Logits:
    """How to find the logits in what a network returns.

    A single tensor is the logits. Of several tensors (tuples, dictionaries, dataclasses, nested) it is the one that
    `output` names, or that the network itself calls "logits", or the only one with as many classes.

    Args:
        classes: number of classes; None if it is not known.
        output: position (``1``) or name (``"logits"``, ``"heads.1"``) of the output; None to find it.
        least: where `classes` is None, the least number that there can be.
        dimensions: of logits, if known.
    """

    classes: int | None = None
    output: int | str | None = None
    least: int | None = None
    dimensions: int | None = None

    def choose(self, returned: Any) -> tuple[str, Tensor]:
        """The logits' name ("" where the network returns one tensor), and the logits.

        Raises:
            AmbiguousOutput: they cannot be told, or there is no such output.
        """
        found = named_tensors(returned)
        if self.output is not None:
            if (name := str(self.output)) not in found:
                raise AmbiguousOutput(f"the network has no output {name!r}; it returns {_listed(found, returned)}")
            return name, found[name]
        if len(found) == 1:
            return next(iter(found.items()))
        named = [name for name in found if name.rpartition(".")[2] == "logits"]
        if len(named) == 1:
            return named[0], found[named[0]]
        fitting = [name for name, tensor in found.items() if self._fits(tensor)]
        if len(fitting) == 1:
            return fitting[0], found[fitting[0]]
        if not found:
            raise AmbiguousOutput(f"the network returns {_listed(found, returned)}, not a tensor of logits")
        classes = f"{self.classes} classes" if self.classes is not None else f"at least {self.least or 1} classes"
        raise AmbiguousOutput(
            f"the network returns {_listed(found, returned)}: {'several have' if fitting else 'none has'} {classes}; "
            f"say which are the logits (output={next(iter(found))!r}, or --output of nastk zcp)"
        )

    def _fits(self, tensor: Tensor) -> bool:
        count = class_count(tensor)
        if count is None or (self.dimensions is not None and tensor.ndim != self.dimensions):
            return False
        return count == self.classes if self.classes is not None else count >= (self.least or 1)


def class_count(logits: Tensor) -> int | None:
    """Classes of logits ``(b, classes)``, ``(b, t, classes)`` or ``(b, classes, height, width)``."""
    if not logits.is_floating_point() or logits.ndim < 2:
        return None
    return logits.shape[-1] if logits.ndim == 3 else logits.shape[1]


def named_tensors(returned: Any, prefix: str = "") -> dict[str, Tensor]:
    """Tensors in what a network returns, by position or name; "" for a tensor alone."""
    from torch import Tensor

    if isinstance(returned, Tensor):
        return {prefix: returned}
    if isinstance(returned, Mapping):
        parts = {str(key): value for key, value in returned.items()}
    elif isinstance(returned, tuple) and hasattr(returned, "_fields"):
        parts = dict(zip(returned._fields, returned, strict=True))
    elif isinstance(returned, (tuple, list)):
        parts = {str(i): value for i, value in enumerate(returned)}
    elif is_dataclass(returned) and not isinstance(returned, type):
        parts = {f.name: getattr(returned, f.name) for f in fields(returned)}
    else:
        return {}
    found: dict[str, Tensor] = {}
    for name, value in parts.items():
        found |= named_tensors(value, f"{prefix}.{name}" if prefix else name)
    return found


def _listed(found: dict[str, Tensor], returned: Any) -> str:
    if not found:
        return f"a {type(returned).__name__}"
    return ", ".join(f"{name or 'one tensor'} {tuple(tensor.shape)}" for name, tensor in found.items())
