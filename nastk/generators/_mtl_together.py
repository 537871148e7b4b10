"""Networks of the space mtl-fusion trained from scratch side by side: one computation for many small ones."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from nastk.data.images import ImageData
from nastk.spaces.base import Archs
from nastk.spaces.mtl_fusion import MTLFusion

Named = dict[str, Tensor]
"""Weights or buffers of networks side by side, by name: ``(networks, ...)`` each."""


def side_by_side(networks: Sequence[nn.Module]) -> tuple[Named, Named, Callable[..., tuple[Tensor, ...]]]:
    """Weights and buffers of supernets of one shape, and their outputs at once: a function of weights, buffers, gates
    ``(networks, edges)`` and inputs ``(batch, ...)``, which all of them see, to a tuple of ``(networks * batch,
    outputs)``, one a task."""
    weights, buffers = stack_module_state(list(networks))
    skeleton = copy.deepcopy(networks[0]).to("meta")

    def outputs(p: Named, b: Named, gates: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        one_hot = torch.stack([1 - gates, gates], 1).flatten()
        found: tuple[Tensor, ...] = functional_call(skeleton, (p, b), (x, one_hot))
        return found

    each = vmap(outputs, in_dims=(0, 0, 0, None))

    def all_outputs(p: Named, b: Named, gates: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(output.flatten(0, 1) for output in each(p, b, gates, x))

    return {name: value.detach() for name, value in weights.items()}, buffers, all_outputs


def batches_of(count: int, epochs: int, batch: int, generator: torch.Generator) -> list[Tensor]:
    """Places of the images of each step, in a new random order in every epoch."""
    parts = max(round(count / batch), 1)
    return [rows for _ in range(epochs) for rows in torch.randperm(count, generator=generator).tensor_split(parts)]


def train_together(
    space: MTLFusion,
    archs: Archs,
    data: ImageData,
    epochs: int,
    batch: int,
    rate: float,
    decay: float,
    seed: int,
    device: str | torch.device = "cpu",
    follow: Callable[[], None] | None = None,
) -> list[nn.Module]:
    """A network for each architecture ``(n, d)``, in evaluation mode, with weights that it shares with no other.

    Each is what it would be if it were trained alone: its closed paths pass nothing on. All begin with the same weights
    and see the same batches. By AdamW, whose rate is annealed to 0 by a cosine. `follow` is called after each step.
    """
    options = {"in_channels": data.shape[0], "input_size": data.shape[-1]}
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        whole = space.supernet(**options).to(device).train()
    stacked, buffers, outputs = side_by_side([whole] * len(archs))
    parameters = {name: value.requires_grad_() for name, value in stacked.items()}
    gates = torch.as_tensor(archs, dtype=torch.float32, device=device)
    training = data.training.to(device)
    optimiser = torch.optim.AdamW(parameters.values(), rate, weight_decay=decay, fused=True)
    places = batches_of(len(training), epochs, batch, generator)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, len(places))
    for rows in places:
        x, y = (t.to(device) for t in training.batch(rows))
        optimiser.zero_grad()
        loss = data.problem.loss(data.problem.read(outputs(parameters, buffers, gates, x)), y.repeat(len(archs), 1))
        (len(archs) * loss).backward()  # the mean is over all networks, and each has a loss of its own
        optimiser.step()
        schedule.step()
        if follow is not None:
            follow()
    networks: list[nn.Module] = []
    for i, arch in enumerate(archs):
        whole.load_state_dict({name: value[i].detach() for name, value in {**parameters, **buffers}.items()})
        networks.append(whole.hand_over(space.build(arch, **options)).to(device).eval())
    return networks
