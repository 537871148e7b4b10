"""Oracles: one metric of architectures, from a table, a measurement, a count, a predictor or a user's function."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_PUBLIC = {
    "Command": "command",
    "CommandDevice": "command",
    "Count": "counts",
    "count_network": "counts",
    "Energy": "energy",
    "Evaluation": "base",
    "Flops": "counts",
    "FunctionOracle": "base",
    "Latency": "latency",
    "Measurement": "latency",
    "Microcontroller": "microcontroller",
    "OfNetwork": "of_network",
    "Oracle": "base",
    "Params": "counts",
    "PeakMemory": "memory",
    "Predicted": "predicted",
    "Recipe": "_trainer",
    "SupernetAccuracy": "supernet",
    "Training": "training",
    "TrainingCommand": "training_command",
    "TrainingStopped": "_intermediate",
    "TranslationLoss": "translation",
    "ZeroCost": "zerocost",
}

__all__ = [
    "Command",
    "CommandDevice",
    "Count",
    "Energy",
    "Evaluation",
    "Flops",
    "FunctionOracle",
    "Latency",
    "Measurement",
    "Microcontroller",
    "OfNetwork",
    "Oracle",
    "Params",
    "PeakMemory",
    "Predicted",
    "Recipe",
    "SupernetAccuracy",
    "Training",
    "TrainingCommand",
    "TrainingStopped",
    "TranslationLoss",
    "ZeroCost",
    "count_network",
]


if not TYPE_CHECKING:  # a type checker shall refuse a name that does not exist

    def __getattr__(name: str) -> Any:
        if name in _PUBLIC:
            return getattr(import_module(f"nastk.oracles.{_PUBLIC[name]}"), name)
        raise AttributeError(f"module 'nastk.oracles' has no attribute {name!r}")


if TYPE_CHECKING:
    from nastk.data.device_file import CommandDevice
    from nastk.oracles._intermediate import TrainingStopped
    from nastk.oracles._trainer import Recipe
    from nastk.oracles.base import Evaluation, FunctionOracle, Oracle
    from nastk.oracles.command import Command
    from nastk.oracles.counts import Count, Flops, Params, count_network
    from nastk.oracles.energy import Energy
    from nastk.oracles.latency import Latency, Measurement
    from nastk.oracles.memory import PeakMemory
    from nastk.oracles.microcontroller import Microcontroller
    from nastk.oracles.of_network import OfNetwork
    from nastk.oracles.predicted import Predicted
    from nastk.oracles.supernet import SupernetAccuracy
    from nastk.oracles.training import Training
    from nastk.oracles.training_command import TrainingCommand
    from nastk.oracles.translation import TranslationLoss
    from nastk.oracles.zerocost import ZeroCost
