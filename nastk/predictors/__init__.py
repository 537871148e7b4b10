"""Predictors of accuracy, latency and other metrics, one file each; ``nastk.predictor(name)`` makes one."""

from __future__ import annotations

from typing import Any


def load(path: Any, **options: Any) -> Any:
    """Read a predictor that `Predictor.save` wrote; see `nastk.predictors._storage.load`."""
    from nastk.predictors._storage import load as read

    return read(path, **options)


def weights() -> dict[str, dict[str, Any]]:
    """The weights that ship with the package and how good they are."""
    from nastk.predictors.factory import weights as shipped

    return shipped()
