"""The weights alone, as safetensors."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nastk.deploy._format import Format, Network, as_float
from nastk.errors import Unsupported
from nastk.oracles._weights import state_of
from nastk.runtimes._conversion import converted

if TYPE_CHECKING:
    import torch


class Safetensors(Format):
    """The state dict of the network; its names are those of the space's network, and of its `python` export."""

    name = "safetensors"
    suffix = ".safetensors"
    precisions = ("fp32", "fp16", "bf16")

    def write(self, network: Network, file: Path) -> None:
        import torch
        from safetensors.torch import save_file

        state = state_of(converted(network.module, network.inputs, self.precision)[0])
        if not all(isinstance(value, torch.Tensor) for value in state.values()):
            raise Unsupported("the state of the network has more than tensors, which safetensors cannot hold")
        save_file({name: value.clone(memory_format=torch.contiguous_format) for name, value in state.items()}, file)

    def outputs(self, network: Network, file: Path, batches: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        import torch
        from safetensors.torch import load_file

        state = load_file(file)
        module, _ = converted(copy.deepcopy(network.module), network.inputs, self.precision)
        for value in module.state_dict().values():
            value.zero_()  # all that it computes with is of the file
        module.load_state_dict(state)
        with torch.no_grad():
            return [as_float(module(converted(None, batch, self.precision)[1])) for batch in batches]
