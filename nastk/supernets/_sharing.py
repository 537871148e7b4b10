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
  of the batch in training, and of some training images before a network is judged
  (:func:`nastk.spaces._networks.recalibrate`);
- alternatives, modules of different kinds in one place, have their own weights.

What has several shapes and is none of these is not shared between shapes; :attr:`SharedWeights.unshared` names it.
A space's own networks say with an attribute `shared_as` of a module what its weights are called, where its place in
the network differs between architectures. With a true attribute `shared_by_group` of a convolution in groups they say
that wider networks have more of the same groups: a network then has the first groups of a wider one. Else convolutions
with the same number of groups share, the first channels of each.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import CodeType, FrameType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.module import register_module_parameter_registration_hook

from nastk.spaces._choices import Build, building
from nastk.spaces._networks import blank_inputs, build_network, without_memory
from nastk.spaces.base import Archs, SearchSpace

Key = tuple[str, str]
"""Name of a weight in a network's state, and the kind of its module."""

CACHED = 64
"""Networks that are kept as they were built."""

_TRANSFORM = " transformed to "
"""In the kind of what a kernel is multiplied by, before its size."""

_PART = re.compile(r"part (\S+): ")
"""What the names of the weights of a part begin with."""

NAMED = 3
"""Places that the summary of what is not shared gives by name; of others their number."""

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
SLICED = (nn.Linear, nn.LayerNorm, nn.Embedding)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class Slice(NamedTuple):
    """Where a network's parameter lies.

    Args:
        place: of the shared weight.
        part: of that weight.
        transform: place of the matrix that its kernel is multiplied by; None where it is taken as it is.
    """

    place: int
    part: tuple[slice, ...]
    transform: int | None = None


def kind_of(module: nn.Module, positions: int = 1) -> str:
    """What two modules in the same place must have in common to share weights.

    Args:
        positions: of a linear layer, how many of its inputs are of one channel: a flattened map of 4 x 4 has 16. Maps
            of different sizes mean different things to each input.
    """
    name = type(module).__name__
    if isinstance(module, CONVOLUTIONS):
        if module.groups > 1 and module.groups == module.in_channels == module.out_channels:
            return f"{name} depthwise"
        if module.groups > 1 and getattr(module, "shared_by_group", False):
            return (
                f"{name} of groups of {module.in_channels // module.groups} to {module.out_channels // module.groups}"
            )
        return f"{name} of {module.groups} groups"
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

    What a function or class creates that is itself the option of a choice is called by that option too: a convolution
    of 3 x 3 and one of 5 x 5 that are two operations to choose from are alternatives, and no elastic kernel.
    """

    def __init__(self) -> None:
        self._since: Counter[tuple[str, int, str]] = Counter()
        self._found: dict[int, str] = {}
        self._alternative: dict[int, str] = {}
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
        last, alternative = build.calls[-1], "".join(f"\n{label}" for label in _alternatives(build))
        # what an alternative creates is counted apart: it must not move what is created after it
        counted = last, build.calls.count(last), alternative
        self._found[id(parameter)] = f"{last} ({counted[1]}), {self._since[counted]}.{name}"
        self._alternative[id(parameter)] = alternative
        self._kept.append(parameter)
        self._since[counted] += 1

    def of(self, path: str, parameter: nn.Parameter) -> str:
        """What a parameter is called; `path` is its name in the network's state. Alternatives are lines of their own,
        as no name has several."""
        numbered = any(part.isdigit() for part in path.split("."))
        called = self._found.get(id(parameter), path) if numbered else path
        return called + self._alternative.get(id(parameter), "")


def _alternatives(build: Build) -> list[str]:
    """The options, functions or classes, of choices made before that are being called now, the innermost first."""
    options = [(build.label(name), _Option(build.values[name])) for name in reversed(build.calls)]
    found = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and options:
        mine = [(label, option) for label, option in options if option.code is frame.f_code]
        if mine:
            found.append(next((label for label, option in mine if option.has_arguments_of(frame)), mine[0][0]))
            options = [pair for pair in options if pair not in mine]
        frame = frame.f_back
    return found


def stated(network: nn.Module) -> dict[str, str]:
    """What the space's own network says that parameters are called, by their names in its state."""
    named = {path: str(module.shared_as) for path, module in network.named_modules() if hasattr(module, "shared_as")}
    found = {}
    for path, _ in network.named_parameters():
        owner = next((owner for owner in named if path.startswith(f"{owner}.")), None)
        if owner is not None:
            found[path] = named[owner] + path[len(owner) :]
    return found


class _Option:
    """An option of a choice as something that can be called; `code` is None where it is nothing of that kind."""

    def __init__(self, option: Any):
        self._args: tuple[Any, ...] = ()
        self._keywords: dict[str, Any] = {}
        while isinstance(option, partial):
            self._args, self._keywords = option.args + self._args, {**option.keywords, **self._keywords}
            option = option.func
        function = getattr(option, "__init__", None) if isinstance(option, type) else option
        self.code: CodeType | None = getattr(function, "__code__", None)
        self._first = 1 if isinstance(option, type) or hasattr(option, "__self__") else 0  # behind `self`

    def has_arguments_of(self, frame: FrameType) -> bool:
        """Whether it is this option that is called, and no other of the same function with other bound arguments."""
        names = frame.f_code.co_varnames[self._first :]
        bound = {**dict(zip(names, self._args, strict=False)), **self._keywords}
        return all(name in frame.f_locals and frame.f_locals[name] is value for name, value in bound.items())


class SharedWeights(nn.Module):
    """The weights of all networks of a space.

    They grow where a network needs more than those before it; its own initial weights then fill the new part.

    Args:
        space: builds its networks.
        seed: random seed of initial weights.
        device: that holds them.
        kernel_transforms: multiply a kernel that is smaller than the largest one by a learned matrix, of its place and
            size, at first the identity (once-for-all, section 3.3). There a kernel of 3 is made of the transformed one
            of 5; here each size is made of the largest one's centre, so that a size met late changes no other.
        build_options: of `SearchSpace.build`.

    Attributes:
        grown: called with a parameter and whether it is new; else it has another shape (optimisers keep states).
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        device: str | torch.device = "cpu",
        kernel_transforms: bool = False,
        **build_options: Any,
    ):
        super().__init__()
        space.need_networks("a supernet")
        self.space, self.seed, self.device, self.build_options = space, seed, torch.device(device), build_options
        self.kernel_transforms = kernel_transforms
        self.weights = nn.ParameterList()
        self._part_of: Callable[[Archs], str] = _undivided
        self._places: dict[Key, int] = {}
        self._networks: OrderedDict[bytes, tuple[nn.Module, dict[str, Slice]]] = OrderedDict()
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
        return self.call_with(module, self.places_of(prefix, arch), x)

    def places_of(self, prefix: str, arch: Archs) -> dict[str, Slice]:
        """Which shared weights the module called `prefix` of a network uses, until some network makes them grow."""
        _, where = self._look_up(arch)
        return {name[len(prefix) + 1 :]: at for name, at in where.items() if name.startswith(f"{prefix}.")}

    def call_with(self, module: nn.Module, places: Mapping[str, Slice], x: Tensor) -> Any:
        """Run a module with shared weights; see :meth:`places_of`."""
        return functional_call(module, self._own(places), (x,))

    def own_weights(self, arch: Archs) -> dict[str, Tensor]:
        """The parameters of one network, ``(d,)``, by their names there; views of the shared ones."""
        return self._own(self._look_up(arch)[1])

    def parameters_of(self, arch: Archs) -> dict[str, nn.Parameter]:
        """The shared parameters of which one network has slices, by their names there."""
        return {name: self.weights[where.place] for name, where in self._look_up(arch)[1].items()}

    @torch.no_grad()
    def materialise(self, arch: Archs) -> nn.Module:
        """A network of its own with a copy of its shared weights."""
        network, _ = self._build(arch)
        for name, value in self.own_weights(arch).items():
            network.get_parameter(name).copy_(value)
        return network

    def split(self, part_of: Callable[[Archs], str]) -> None:
        """Share weights only within parts of the space from now on.

        Args:
            part_of: the part of an architecture ``(d,)``, such as "1/0": a part begins with the weights of the one
                before its last slash, here "1", where there are some.
        """
        self._part_of = part_of
        self._networks.clear()

    @property
    def parts(self) -> list[str]:
        """The parts of the space, since :meth:`split`, that have weights of their own."""
        found = (_PART.match(name) for name, _ in self._places)
        return sorted({match.group(1) for match in found if match})

    def layout(self, arch: Archs) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Kinds and shapes of a network's parameters, by what they are called among the shared ones."""
        network, called = self._build(arch)
        return {
            called[f"{path}.{name}" if path else name]: (kind_of(module), tuple(parameter.shape))
            for path, module in network.named_modules()
            for name, parameter in module.named_parameters(recurse=False)
        }

    def _own(self, where: Mapping[str, Slice]) -> dict[str, Tensor]:
        return {name: self._sliced(at) for name, at in where.items()}

    def _sliced(self, at: Slice) -> Tensor:
        found: Tensor = self.weights[at.place][at.part]
        if at.transform is None:
            return found
        return (found.flatten(2) @ self.weights[at.transform].T).reshape(found.shape)

    def _build(self, arch: Archs) -> tuple[nn.Module, dict[str, str]]:
        """A network, and what its parameters are called among the shared ones."""
        with torch.random.fork_rng(devices=[]), _Names() as names:
            torch.manual_seed(self.seed)
            network = build_network(self.space, arch, **self.build_options)
            called = {path: names.of(path, parameter) for path, parameter in network.named_parameters()}
        return network.to(self.device), called | stated(network)

    def _look_up(self, arch: Archs) -> tuple[nn.Module, dict[str, Slice]]:
        key = self.space.as_archs(arch)[0].tobytes()
        if key not in self._networks:
            network, called = self._build(arch)
            self._networks[key] = network, self._register(network, called, self._part_of(arch))
            if len(self._networks) > CACHED:
                self._networks.popitem(last=False)
        self._networks.move_to_end(key)
        network, where = self._networks[key]
        return network, where

    # ---- what is shared

    def _register(self, network: nn.Module, called: dict[str, str], part: str) -> dict[str, Slice]:
        """Where each parameter of a network lies in the shared weights, which grow by what they lack."""
        positions = self._positions(network)
        where = {}
        for path, module in network.named_modules():
            kind = kind_of(module, positions.get(path, 1))
            kernel = isinstance(module, CONVOLUTIONS)
            for name, parameter in module.named_parameters(recurse=False):
                full = f"{path}.{name}" if path else name
                self._note(called[full], kind, parameter.shape)
                place = self._place(called[full], kind, part, parameter.detach(), kernel)
                shape = self.weights[place].shape
                smaller = self.kernel_transforms and kernel and shape[2:] != parameter.shape[2:]
                transform = self._transform(called[full], kind, part, parameter.shape[2:]) if smaller else None
                where[full] = Slice(place, slices(shape, parameter.shape, kernel), transform)
        return where

    def _note(self, name: str, kind: str, shape: torch.Size) -> None:
        """Remember what there is in a place, to tell what is not shared."""
        called, _, alternative = name.partition("\n")
        self._shapes.setdefault(called, set()).add((f"{alternative}: {kind}" if alternative else kind, tuple(shape)))

    def _place(self, name: str, kind: str, part: str, own: Tensor, kernel: bool) -> int:
        place = self._find(name, kind, part, own)
        shared = self.weights[place]
        wanted = torch.Size(max(a, b) for a, b in zip(shared.shape, own.shape, strict=True))
        if wanted != shared.shape:
            self._grow(shared, own, wanted, kernel)
        return place

    def _transform(self, name: str, kind: str, part: str, size: torch.Size) -> int:
        """The place of the matrix for kernels of this size."""
        return self._find(name, f"{kind}{_TRANSFORM}{tuple(size)}", part, torch.eye(size.numel(), device=self.device))

    def _find(self, name: str, kind: str, part: str, initial: Tensor) -> int:
        """The place of a weight of a part; a new one is what the part before has, or else `initial`."""
        key = _key(name, kind, part)
        if key not in self._places:
            known = next((k for above in _above(part) if (k := _key(name, kind, above)) in self._places), None)
            value = initial if known is None else self.weights[self._places[known]].detach()
            self._places[key] = len(self.weights)
            self.weights.append(nn.Parameter(value.clone()))
            if self.grown is not None:
                self.grown(self.weights[-1], True)
        return self._places[key]

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
            if _TRANSFORM not in kind:
                self._note(_PART.sub("", name, count=1), kind, self.weights[place].shape)

    @property
    def unshared(self) -> list[str]:
        """Names of weights of which the networks so far have several kinds, or shapes that are no part of one
        another."""
        return sorted(name for name, kinds in self._shapes.items() if len({kind for kind, _ in kinds}) > 1)

    @property
    def unshared_summary(self) -> str:
        """In one line, what the networks so far do not share."""
        norms: set[str] = set()
        others: dict[str, set[str]] = {}
        for name in self.unshared:
            kinds = {kind for kind, _ in self._shapes[name]}
            module = name.rpartition(".")[0] or name
            if all(kind.startswith("BatchNorm") for kind in kinds):
                norms.add(module)
            else:
                # of a name that was given by a choice, the choice
                others.setdefault(module.split(" (")[0], set()).update(kinds)
        said = []
        if others:
            named = [f"{place} ({' or '.join(sorted(kinds))})" for place, kinds in list(others.items())[:NAMED]]
            more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
            said.append(f"alternatives have their own weights in {', '.join(named)}{more}")
        if norms:
            said.append(f"{len(norms)} batch normalisations have their own for each width")
        return "; ".join(said) if said else "all weights of one name are shared"


def _undivided(arch: Archs) -> str:
    return ""


def _key(name: str, kind: str, part: str) -> Key:
    return (f"part {part}: {name}" if part else name), kind


def _above(part: str) -> list[str]:
    """The parts that a part was split from, the nearest first; at last the whole space, ""."""
    found = []
    while part:
        part = part.rpartition("/")[0]
        found.append(part)
    return found
