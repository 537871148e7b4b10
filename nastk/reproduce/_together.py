"""Networks of the space mtl-fusion trained from scratch side by side: one computation for many small ones."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from nastk.data.images import ImageData
from nastk.spaces.base import Archs
from nastk.spaces.mtl_fusion import MTLFusion


def train_together(
    space: MTLFusion, archs: Archs, data: ImageData, epochs: int, batch: int, rate: float, decay: float, seed: int
) -> list[nn.Module]:
    """A network for each architecture ``(n, d)``, in evaluation mode, with weights that it shares with no other.

    Each is what it would be if it were trained alone: its closed paths pass nothing on. All begin with the same weights
    and see the same batches. By AdamW, whose rate is annealed to 0 by a cosine.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        whole = space.supernet(in_channels=data.shape[0], input_size=data.shape[-1]).train()
    stacked, buffers = stack_module_state([whole] * len(archs))
    parameters = {name: value.detach().requires_grad_() for name, value in stacked.items()}
    gates = torch.as_tensor(space.one_hot(archs)).float()
    skeleton = copy.deepcopy(whole).to("meta")

    def outputs(p: dict[str, Tensor], b: dict[str, Tensor], one_hot: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        found: tuple[Tensor, ...] = functional_call(skeleton, (p, b), (x, one_hot))
        return found

    each = vmap(outputs, in_dims=(0, 0, 0, None))
    optimiser = torch.optim.AdamW(parameters.values(), rate, weight_decay=decay, fused=True)
    parts = max(round(len(data.training) / batch), 1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * parts)
    for _ in range(epochs):
        for rows in torch.randperm(len(data.training), generator=generator).tensor_split(parts):
            x, y = data.training.batch(rows)
            returned = tuple(output.flatten(0, 1) for output in each(parameters, buffers, gates, x))
            optimiser.zero_grad()
            loss = data.problem.loss(data.problem.read(returned), y.repeat(len(archs), 1))
            (len(archs) * loss).backward()  # the mean is over all networks, and each has a loss of its own
            optimiser.step()
            schedule.step()
    networks: list[nn.Module] = []
    for i, arch in enumerate(archs):
        whole.load_state_dict({name: value[i].detach() for name, value in {**parameters, **buffers}.items()})
        network = space.build(arch, in_channels=data.shape[0], input_size=data.shape[-1])
        networks.append(whole.hand_over(network).eval())
    return networks
