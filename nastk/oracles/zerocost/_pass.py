"""One pass over a network for all proxies: everything is computed on first use and cached."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import cached_property
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Loss = Callable[[Tensor, Tensor], Tensor]

LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, nn.ConvTranspose2d)
"""Layers whose weights the proxies of weights and gradients sum over."""
NORMALISED = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
"""Batch normalisations, whose variances the proxy zen reads."""
_NORMALISATIONS = (
    *NORMALISED, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d,
)  # fmt: skip

# Nonlinearities with two sides; their outputs' signs are the codes of nwot.
_GATES = {
    getattr(torch.nn.functional, name)
    for name in ("relu", "relu6", "leaky_relu", "elu", "gelu", "silu", "hardswish", "hardtanh", "mish", "celu", "selu")
} | {torch.relu, torch.relu_, torch.Tensor.relu, torch.Tensor.relu_, torch.nn.functional.relu_}


class Undefined(ValueError):
    """The proxy has no value for this network and batch; the message says why."""


class Pass:
    """A network with a batch, and the quantities computed from it.

    Weights, buffers, training mode, gradients and hooks of the network are restored when the ``with`` block ends. The
    network runs in training mode (batch statistics), its weights with gradients, whether frozen or not.

    Args:
        model: maps `images` to logits; with several outputs the first one is used.
        images: ``(b, ...)``, or tokens (integers) ``(b, t)``.
        labels: ``(b,)`` classes, or any labels that the loss takes.
        loss: of logits and labels.
        needs: parts that must be prepared before the forward pass, see `Proxy.needs`.
        generator: for random inputs and weights.

    Attributes:
        codes: with "codes", the number of units with the same sign for each pair of images, over all nonlinearities,
            ``(b, b)``; None if the network has no nonlinearity.
        activations: with "activations", outputs of the layers that ran, in order.
        channels: the channel dimension of each: the last for linear layers, otherwise the second.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        loss: Loss,
        needs: frozenset[str] = frozenset(),
        generator: torch.Generator | None = None,
    ):
        self.model, self.images, self.labels, self.loss_function = model, images, labels, loss
        self.needs, self.generator = needs, generator or torch.Generator().manual_seed(0)
        self.codes: Tensor | None = None
        self.activations: list[Tensor] = []
        self.channels: list[int] = []

    # ---- restoring the network

    def __enter__(self) -> Pass:
        self._state = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        self._modes = [(module, module.training) for module in self.model.modules()]
        self._frozen = [(p, p.requires_grad, p.grad) for p in self.model.parameters()]
        for parameter, _, _ in self._frozen:
            parameter.grad = None
            if parameter.is_floating_point():
                parameter.requires_grad_(True)
        self.model.train()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.restore()
        for module, mode in self._modes:
            module.training = mode
        for parameter, wanted, gradient in self._frozen:
            parameter.requires_grad_(wanted)
            parameter.grad = gradient
        self.forget()

    def forget(self) -> None:
        """Free everything that was computed."""
        for name in ("logits", "loss", "_backward", "curvature", "jacobian", "input"):
            self.__dict__.pop(name, None)
        self.activations, self.channels = [], []

    def restore(self) -> None:
        """Restore weights and buffers."""
        with torch.no_grad():
            for name, value in self.model.state_dict().items():
                value.copy_(self._state[name])

    # ---- structure

    @cached_property
    def layers(self) -> list[nn.Module]:
        """Convolutions and linear layers with a weight."""
        return [m for m in self.model.modules() if isinstance(m, LAYERS)]

    @property
    def weights(self) -> list[Tensor]:
        """Their weights."""
        return [m.weight for m in self.layers]  # type: ignore[misc]

    # ---- forward

    @cached_property
    def logits(self) -> Tensor:
        """Logits ``(b, classes)``, with the graph."""
        images = self.images.detach()
        if images.is_floating_point():
            images = images.clone().requires_grad_(True)
        self.input = images
        hooks = [m.register_forward_hook(self._keep) for m in self.layers] if "activations" in self.needs else []
        try:
            with _Codes(self) if "codes" in self.needs else contextlib.nullcontext():
                return first_output(self.model(images))
        finally:
            for hook in hooks:
                hook.remove()

    def _keep(self, module: nn.Module, inputs: Any, output: Tensor) -> Tensor | None:
        self.activations.append(output)
        self.channels.append(-1 if isinstance(module, nn.Linear) else 1)
        return output.clone() if self._in_place else None  # later in-place operations must not change it

    @cached_property
    def _in_place(self) -> bool:
        return any(getattr(module, "inplace", False) for module in self.model.modules())

    @cached_property
    def loss(self) -> Tensor:
        """The batch's loss."""
        return self.loss_function(self.logits, self.labels)

    # ---- backward

    @cached_property
    def _backward(self) -> tuple[list[Tensor | None], list[Tensor | None]]:
        """Gradients of the loss for weights and for activations, by one backward pass."""
        loss = self.loss
        wanted = [*self.weights, *self.activations]
        found = torch.autograd.grad(
            loss, wanted, create_graph="second order" in self.needs, retain_graph=True, allow_unused=True
        )
        split = len(self.weights)
        return list(found[:split]), list(found[split:])

    @property
    def gradients(self) -> list[Tensor]:
        """Gradients of the layers' weights, zero for layers that the output does not depend on."""
        return [torch.zeros_like(w) if g is None else g for w, g in zip(self.weights, self._backward[0], strict=True)]

    @property
    def activation_gradients(self) -> list[Tensor]:
        """Gradients of :attr:`activations`."""
        return [
            torch.zeros_like(a) if g is None else g for a, g in zip(self.activations, self._backward[1], strict=True)
        ]

    @cached_property
    def curvature(self) -> list[Tensor]:
        """Hessian of the loss times its gradient, for the layers' weights: exact, by differentiating twice."""
        flow = sum((g.detach() * g).sum() for g in self.gradients)
        found = torch.autograd.grad(flow, self.weights, retain_graph=True, allow_unused=True)  # type: ignore[arg-type]
        return [torch.zeros_like(w) if h is None else h for w, h in zip(self.weights, found, strict=True)]

    @cached_property
    def jacobian(self) -> Tensor:
        """Gradient of the sum of an image's logits with respect to its pixels, ``(b, pixels)``.

        One backward pass of the summed logits: exact if images do not influence each other, which batch statistics
        violate slightly.

        Raises:
            Undefined: tokens.
        """
        logits = self.logits
        if not self.input.is_floating_point():
            raise Undefined("tokens have no gradient")
        (found,) = torch.autograd.grad(logits.sum(), self.input, retain_graph=True)
        return found.flatten(1)


class _Codes(TorchFunctionMode):
    """Counts agreeing signs at every nonlinearity, whether a module or a function."""

    def __init__(self, run: Pass):
        super().__init__()
        self.run = run

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _GATES and args and isinstance(args[0], Tensor) and args[0].ndim > 1:
            with torch.no_grad():
                on = (args[0].detach() > 0).flatten(1).float()
                agree = on @ on.T
                both = on.sum(dim=1)
                agree = 2.0 * agree + on.shape[1] - both[:, None] - both  # agreements: both on, plus both off
                self.run.codes = agree.double() if self.run.codes is None else self.run.codes + agree.double()
        return func(*args, **(kwargs or {}))


def first_output(output: Any) -> Tensor:
    """The logits of a network with one output or several."""
    while isinstance(output, (tuple, list)):
        output = output[0]
    if isinstance(output, dict):
        output = output.get("logits", next(iter(output.values())))
    if not isinstance(output, Tensor):
        raise TypeError(f"the network returns a {type(output).__name__}, not a tensor of logits")
    return output


@contextlib.contextmanager
def without_normalisation(model: nn.Module) -> Iterator[None]:
    """Normalisation layers as the identity, by hooks that are removed at the end."""
    hooks = [
        m.register_forward_hook(lambda module, inputs, output: inputs[0])
        for m in model.modules()
        if isinstance(m, _NORMALISATIONS)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
