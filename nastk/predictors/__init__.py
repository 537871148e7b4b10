"""Predictors of accuracy, latency and other metrics, one file each; ``nastk.predictor(name)`` makes one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nastk.encodings.base import Context
    from nastk.predictors.base import Predictor
    from nastk.spaces.base import SearchSpace


def load(path: str | os.PathLike[str], space: SearchSpace | None = None, context: Context | None = None) -> Predictor:
    """Read a predictor that `Predictor.save` wrote; predictions are the same as before saving.

    Args:
        path: with or without the suffix ``.json`` or ``.safetensors``.
        space: needed where the space is a user's own.
        context: needed where an encoding looks features up (``zcp``).

    Raises:
        DataError: the files are missing, truncated or not a predictor's.
    """
    from nastk.predictors.factory import load as read

    return read(path, space, context)


def weights() -> dict[str, dict[str, Any]]:
    """The weights that ship with the package: name to the notes on how they were made and how good they are.

    Raises:
        DataError: a shipped file is damaged.
    """
    from nastk.predictors.factory import weights as shipped

    return shipped()
