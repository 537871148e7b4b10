"""Generators: trained once, they propose architectures for any preference among objectives and any device; and
pruning by masks and gates on paths, which find a network within the weights of one."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_PUBLIC = {
    "Cost": "costs",
    "Device": "costs",
    "LayerLatency": "layer_latency",
    "LayerSize": "_pit_masks",
    "Limit": "limits",
    "MTLNAS": "mtl_nas",
    "PIT": "pit",
    "PITFront": "pit_front",
    "Phases": "pit_front",
    "ParetoGenerator": "pareto",
    "SupernetGenerator": "supernet",
    "Target": "supernet",
    "combine": "device_gradients",
    "discretiser": "discretisers",
    "hypernetwork": "hypernetworks",
    "load": "pareto",
    "rays": "preferences",
    "scalarisation": "scalarisations",
}

__all__ = [
    "MTLNAS",
    "PIT",
    "Cost",
    "Device",
    "LayerLatency",
    "LayerSize",
    "Limit",
    "PITFront",
    "ParetoGenerator",
    "Phases",
    "SupernetGenerator",
    "Target",
    "combine",
    "discretiser",
    "hypernetwork",
    "load",
    "rays",
    "scalarisation",
]


if not TYPE_CHECKING:  # a type checker shall refuse a name that does not exist

    def __getattr__(name: str) -> Any:
        if name in _PUBLIC:
            return getattr(import_module(f"nastk.generators.{_PUBLIC[name]}"), name)
        raise AttributeError(f"module 'nastk.generators' has no attribute {name!r}")


if TYPE_CHECKING:
    from nastk.generators._pit_masks import LayerSize
    from nastk.generators.costs import Cost, Device
    from nastk.generators.device_gradients import combine
    from nastk.generators.discretisers import discretiser
    from nastk.generators.hypernetworks import hypernetwork
    from nastk.generators.layer_latency import LayerLatency
    from nastk.generators.limits import Limit
    from nastk.generators.mtl_nas import MTLNAS
    from nastk.generators.pareto import ParetoGenerator, load
    from nastk.generators.pit import PIT
    from nastk.generators.pit_front import Phases, PITFront
    from nastk.generators.preferences import rays
    from nastk.generators.scalarisations import scalarisation
    from nastk.generators.supernet import SupernetGenerator, Target
