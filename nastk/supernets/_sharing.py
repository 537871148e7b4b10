"""One set of weights for all networks of a space, shared by what a module is called and what it is.

Each architecture's own network, as the space builds it, is run with slices of the shared weights in place of its own,
so that any space which builds networks has a supernet. Two networks share the weight of a name where the modules there
are of one kind:

- a convolution's kernel is the centre of the largest one (once-for-all: Cai et al., ICLR 2020, section 3.3), its
  channels the first ones (slimmable networks: Yu et al., ICLR 2019; BigNAS: Yu et al., ECCV 2020);
- the same for linear layers, embeddings and normalisation of layers;
- a shallower network has the first layers of a deeper one, as they are called the same; in a list (`nn.Sequential`)
  whose length is a choice a place says little, and layers are called by the choice that was made before them
  (:class:`_Names`);
- batch normalisation has parameters of its own for every width (Yu et al., 2019), its statistics none: they are those
  of the batch in training, and of some training images before a network is judged (:func:`recalibrate`);
- alternatives, modules of different kinds in one place, have their own weights.

What has several shapes and is none of these is not shared between shapes; :attr:`SharedWeights.unshared` names it.
"""

from __future__ import annotations

import json
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.module import register_module_parameter_registration_hook

from nastk.spaces._choices import building
from nastk.spaces._networks import blank_inputs, build_network, without_memory
from nastk.spaces.base import Archs, SearchSpace

Key = tuple[str, str]
"""Name of a weight in a network's state, and the kind of its module."""

CACHED = 64
"""Networks that are kept as they were built."""

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
SLICED = (nn.Linear, nn.LayerNorm, nn.Embedding)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def kind_of(module: nn.Module, positions: int = 1) -> str:
    """What two modules in the same place must have in common to share weights.

    Args:
        positions: of a linear layer, how many of its inputs are of one channel: a flattened map of 4 x 4 has 16. Maps
            of different sizes mean different things to each input.
    """
    name = type(module).__name__
    if isinstance(module, CONVOLUTIONS):
        depthwise = module.groups > 1 and module.groups == module.in_channels == module.out_channels
        return f"{name} depthwise" if depthwise else f"{name} of {module.groups} groups"
    if isinstance(module, nn.Linear):
        return name if positions == 1 else f"{name} of maps of {positions}"
    if isinstance(module, BATCH_NORMS):
        return f"{name} of {module.num_features}"
    if isinstance(module, SLICED):
        return name
    shapes = {n: tuple(p.shape) for n, p in module.named_parameters(recurse=False)}
    return f"{name} {shapes}"


def slices(shared: Sequence[int], own: Sequence[int], kernel: bool) -> tuple[slice, ...]:
    """Where the weight of shape `own` lies in one of shape `shared`: first channels, and the centre of kernels."""
    places = []
    for axis, (all_of, some) in enumerate(zip(shared, own, strict=True)):
        start = (all_of - some) // 2 if kernel and axis >= 2 else 0
        places.append(slice(start, start + some))
    return tuple(places)


class _Names:
    """What the parameters of a network are called while it is built: by the choices of `nastk.choice` before them.

    ``layers += [nn.Conv2d(...), act()]`` in a loop puts a layer of the second stage in another place of the list for
    every depth of the first one. A parameter whose module has a number for a name is therefore called by the last
    choice that was made before it (its name, and which call of it), and by its place among those that came since.
    """

    def __init__(self) -> None:
        self._since: Counter[tuple[str, int]] = Counter()
        self._found: dict[int, str] = {}
        self._kept: list[nn.Parameter] = []  # whose number must not become another's

    def __enter__(self) -> _Names:
        self._handle = register_module_parameter_registration_hook(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.remove()

    def _note(self, module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        build = building.get()
        if build is None or not build.calls or parameter is None:
            return
        last = build.calls[-1], build.calls.count(build.calls[-1])
        self._found[id(parameter)] = f"{last[0]} ({last[1]}), {self._since[last]}.{name}"
        self._kept.append(parameter)
        self._since[last] += 1

    def of(self, path: str, parameter: nn.Parameter) -> str:
        """What a parameter is called; `path` is its name in the network's state."""
        numbered = any(part.isdigit() for part in path.split("."))
        return self._found.get(id(parameter), path) if numbered else path


class SharedWeights(nn.Module):
    """The weights of all networks of a space.

    They grow where a network needs more than those before it; its own initial weights then fill the new part.

    Args:
        space: builds its networks.
        seed: random seed of initial weights.
        device: that holds them.
        build_options: of `SearchSpace.build`.

    Attributes:
        grown: called with a parameter and whether it is new; else it has another shape (optimisers keep states).
        unshared: names of weights of which networks have several shapes that are not shared.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        device: str | torch.device = "cpu",
        **build_options: Any,
    ):
        super().__init__()
        space.need_networks("a supernet")
        self.space, self.seed, self.device, self.build_options = space, seed, torch.device(device), build_options
        self.weights = nn.ParameterList()
        self._places: dict[Key, int] = {}
        self._networks: OrderedDict[bytes, tuple[nn.Module, dict[str, tuple[int, tuple[slice, ...]]]]] = OrderedDict()
        self._shapes: dict[str, set[tuple[str, tuple[int, ...]]]] = {}
        self.grown: Callable[[nn.Parameter, bool], None] | None = None

    # ---- networks

    def network(self, arch: Archs) -> nn.Module:
        """The network of an architecture ``(d,)`` whose own weights are not used; see :meth:`forward`."""
        return self._look_up(arch)[0]

    def outline(self, arch: Archs) -> nn.Module:
        """A network without weights where it can be built so, to be looked at: nothing is registered of it."""
        with torch.random.fork_rng(devices=[]):
            return without_memory(lambda: self.space.build(arch, **self.build_options))

    def forward(self, x: Tensor, arch: Archs) -> Any:
        network, where = self._look_up(arch)
        return functional_call(network, self._own(where), (x,))

    def call(self, module: nn.Module, prefix: str, arch: Archs, x: Tensor) -> Any:
        """Run one module of a network, called `prefix` there, with the shared weights."""
        _, where = self._look_up(arch)
        mine = {name[len(prefix) + 1 :]: place for name, place in where.items() if name.startswith(f"{prefix}.")}
        return functional_call(module, self._own(mine), (x,))

    def own_weights(self, arch: Archs) -> dict[str, Tensor]:
        """The parameters of one network, ``(d,)``, by their names there; views of the shared ones."""
        return self._own(self._look_up(arch)[1])

    def parameters_of(self, arch: Archs) -> dict[str, nn.Parameter]:
        """The shared parameters of which one network has slices, by their names there."""
        return {name: self.weights[place] for name, (place, _) in self._look_up(arch)[1].items()}

    @torch.no_grad()
    def materialise(self, arch: Archs) -> nn.Module:
        """A network of its own with a copy of its shared weights."""
        network, _ = self._build(arch)
        for name, value in self.own_weights(arch).items():
            network.get_parameter(name).copy_(value)
        return network

    def _own(self, where: dict[str, tuple[int, tuple[slice, ...]]]) -> dict[str, Tensor]:
        return {name: self.weights[place][part] for name, (place, part) in where.items()}

    def _build(self, arch: Archs) -> tuple[nn.Module, dict[str, str]]:
        """A network, and what its parameters are called among the shared ones."""
        with torch.random.fork_rng(devices=[]), _Names() as names:
            torch.manual_seed(self.seed)
            network = build_network(self.space, arch, **self.build_options)
            called = {path: names.of(path, parameter) for path, parameter in network.named_parameters()}
        return network.to(self.device), called

    def _look_up(self, arch: Archs) -> tuple[nn.Module, dict[str, tuple[int, tuple[slice, ...]]]]:
        key = self.space.as_archs(arch)[0].tobytes()
        if key not in self._networks:
            network, called = self._build(arch)
            self._networks[key] = network, self._register(network, called)
            if len(self._networks) > CACHED:
                self._networks.popitem(last=False)
        self._networks.move_to_end(key)
        network, where = self._networks[key]
        return network, where

    # ---- what is shared

    def _register(self, network: nn.Module, called: dict[str, str]) -> dict[str, tuple[int, tuple[slice, ...]]]:
        """Where each parameter of a network lies in the shared weights, which grow by what they lack."""
        positions = self._positions(network)
        where = {}
        for path, module in network.named_modules():
            kind = kind_of(module, positions.get(path, 1))
            kernel = isinstance(module, CONVOLUTIONS)
            for name, parameter in module.named_parameters(recurse=False):
                full = f"{path}.{name}" if path else name
                place = self._place(called[full], kind, parameter.detach(), kernel)
                where[full] = place, slices(self.weights[place].shape, parameter.shape, kernel)
        return where

    def _place(self, name: str, kind: str, own: Tensor, kernel: bool) -> int:
        self._shapes.setdefault(name, set()).add((kind, tuple(own.shape)))
        key = (name, kind)
        if key not in self._places:
            self._places[key] = len(self.weights)
            self.weights.append(nn.Parameter(own.clone()))
            if self.grown is not None:
                self.grown(self.weights[-1], True)
            return self._places[key]
        place = self._places[key]
        shared = self.weights[place]
        wanted = torch.Size(max(a, b) for a, b in zip(shared.shape, own.shape, strict=True))
        if wanted != shared.shape:
            self._grow(shared, own, wanted, kernel)
        return place

    @torch.no_grad()
    def _grow(self, shared: nn.Parameter, own: Tensor, wanted: torch.Size, kernel: bool) -> None:
        """Enlarge a weight in place; networks that were built before lie elsewhere in it now."""
        # values of the network that needs more, and around them (where it is smaller in another axis) its own spread
        fresh = torch.empty(wanted, device=shared.device, dtype=shared.dtype)
        if own.std(unbiased=False) > 0:
            fresh.normal_(float(own.mean()), float(own.std(unbiased=False)))
        else:
            fresh.fill_(float(own.flatten()[0]))
        fresh[slices(wanted, own.shape, kernel)] = own
        fresh[slices(wanted, shared.shape, kernel)] = shared
        shared.data = fresh
        self._networks.clear()
        if self.grown is not None:
            self.grown(shared, False)

    def _positions(self, network: nn.Module) -> dict[str, int]:
        """Of each linear layer, how many inputs belong to one channel of the map that was flattened; by running the
        network, so that one which cannot be run fails here."""
        found: dict[str, int] = {}
        last: list[int] = [0]
        names = {module: name for name, module in network.named_modules()}

        def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if isinstance(module, CONVOLUTIONS):
                last[0] = module.out_channels
            elif isinstance(module, nn.Linear) and last[0] and module.in_features % last[0] == 0:
                found[names[module]] = module.in_features // last[0]
            if isinstance(module, nn.Linear):
                last[0] = 0  # what comes next is of its features, not of a map

        handles = [
            m.register_forward_hook(note) for m in network.modules() if isinstance(m, (*CONVOLUTIONS, nn.Linear))
        ]
        mode = network.training
        try:
            network.eval()
            with torch.no_grad():
                network(blank_inputs(self.space, 1, **self.build_options).to(self.device))
        finally:
            network.train(mode)
            for handle in handles:
                handle.remove()
        return found

    # ---- on disk

    def kept(self) -> dict[str, Tensor]:
        """All weights, by name and kind of module as JSON; :meth:`restore` takes them back."""
        names = {place: key for key, place in self._places.items()}
        return {json.dumps([place, *names[place]]): w.detach() for place, w in enumerate(self.weights)}

    def restore(self, kept: Mapping[str, Tensor]) -> None:
        """Take weights as :meth:`kept` gives them, in place of all that there are.

        Raises:
            ValueError: they are none.
        """
        places: dict[Key, int] = {}
        weights: dict[int, Tensor] = {}
        for text, value in kept.items():
            place, name, kind = json.loads(text)
            places[str(name), str(kind)] = place
            weights[place] = value
        if sorted(weights) != list(range(len(kept))) or len(places) != len(kept):
            raise ValueError("these are no shared weights")
        self._networks.clear()
        self._places = places
        self.weights = nn.ParameterList([nn.Parameter(weights[i].to(self.device).clone()) for i in range(len(kept))])
        self._shapes = {}
        for (name, kind), place in places.items():
            self._shapes.setdefault(name, set()).add((kind, tuple(self.weights[place].shape)))

    @property
    def unshared(self) -> list[str]:
        """Weights that have several kinds of modules in one place, or shapes that are no part of one another."""
        return sorted(name for name, kinds in self._shapes.items() if len({kind for kind, _ in kinds}) > 1)


def recalibrate(network: nn.Module, batches: Sequence[Tensor]) -> None:
    """Give batch normalisation the statistics of some training images, and leave the network in evaluation mode.

    Without it the running statistics are those of all paths that were trained, and rank noise.

    Args:
        batches: images, ``(b, ...)`` each.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    network.eval()
    if not norms:
        return
    before = [m.momentum for m in norms]
    for m in norms:
        m.reset_running_stats()
        m.momentum = None  # the mean over the batches
        m.train()
    try:
        with torch.no_grad():
            for x in batches:
                network(x)
    finally:
        for m, momentum in zip(norms, before, strict=True):
            m.momentum = momentum
            m.eval()
