"""One pass over a network for all proxies: everything is computed on first use and cached."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn.attention import SDPBackend, sdpa_kernel

from nastk.oracles._calls import GATES, Call, Layer, Layers
from nastk.oracles.zerocost._blocks import Blocks, Feature
from nastk.oracles.zerocost._ranks import Ranks
from nastk.outputs import Logits

Loss = Callable[[Tensor, Tensor], Tensor]

_CLAMPS = {"clamp": "min", "clip": "min", "clamp_min": "min", "threshold": "threshold"}
"""Functions that are a ReLU where this argument is 0."""


class Undefined(ValueError):
    """The proxy has no value for this network and batch; the message says why."""


@dataclass(eq=False)
class _Output:
    """The output of one run of a layer: its value, its place in the graph, its channel dimension."""

    value: Tensor
    edge: GradientEdge
    channels: int


class Pass:
    """A network with a batch, and the quantities computed from it.

    Weights, buffers, training mode, gradients and hooks of the network are restored when the ``with`` block ends. The
    network runs in training mode (batch statistics), its weights with gradients, whether frozen or not.

    What is found in the network does not depend on whether it is written with modules, functions or methods: the calls
    of PyTorch's functions are recorded while it runs.

    Args:
        model: maps `images` to logits.
        images: ``(b, ...)``, or tokens (integers) ``(b, t)``.
        labels: ``(b,)`` classes, or any labels that the loss takes; None for the classes in turn.
        loss: of logits and labels.
        needs: parts that must be prepared before the forward pass, see `Proxy.needs`.
        generator: for random inputs and weights.
        find: finds the logits in what the network returns.

    Attributes:
        codes: with "codes", the number of units with the same sign for each pair of images, over all nonlinearities,
            ``(b, b)``; None if the network has no nonlinearity.
        patterns: with "patterns", the different signs over the images that units of all nonlinearities have, ``(p,)``
            of packed bits; None if the network has no nonlinearity.
        output: name of the output that was taken for the logits, where the network returns several.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor | None,
        loss: Loss,
        needs: frozenset[str] = frozenset(),
        generator: torch.Generator | None = None,
        find: Logits | None = None,
    ):
        self.model, self.images, self.loss_function = model, images, loss
        self.needs, self.generator = needs, generator or torch.Generator().manual_seed(0)
        self.find = find or Logits()
        self.codes: Tensor | None = None
        self.patterns: NDArray[np.void] | None = None
        self.output = ""
        self._labels = labels

    # ---- restoring the network

    def __enter__(self) -> Pass:
        self._state = {name: tensor.detach().clone() for name, tensor in self._tensors().items()}
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
        for name in ("_forward", "loss", "_backward", "curvature", "jacobian", "labels"):
            self.__dict__.pop(name, None)

    def restore(self) -> None:
        """Restore weights and buffers."""
        with torch.no_grad():
            for name, tensor in self._tensors().items():
                tensor.copy_(self._state[name])

    def _tensors(self) -> dict[str, Tensor]:
        return {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}

    # ---- forward

    @cached_property
    def _forward(self) -> tuple[_Forward, Tensor, Tensor]:
        """What ran, the input and the logits of the forward pass."""
        images = self.images.detach()
        if images.is_floating_point():
            images = images.clone().requires_grad_(True)
        ran = _Forward(*(part in self.needs for part in ("codes", "activations", "patterns")))
        if "ranks" in self.needs:
            ran.ranks = Ranks(self.generator)
        blocks = Blocks(self.model, ran.channels) if "features" in self.needs else contextlib.nullcontext()
        # fused attention has no second derivative
        attention = sdpa_kernel(SDPBackend.MATH) if "second order" in self.needs else contextlib.nullcontext()
        with attention, blocks as kept:
            logits = self.run(images, ran)
        if kept is not None:
            ran.features = kept.features
        self.codes, self.patterns = ran.codes, ran.patterns
        return ran, images, logits

    def run(self, inputs: Tensor, ran: Layers) -> Tensor:
        """The logits of inputs; `ran` sees what runs."""
        if any(isinstance(module, torch.jit.ScriptModule) for module in self.model.modules()):
            raise Undefined("the layers of a scripted module cannot be seen; give the network before torch.jit.script")
        with ran:
            returned = self.model(inputs)
        self.output, logits = self.find.choose(returned)
        return logits

    @property
    def logits(self) -> Tensor:
        """Logits ``(b, classes)``, with the graph."""
        return self._forward[2]

    @property
    def weights(self) -> list[Tensor]:
        """Weights of the convolutions and linear layers that ran, each once.

        Raises:
            Undefined: there are none.
        """
        return trainable(self._forward[0].found)

    @cached_property
    def labels(self) -> Tensor:
        """Labels as given, or the classes in turn."""
        if self._labels is not None:
            return self._labels
        return _cyclic_labels(self.logits.shape).to(self.logits.device)

    @cached_property
    def loss(self) -> Tensor:
        """The batch's loss."""
        return self.loss_function(self.logits, self.labels)

    # ---- backward

    @property
    def _outputs(self) -> list[_Output]:
        ran = self._forward[0]
        if any(layer.weights and layer.channels is None for layer in ran.found):
            raise Undefined("the outputs of the layers within nn.MultiheadAttention or an einsum cannot be seen")
        return list(ran.outputs.values())

    @property
    def activations(self) -> list[Tensor]:
        """With "activations", outputs of the layers that ran, in order.

        Raises:
            Undefined: the output of a layer cannot be seen.
        """
        return [output.value for output in self._outputs]

    @property
    def channels(self) -> list[int]:
        """The channel dimension of each of :attr:`activations`: the last for linear layers, otherwise the second."""
        return [output.channels for output in self._outputs]

    @property
    def features(self) -> list[Feature]:
        """With "features", what passes between the blocks of the network, at least two.

        Raises:
            Undefined: there are fewer.
        """
        found = self._forward[0].features
        if len(found) < 2:
            raise Undefined("the network has no two blocks (modules made of others) whose outputs have places")
        return found

    @property
    def ranks(self) -> Ranks:
        """With "ranks", the effective ranks of outputs."""
        found = self._forward[0].ranks
        assert found is not None
        return found

    @cached_property
    def _backward(self) -> tuple[list[Tensor | None], list[Tensor | None]]:
        """Gradients of the loss for weights and for activations, by one backward pass."""
        loss, weights = self.loss, self.weights
        wanted: list[Any] = [*weights, *(output.edge for output in self._forward[0].outputs.values())]
        found = torch.autograd.grad(
            loss, wanted, create_graph="second order" in self.needs, retain_graph=True, allow_unused=True
        )
        return list(found[: len(weights)]), list(found[len(weights) :])

    @property
    def gradients(self) -> list[Tensor]:
        """Gradients of the layers' weights, zero for layers that the output does not depend on."""
        return [torch.zeros_like(w) if g is None else g for w, g in zip(self.weights, self._backward[0], strict=True)]

    @property
    def activation_gradients(self) -> list[Tensor]:
        """Gradients of :attr:`activations`."""
        values = self.activations
        return [torch.zeros_like(a) if g is None else g for a, g in zip(values, self._backward[1], strict=True)]

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
        _, images, logits = self._forward
        if not images.is_floating_point():
            raise Undefined("tokens have no gradient")
        (found,) = torch.autograd.grad(logits.sum(), images, retain_graph=True)
        return found.flatten(1)


class _Forward(Layers):
    """Layers, with the codes of nonlinearities and the layers' outputs if they are wanted.

    Attributes:
        codes, patterns: see :class:`Pass`.
        outputs: by layer, in the order of the runs.
        channels: the channel dimension of the last layer's output, by its number of dimensions.
        features: between the blocks, if they are wanted.
        ranks: of the outputs, if they are wanted.
    """

    def __init__(self, codes: bool, outputs: bool, patterns: bool):
        super().__init__()
        self._counts, self._keeps, self._tells = codes, outputs, patterns
        self.codes: Tensor | None = None
        self.patterns: NDArray[np.void] | None = None
        self.outputs: dict[Layer, _Output] = {}
        self.channels: dict[int, int] = {}
        self.features: list[Feature] = []
        self.ranks: Ranks | None = None

    def run(self, call: Call) -> Any:
        if (self._counts or self._tells) and _is_gate(call):
            on = (call.tensors[0].detach() > 0).flatten(1)
            if self._counts:
                self._count(on)
            if self._tells:
                self._tell(on)
        if self.outputs and (written := call.written) is not None:
            self._save(written)
        output = call.run()
        if self.ranks is not None:
            self.ranks.called(call, output)
        return output

    def ran(self, layer: Layer, output: Any) -> None:
        again = bool(self.found) and self.found[-1] is layer  # its bias, added in a call of its own
        super().ran(layer, output)
        if self.ranks is not None and not again:
            self.ranks.ran(layer, output)
        if layer.channels is not None:
            self.channels[output.ndim] = layer.channels
        trains = any(weight.requires_grad for weight in layer.weights)
        if self._keeps and trains and layer.channels is not None and output.requires_grad:
            self.outputs[layer] = _Output(output.detach(), get_gradient_edge(output), layer.channels)

    def _save(self, written: Tensor) -> None:
        """Copy the outputs that the next call is to overwrite."""
        place = written.untyped_storage().data_ptr()
        for output in self.outputs.values():
            if output.value.untyped_storage().data_ptr() == place:
                output.value = output.value.clone()

    def _tell(self, on: Tensor) -> None:
        packed = np.packbits(on.cpu().numpy().T, axis=1)  # a row of bits for each unit
        rows = np.ascontiguousarray(packed).view(np.dtype((np.void, packed.shape[1])))[:, 0]
        self.patterns = np.unique(rows if self.patterns is None else np.concatenate([self.patterns, rows]))

    def _count(self, signs: Tensor) -> None:
        with torch.no_grad():
            on = signs.float()
            agree = on @ on.T
            both = on.sum(dim=1)
            # agreements: both on, plus both off
            agree = (2.0 * agree + on.shape[1] - both[:, None] - both).double()
            self.codes = agree if self.codes is None else self.codes + agree


def _is_gate(call: Call) -> bool:
    if call.name in _CLAMPS:
        bound = call.get(_CLAMPS[call.name])
        if isinstance(bound, Tensor) or bound != 0:
            return False
    elif call.name not in GATES:
        return False
    return call.tensors[0].ndim > 1


def trainable(layers: list[Layer]) -> list[Tensor]:
    """Weights of runs of layers that gradients flow to, each once.

    Raises:
        Undefined: there are none.
    """
    found = {id(w): w for layer in layers for w in layer.weights if w.requires_grad}
    if not found:
        raise Undefined("no convolution or linear layer with weights ran")
    return list(found.values())


def _cyclic_labels(shape: torch.Size) -> Tensor:
    """Labels for logits of this shape, cycling through the classes."""
    classes = shape[-1] if len(shape) == 3 else shape[1]
    places = (shape[0], *(shape[1:-1] if len(shape) == 3 else shape[2:]))
    return (torch.arange(math.prod(places)) % classes).reshape(places)
