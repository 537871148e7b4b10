"""Generators: trained once, they propose architectures for any preference among objectives and any device; and
pruning by masks and gates on paths, which find a network within the weights of one."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_PUBLIC = {
    "Cost": "nastk.generators.costs",
    "Device": "nastk.generators.costs",
    "LayerLatency": "nastk.generators.layer_latency",
    "LayerSize": "nastk.generators._pit_masks",
    "Limit": "nastk.generators.limits",
    "MTLLookAhead": "nastk.generators.mtl_look_ahead",
    "MTLRounds": "nastk.generators.mtl_rounds",
    "MTLNAS": "nastk.generators.mtl_nas",
    "PIT": "nastk.generators.pit",
    "PITFront": "nastk.generators.pit_front",
    "Phases": "nastk.generators.pit_front",
    "ParetoGenerator": "nastk.generators.pareto",
    "SupernetGenerator": "nastk.generators.supernet",
    "Target": "nastk.supernets.modnas",
    "combine": "nastk.relaxation.device_gradients",
    "discretiser": "nastk.relaxation.discretisers",
    "hypernetwork": "nastk.relaxation.hypernetworks",
    "load": "nastk.generators.pareto",
    "rays": "nastk.relaxation.preferences",
    "scalarisation": "nastk.relaxation.scalarisations",
}

__all__ = [
    "MTLNAS",
    "PIT",
    "Cost",
    "Device",
    "LayerLatency",
    "LayerSize",
    "Limit",
    "MTLLookAhead",
    "MTLRounds",
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
            return getattr(import_module(_PUBLIC[name]), name)
        raise AttributeError(f"module 'nastk.generators' has no attribute {name!r}")


if TYPE_CHECKING:
    from nastk.generators._pit_masks import LayerSize
    from nastk.generators.costs import Cost, Device
    from nastk.generators.layer_latency import LayerLatency
    from nastk.generators.limits import Limit
    from nastk.generators.mtl_look_ahead import MTLLookAhead
    from nastk.generators.mtl_nas import MTLNAS
    from nastk.generators.mtl_rounds import MTLRounds
    from nastk.generators.pareto import ParetoGenerator, load
    from nastk.generators.pit import PIT
    from nastk.generators.pit_front import Phases, PITFront
    from nastk.generators.supernet import SupernetGenerator
    from nastk.relaxation.device_gradients import combine
    from nastk.relaxation.discretisers import discretiser
    from nastk.relaxation.hypernetworks import hypernetwork
    from nastk.relaxation.preferences import rays
    from nastk.relaxation.scalarisations import scalarisation
    from nastk.supernets.modnas import Target
