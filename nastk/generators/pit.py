"""Pruning in time (PIT; Risso et al., IEEE Transactions on Computers 2022, arXiv 2301.10281): a search by masks.

One seed network is trained, with its largest kernels; then its weights together with masks of channels, receptive
fields and dilations, by a loss to which a differentiable cost is added; then what the masks removed is cut away. One
network is trained in place of many. Limits on several costs at once are DUCCIO's (Risso et al., arXiv 2310.07217).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nastk.errors import InvalidValue, NastkError, UnknownName
from nastk.generators._pit_channels import CONVOLUTIONS, Group, Layer, mask_of, structure_of
from nastk.generators._pit_export import write_layer
from nastk.generators._pit_masks import ChannelMask, LayerSize, MaskedLayer, TapMask, size_of
from nastk.oracles.counts import count_network

CostFunction = Callable[[list[LayerSize]], Tensor]
"""A differentiable cost: from what is left of each layer (see :class:`nastk.generators.LayerSize`) to a scalar."""

RAMP = (0.01, 0.5)
"""Share of their strength that limits begin with, and share of the steps after which they have all of it."""

GROWTH = 1.1
"""Factor by which the strength of a limit grows in each step after the ramp in which it is broken. It is this
project's: the paper's strength is the seed's loss, which can be almost 0."""

TOLERANCE = 1e-4
"""Greatest difference of the exported network's outputs from the masked one's, relative to the largest output."""


class PIT(nn.Module):
    """A trained network with masks: train it in the place of the network, with :meth:`cost_term` added to the loss.

    Channels of convolutions and of linear layers are removed, where the network's graph tells who reads them; of
    one-dimensional convolutions also taps: the oldest, and all but every second, fourth, ... one. :meth:`left_out` says
    what is kept as it is, and why. ::

        search = nastk.generators.PIT(net, example, strength=1.0)
        optimiser = torch.optim.Adam(search.parameter_groups(1e-3))
        for x, y in batches:
            loss = cross_entropy(search(x), y)
            loss = loss + search.cost_term(loss)
            ...
        small = search.export()     # train it a little more: it has lost what the masks did not see

    Args:
        network: the seed, trained (the paper's warm-up); it takes one tensor. It is copied.
        example: a batch of its inputs, ``(b, channels, ...)``; costs are counted for one of them.
        cost: what to lower: "params", "flops" (multiply-adds), or one of `costs`.
        strength: weight of the cost, which is relative to the seed's: 1 adds 1 to the loss of the seed itself. Several
            values give several networks, from accurate to small.
        limits: greatest values of costs, by name, in place of `cost` and `strength`.
        costs: more costs by name, such as a latency (:class:`nastk.generators.LayerLatency`).
        steps: with limits, the number of training steps, in the first half of which the limits grow strong.

    Raises:
        InvalidValue: the network's graph cannot be read, nothing in it can be removed, a number that cannot be used, or
            a limit that even the smallest network breaks.
        UnknownName: no such cost.
    """

    example: Tensor

    def __init__(
        self,
        network: nn.Module,
        example: Tensor,
        cost: str = "params",
        strength: float = 1.0,
        limits: Mapping[str, float] | None = None,
        costs: Mapping[str, CostFunction] | None = None,
        steps: int | None = None,
    ):
        super().__init__()
        self._functions: dict[str, CostFunction] = {
            "params": lambda layers: sum_of([layer.params for layer in layers]),
            "flops": lambda layers: sum_of([layer.flops for layer in layers]),
            **(costs or {}),
        }
        self.cost, self.strength, self.limits, self.steps = cost, strength, dict(limits or {}), steps
        for name in (cost, *self.limits):
            if name not in self._functions:
                raise UnknownName("cost", name, self._functions)
        if not (math.isfinite(strength) and strength >= 0):
            raise InvalidValue(f"the strength of the cost is a number of at least 0; got {strength}")
        if self.limits and (steps is None or steps < 1):
            raise InvalidValue("limits need steps, the number of training steps that the search will have")
        self.network = copy.deepcopy(network)
        self.register_buffer("example", example.detach().clone(), persistent=False)
        self._layers = structure_of(self.network, example).layers
        self._constant = self._uncounted(example)
        self._channels, self._taps = nn.ModuleList(), nn.ModuleDict()
        self._mask_of: dict[Group, ChannelMask] = {}
        self._put_masks()
        with torch.no_grad():
            self._seed = {name: float(value) for name, value in self.costs().items()}
        self._check_limits()
        self._strengths: dict[str, float] = {}
        self._step = 0

    # ---- masks

    def _put_masks(self) -> None:
        for layer in self._layers:
            for group in (*layer.reads.groups, *layer.writes.groups):
                root = group.root
                if not root.kept and root.size > 1 and root not in self._mask_of:
                    self._mask_of[root] = ChannelMask(root.size)
                    self._channels.append(self._mask_of[root])
        for layer in self._layers:
            taps = TapMask(layer.module.kernel_size[0]) if not _taps_kept(layer) else None  # type: ignore[index, arg-type]
            if taps is not None:
                self._taps[layer.name.replace(".", "/")] = taps
            if not isinstance(layer.module, (*CONVOLUTIONS, nn.Linear)):
                continue
            read = not layer.depthwise and any(group.root in self._mask_of for group in layer.reads.groups)
            if read or taps is not None:
                masked = MaskedLayer(layer.module, layer.reads if read else None, self._mask, taps)
                parent, _, last = layer.name.rpartition(".")
                setattr(self.network.get_submodule(parent), last, masked)
        if not len(self._channels) and not len(self._taps):
            raise InvalidValue(f"nothing in {type(self.network).__name__} can be removed: {self._why_nothing()}")
        device = self.example.device
        self._channels.to(device)
        self._taps.to(device)

    def _mask(self, group: Group) -> Tensor:
        found = self._mask_of.get(group.root)
        if found is None:
            return torch.ones(group.size, device=self.example.device)
        mask: Tensor = found()
        return mask

    def _taps_of(self, layer: Layer) -> TapMask | None:
        name = layer.name.replace(".", "/")
        return self._taps[name] if name in self._taps else None  # type: ignore[return-value]  # noqa: SIM401

    def _why_nothing(self) -> str:
        reasons = self.left_out()
        return "; ".join(f"{name}: {why}" for name, why in list(reasons.items())[:3]) or "it has no convolution"

    def left_out(self) -> dict[str, str]:
        """What is kept as it is and why, by the name of the layer, and "taps of" it."""
        found = {}
        for layer in self._layers:
            if not isinstance(layer.module, (*CONVOLUTIONS, nn.Linear)):
                continue
            why = next((group.root.kept for group in layer.writes.groups if group.root.kept), "")
            if why:
                found[layer.name] = why
            if isinstance(layer.module, nn.Conv1d) and layer.module.kernel_size[0] > 1 and (why := _taps_kept(layer)):
                found[f"taps of {layer.name}"] = why
        return found

    def masks(self) -> list[nn.Parameter]:
        """The masks' parameters."""
        return [*self._channels.parameters(), *self._taps.parameters()]

    def parameter_groups(self, rate: float, mask_rate: float | None = None, decay: float = 0.0) -> list[dict[str, Any]]:
        """Groups for an optimiser: the weights, and the masks, whose weight decay would be one more cost.

        Args:
            rate: learning rate of the weights.
            mask_rate: of the masks; by default the same.
            decay: weight decay of the weights.
        """
        masks = self.masks()
        held = set(masks)
        weights = [parameter for parameter in self.parameters() if parameter not in held]
        return [
            {"params": weights, "lr": rate, "weight_decay": decay},
            {"params": masks, "lr": rate if mask_rate is None else mask_rate, "weight_decay": 0.0},
        ]

    def forward(self, x: Tensor) -> Tensor:
        """What the masked network returns."""
        found: Tensor = self.network(x)
        return found

    # ---- costs

    def sizes(self) -> list[LayerSize]:
        """What is left of each layer, differentiable in the masks."""
        return [size_of(layer, self._mask, self._taps_of(layer)) for layer in self._layers]

    def costs(self) -> dict[str, Tensor]:
        """Each cost of the network that :meth:`export` would give, differentiable in the masks (straight-through)."""
        sizes = self.sizes()
        return {name: function(sizes) + self._constant.get(name, 0) for name, function in self._functions.items()}

    def _uncounted(self, example: Tensor) -> dict[str, float]:
        """Parameters and multiply-adds outside of the layers that are known, which stay."""
        inside = {parameter for layer in self._layers for parameter in layer.module.parameters()}
        ones = [size_of(layer, lambda group: torch.ones(group.size), None) for layer in self._layers]
        flops = count_network(self.network, example[:1])["flops"] - float(sum_of([size.flops for size in ones]))
        return {"params": float(sum(p.numel() for p in self.network.parameters() if p not in inside)), "flops": flops}

    def _check_limits(self) -> None:
        least = self._least() if self.limits else {}
        for name, limit in self.limits.items():
            if not limit > least[name]:
                raise InvalidValue(f"the smallest network that is left has {least[name]:g} {name}, over {limit:g}")

    @torch.no_grad()
    def _least(self) -> dict[str, float]:
        """Costs with one channel of each group, and one tap of each kernel."""
        before = [mask.detach().clone() for mask in self.masks()]
        for mask in self.masks():
            mask.zero_()
        found = {name: float(value) for name, value in self.costs().items()}
        for mask, value in zip(self.masks(), before, strict=True):
            mask.copy_(value)
        return found

    def cost_term(self, task: Tensor | float | None = None) -> Tensor:
        """What to add to the loss of a training step.

        Args:
            task: the loss of the task, which sets the strengths of limits when this is first called. Not needed
                without limits.

        Raises:
            InvalidValue: limits, and no loss.
        """
        costs = self.costs()
        if not self.limits:
            return self.strength * costs[self.cost] / self._seed[self.cost]
        if not self._strengths:
            if task is None:
                raise InvalidValue("with limits, cost_term takes the loss of the task: cost_term(loss)")
            loss, before = float(torch.as_tensor(task).detach()), self._seed
            self._strengths = {
                name: loss / (before[name] - limit) if before[name] > limit else 0.0
                for name, limit in self.limits.items()
            }
        assert self.steps is not None
        begin, end = RAMP
        ramp = min(begin + (1.0 - begin) * self._step / (end * self.steps), 1.0)
        over = [self._strengths[name] * (costs[name] - limit).clamp(min=0.0) for name, limit in self.limits.items()]
        if self.training:
            self._step += 1
            for name, limit in self.limits.items():
                if ramp == 1.0 and costs[name].item() > limit:
                    self._strengths[name] *= GROWTH
        return ramp * sum_of(over)

    def get_extra_state(self) -> dict[str, Any]:
        return {"strengths": self._strengths, "step": self._step}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self._strengths, self._step = dict(state["strengths"]), int(state["step"])

    # ---- what is left

    @torch.no_grad()
    def meet_limits(self) -> int:
        """Remove what the limits still ask for, in the order of the masks; returns how many channels and taps.

        This is not the paper's: a search that ends above a limit by a channel or two is not repeated for them.
        """
        removed = 0
        parts: list[Any] = [*self._channels, *self._taps.values()]
        while any(float(self.costs()[name]) > limit for name, limit in self.limits.items()):
            weakest = min(parts, key=lambda mask: mask.weakest())
            if not math.isfinite(weakest.weakest()):
                break
            weakest.remove()
            removed += 1
        return removed

    @torch.no_grad()
    def draw(self, seed: int) -> None:
        """Open and close masks at random, so that :meth:`export` gives one of the networks that a search may find; for
        measuring what they cost, before a search."""
        generator = torch.Generator().manual_seed(seed)
        for mask in self._mask_of.values():
            kept = torch.rand((), generator=generator)
            mask.alpha.copy_((torch.rand(mask.alpha.shape, generator=generator) < kept).float())
        for taps in filter(None, map(self._taps_of, self._layers)):
            within = int(torch.randint(len(taps.beta) + 1, (), generator=generator))
            step = int(torch.randint(len(taps.gamma) + 1, (), generator=generator))
            taps.beta.zero_()
            taps.beta[:within] = 1.0
            taps.gamma.zero_()
            if step < len(taps.gamma):
                taps.gamma[step] = 1.0

    @torch.no_grad()
    def export(self) -> nn.Module:
        """The network without masks and without what they removed, with its weights; a new one.

        Limits that the search has not met are met first, see :meth:`meet_limits`.

        Raises:
            NastkError: it does not compute what the masked one does: its forward pass depends on numbers of channels in
                a way that its graph does not show.
        """
        self.meet_limits()
        small = copy.deepcopy(self.network, {id(self): self})  # masked layers ask this object for their masks
        for layer in self._layers:
            reads, writes = (mask_of(side, self._mask) > 0 for side in (layer.reads, layer.writes))
            write_layer(small, layer, reads, writes, self._taps_of(layer))
        self._check_export(small)
        return small

    def _check_export(self, small: nn.Module) -> None:
        modes = [(module, module.training) for network in (self.network, small) for module in network.modules()]
        try:
            self.network.eval()
            small.eval()
            expected, found = self.network(self.example), small(self.example)
        except Exception as error:
            raise NastkError(f"the network cannot run with fewer channels: {error}".splitlines()[0]) from error
        finally:
            for module, training in modes:
                module.training = training
        difference = float((expected - found).abs().max())
        if not difference <= TOLERANCE * max(float(expected.abs().max()), 1.0):
            raise NastkError(
                f"the exported network's outputs differ from the masked one's by {difference:g}: its forward pass "
                "depends on numbers of channels in a way that its graph does not show"
            )

    def summary(self) -> list[dict[str, Any]]:
        """Of each convolution and linear layer, the channels, taps and dilation that are left."""
        rows = []
        for layer, size in zip(self._layers, self.sizes(), strict=True):
            module: Any = layer.module
            if size.kind == "normalisation":
                continue
            taps, row = self._taps_of(layer), {"layer": layer.name, "channels": int(size.outputs)}
            row["of channels"] = module.weight.shape[0]
            if isinstance(module, nn.Conv1d):
                count, dilation = (module.kernel_size[0], 1) if taps is None else taps.kept()
                row |= {"taps": count, "of taps": module.kernel_size[0], "dilation": dilation * module.dilation[0]}
            rows.append(row)
        return rows


def _taps_kept(layer: Layer) -> str:
    """Why all taps of a layer are kept; "" where they can be removed."""
    module = layer.module
    if not isinstance(module, nn.Conv1d):
        return "no convolution in time"
    if layer.own_forward:
        return f"{type(module).__name__} has a forward pass of its own"
    if module.padding_mode != "zeros":
        return f"it pads by {module.padding_mode}"
    return "" if module.kernel_size[0] > 1 else "there is one"


def sum_of(parts: list[Tensor]) -> Tensor:
    """The sum of scalars, of which there is one or more."""
    return torch.stack(parts).sum()
