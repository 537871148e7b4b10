"""Inputs that int8 is calibrated on, as users give them."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from nastk.errors import InvalidValue

if TYPE_CHECKING:
    import torch


def read_calibration(source: Any, called: str = "calibration inputs") -> torch.Tensor | None:
    """Inputs ``(n, ...)`` of an array, a tensor or a .npy file; None for None.

    Args:
        source: as the user gives them.
        called: what messages call them.

    Raises:
        InvalidValue: the file cannot be read, it holds no numbers, or the array has no examples.
    """
    import numpy as np
    import torch

    if source is None:
        return None
    named = f" {source}" if isinstance(source, (str, os.PathLike)) else ""
    if named:
        try:
            source = np.load(source, allow_pickle=False)
        except OSError as error:
            raise InvalidValue(f"cannot read the {called}{named}: {error.strerror or 'not a .npy file'}") from None
        except (ValueError, EOFError):
            source = None
    values = None
    with contextlib.suppress(TypeError, ValueError, RuntimeError):
        values = torch.as_tensor(source)
    if values is None or values.is_complex() or values.dtype == torch.bool or values.dim() < 2 or not len(values):
        raise InvalidValue(
            f"the {called}{named} must be an array (n, ...) of n inputs, of real numbers, as numpy.save "
            "writes one to a .npy file"
        )
    if values.is_floating_point():
        values = values.float()
        if not torch.isfinite(values).all():
            raise InvalidValue(f"{called} have values that are not finite")
    return values
