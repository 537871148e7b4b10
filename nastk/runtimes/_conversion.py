"""Networks and inputs of PyTorch in a lower precision."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

Network = TypeVar("Network", bound="torch.nn.Module | None")


def converted(network: Network, inputs: torch.Tensor, precision: str) -> tuple[Network, torch.Tensor]:
    """A copy of the network with its floating-point weights in `precision` ("fp16", "bf16"), and the inputs in it.

    Both as they are for "fp32"; tokens stay integers.
    """
    import torch

    if precision == "fp32":
        return network, inputs
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}[precision]
    if network is not None:
        network = copy.deepcopy(network).to(dtype)
    return network, inputs.to(dtype) if inputs.is_floating_point() else inputs
