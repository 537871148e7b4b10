"""Inputs that int8 is calibrated on, as users give them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from nastk.errors import InvalidValue

if TYPE_CHECKING:
    import torch


def read_calibration(source: Any) -> torch.Tensor | None:
    """Inputs ``(n, ...)`` of an array, a tensor or a .npy file; None for None.

    Raises:
        InvalidValue: the file cannot be read, it holds no numbers, or the array has no examples.
    """
    import numpy as np
    import torch

    if source is None:
        return None
    if isinstance(source, (str, os.PathLike)):
        try:
            source = np.load(source, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InvalidValue(
                f"calibration inputs {source}: {error}; give a .npy file of an array (n, ...), as numpy.save writes it"
            ) from None
    try:
        values = torch.as_tensor(source)
    except (TypeError, ValueError) as error:
        raise InvalidValue(f"calibration inputs are an array (n, ...) of numbers; {error}") from None
    if values.dim() < 2 or not len(values):
        raise InvalidValue(f"calibration inputs are an array (n, ...) of n inputs; got {tuple(values.shape)}")
    if values.is_floating_point():
        values = values.float()
        if not torch.isfinite(values).all():
            raise InvalidValue("calibration inputs have values that are not finite")
    return values
