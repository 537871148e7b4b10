"""few-shot: one supernet split into several, each for a part of the space, at the cost of one.

Zhao et al., Few-shot neural architecture search (ICML 2021, arXiv 2006.06863): networks that disagree on their shared
weights are better given weights of their own. Which networks go together:

- ``nonlinear`` (Oh, Lee and Ham, Efficient few-shot neural architecture search by counting the number of nonlinear
  functions, AAAI 2025, arXiv 2412.14678): networks with as many nonlinear functions. They are counted by running a
  network; numbers that are neighbours are joined into parts of about equal probability. All parts are trained evenly:
  there several at each step (supernet-balanced sampling), here in turn. There supernets have fewer channels, here all.
- ``edges`` (HEP-NAS: Li et al., AAAI 2025, arXiv 2412.10723): the choices of one hierarchy (edges that end in one node;
  here also the choices of one stage) are split together, the part with the lowest loss is split by the next hierarchy,
  and the parts teach each other. Of the paper only the abstract was known. Here the options of a choice are halved in
  their order, and a part learns from the mean prediction of those that had the same images before it. Parts that are
  not split further keep their weights, so that they still rate their networks.
- ``gradient`` (GM-NAS: Hu et al., Generalizing few-shot NAS with gradient matching, ICLR 2022, arXiv 2203.15207,
  section 3): the options of a choice are cut in two where the gradients that they give to the shared weights agree
  least, by cosine similarity; the choices with the worst cuts are split. Song et al. (Towards efficient few-shot graph
  NAS via partitioning gradient contribution, KDD 2025, arXiv 2506.01231) take the same similarities out of a single
  backward pass in which all alternatives run at once; here one network runs at a time, so that theirs is not possible.
  Unlike GM-NAS, all choices are compared once, after the warm-up, and parts go on with the weights of the warm-up.

A network's pass counts the same wherever it is made: the steps of all parts, of the warm-up and of the comparison of
gradients add up to `steps`, as many passes as single-path has. Counting nonlinear functions costs a network built and
run without gradients for each that is drawn, more than one a step where a part is rare.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from nastk.errors import InvalidValue, NastkError, Unsupported
from nastk.evaluation import reason_of
from nastk.spaces._networks import blank_inputs, build_network
from nastk.spaces.base import Archs, SearchSpace
from nastk.supernets.base import MOST_TRIES, PathSupernet

SPLITS = ("nonlinear", "edges", "gradient")

NONLINEAR = {
    "relu", "leaky_relu", "rrelu_with_noise", "_prelu_kernel", "elu", "celu", "gelu", "silu", "mish", "softplus",
    "hardtanh", "hardswish", "hardsigmoid", "sigmoid", "log_sigmoid_forward", "tanh", "softshrink", "hardshrink",
    "threshold",
}  # fmt: skip
"""PyTorch's operators that count as nonlinear functions, in place (``relu_``) or not."""

COUNTED = 60
"""Networks whose nonlinear functions are counted before the space is split by their number."""

JUDGED_PATHS = 3
"""Networks that rate a part of the space when the best one is split further."""

ROUNDS = 3
"""Hierarchies of a space whose choices name no groups: as many choices in each, in their order."""


@dataclass(frozen=True)
class Cuts:
    """A part of the space, split by several choices at once.

    A part is called by the options that it has, "0=1,2+3=0", behind the name of the part that was split: weights that
    were read from a file say how the space was split.

    Args:
        of: the part; "" for the space.
        halves: by choice, its options in two groups.
    """

    of: str
    halves: Mapping[int, tuple[frozenset[int], frozenset[int]]]

    @classmethod
    def by_name(cls, part: str, sizes: Sequence[int]) -> Cuts:
        """The cuts that made a part."""
        of, _, last = part.rpartition("/")
        halves = {}
        for entry in last.split("+"):
            choice, _, options = entry.partition("=")
            mine = frozenset(map(int, options.split(",")))
            rest = frozenset(range(sizes[int(choice)])) - mine
            halves[int(choice)] = (mine, rest) if min(mine) < min(rest) else (rest, mine)
        return cls(of, halves)

    @property
    def parts(self) -> list[str]:
        return [self._called(chosen) for chosen in product(*self.halves.values())]

    def part(self, arch: Archs) -> str:
        """The part that an architecture ``(d,)`` is in."""
        return self._called([next(h for h in halves if int(arch[c]) in h) for c, halves in self.halves.items()])

    def moved(self, arch: Archs, part: str, generator: np.random.Generator) -> Archs:
        """The architecture, with random options of the part where its own are of another."""
        found, chosen = arch.copy(), list(product(*self.halves.values()))[self.parts.index(part)]
        for choice, allowed in zip(self.halves, chosen, strict=True):
            if int(found[choice]) not in allowed:
                found[choice] = generator.choice(sorted(allowed))
        return found

    def _called(self, chosen: Sequence[frozenset[int]]) -> str:
        named = (f"{c}={','.join(map(str, sorted(options)))}" for c, options in zip(self.halves, chosen, strict=True))
        return (f"{self.of}/" if self.of else "") + "+".join(named)


class FewShot(PathSupernet):
    """Several supernets of parts of the space.

    Args:
        split: ``nonlinear``, ``edges`` or ``gradient``; see the top of this file.
        parts: number of supernets at a time; a power of 2 unless split by nonlinear functions, which may have fewer.
        warm_up: share of the steps for one supernet of the whole space, before it is split; not for ``nonlinear``.
        distil: weight of the parts' predictions for each other, beside the labels; for ``edges``.
        contexts: networks in which the options of a choice are compared; for ``gradient``.
        options: see :class:`nastk.supernets.base.PathSupernet`.

    Attributes:
        said: in one line, how the space is split; after `fit`.
    """

    name = "few-shot"

    def __init__(
        self,
        split: str = "nonlinear",
        parts: int = 4,
        warm_up: float = 0.3,
        distil: float = 0.5,
        contexts: int = 2,
        **options: Any,
    ):
        super().__init__(**options)
        if split not in SPLITS:
            raise InvalidValue(f"split is one of {', '.join(SPLITS)}; got {split!r}")
        if parts < 2 or (split != "nonlinear" and parts & (parts - 1)):
            raise InvalidValue(f"parts is at least 2, and a power of 2 where choices are halved; got {parts}")
        if not 0 < warm_up < 1 or distil < 0 or contexts < 1:
            raise InvalidValue(
                f"warm_up is a share between 0 and 1, distil at least 0, contexts at least 1; got {warm_up}, {distil} "
                f"and {contexts}"
            )
        self.split, self.parts, self.warm_up, self.distil, self.contexts = split, parts, warm_up, distil, contexts

    def _begin(self) -> None:
        self._cuts: list[Cuts] = []
        self._live: list[str] = [""]
        self._waiting: dict[str, deque[Archs]] = {}
        self._spent = 0  # passes that the comparison of gradients has had
        self._same: tuple[Tensor, Tensor] | None = None  # images that parts see one after another, and what they said
        self._answers: list[Tensor] = []
        self._turn = 0
        self._hierarchies = hierarchies(self.space)
        self._splits = self._planned()
        if self.split == "nonlinear":
            self._split_by_nonlinear_functions()
        self._recognise()

    def _position(self) -> dict[str, Any]:
        return {
            "cuts": [cuts.parts[0] for cuts in self._cuts], "turn": self._turn, "spent": self._spent,
            "waiting": {part: np.array(archs).tolist() for part, archs in self._waiting.items()},
            "same": self._same, "answers": self._answers,
        }  # fmt: skip

    def _take_position(self, position: Mapping[str, Any]) -> None:
        for part in position["cuts"]:
            self._into(Cuts.by_name(part, self.space.sizes.tolist()))
        self._turn, self._spent = position["turn"], position["spent"]
        self._waiting = {
            part: deque(np.array(arch, dtype=np.int64) for arch in archs) for part, archs in position["waiting"].items()
        }
        self._same, self._answers = position["same"], position["answers"]

    def _recognise(self) -> None:
        """Take up a split that the weights of a file have been through."""
        named = [part for part in self.shared.parts if re.fullmatch(r"(\d+=[\d,]+[+/]?)+", part)]
        cuts = {one.parts[0]: one for one in (Cuts.by_name(part, self.space.sizes.tolist()) for part in named)}
        for one in sorted(cuts.values(), key=lambda one: one.of.count("/") + bool(one.of)):
            self._into(one)

    def _planned(self) -> list[int]:
        """The steps at which the space is split."""
        if self.split == "nonlinear":
            return []
        first = round(self.warm_up * self.steps)
        left = self.steps - first
        if self.split == "gradient":
            compared = self.contexts * sum(size for size in self.space.sizes if size > 1)
            if 2 * compared > left:
                raise InvalidValue(
                    f"comparing the gradients of all options takes {compared} passes, more than half of the {left} "
                    f"steps after the warm-up: give {'fewer contexts or ' if self.contexts > 1 else ''}more steps"
                )
            return [first]
        rounds = len(self._hierarchies)
        if left < rounds * self.parts:
            raise InvalidValue(
                f"{self.steps} steps are too few: {left} after the warm-up, for {self.parts} parts of each of {rounds} "
                "hierarchies"
            )
        return [first + i * left // rounds for i in range(rounds)]

    def _train(self, images: Tensor, labels: Tensor, step: int) -> None:
        if step in self._splits:
            if self.split == "gradient":
                self._split_by_gradients(images, labels)
            else:
                self._split_by_edges(self._hierarchies[self._splits.index(step)])
            self._turn = 0
        if self._spent:
            self._spent -= 1
            return
        places, count = self._turn, len(self._live)
        self._turn += 1
        if self.split == "edges" and count > 1:
            if places % count == 0:
                self._same, self._answers = (images, labels), []
            # who is first, and learns from the labels alone, changes from round to round
            self._train_beside(self._live[(places // count + places) % count])
        else:
            arch = self._next(self._live[places % count])
            self.problem.loss(self._logits(images, arch), labels).backward()

    def _train_beside(self, part: str) -> None:
        """One path of a part, which learns from those that answered on these images before it."""
        assert self._same is not None
        images, labels = self._same
        logits = self._logits(images, self._next(part))
        loss = self.problem.loss(logits, labels)
        if self._answers and self.distil:
            loss = loss + self.distil * self.problem.distilled(logits, self.problem.mean_of(self._answers))
        loss.backward()
        self._answers.append(self.problem.soften(logits))

    # ---- parts of the space

    def part_of(self, arch: Archs) -> str:
        """The part of the space that an architecture ``(d,)`` is in: "1", or "1/0" for a part of "1"."""
        if self.split == "nonlinear":
            return str(int(np.searchsorted(self._bounds, self._nonlinear(arch))))
        part = ""
        row = self.space.canonical(arch[None])[0]
        for cuts in self._cuts:
            if cuts.of != part:
                break
            part = cuts.part(row)
        return part

    def _next(self, part: str) -> Archs:
        """A random architecture ``(d,)`` of a part; those of others that are drawn before it wait for their turn."""
        for _ in range(MOST_TRIES):
            waiting = self._waiting.setdefault(part, deque())
            if waiting:
                return waiting.popleft()
            if self.split == "nonlinear":  # counted before the shared weights have its network
                drawn = self.space.sample(1, self._generator)
                if not self._numbers_of(drawn):
                    continue
            else:
                drawn = self._sample(1, lambda row: self._moved(row, part))
            self._waiting.setdefault(self.part_of(drawn[0]), deque()).append(drawn[0])
        raise NastkError(f"none of {MOST_TRIES} networks of {self.space.name} in a row was of part {part}")

    def _moved(self, arch: Archs, part: str) -> Archs:
        for depth, cuts in enumerate(self._cuts):
            mine = "/".join(part.split("/")[: depth + 1])
            if mine in cuts.parts:
                arch = cuts.moved(arch, mine, self._generator)
        return arch

    def _into(self, cuts: Cuts) -> None:
        """Train the parts of a part from now on, and nothing else."""
        self._cuts.append(cuts)
        self._waiting.clear()
        self.shared.split(self.part_of)
        self._live = cuts.parts

    @property
    def said(self) -> str:
        if self.split == "nonlinear":
            return f"the space is split at {', '.join(map(str, self._bounds))} nonlinear functions"
        splits = []
        for cuts in self._cuts:
            names = []
            for choice, (first, second) in cuts.halves.items():
                label = self.space.choices[choice]
                both = (" / ".join(label.options[o] for o in sorted(half)) for half in (first, second))
                names.append(f"{label.name} ({' or '.join(both)})")
            splits.append(f"{'its best part' if cuts.of else 'the space'} is split by {' and '.join(names)}")
        return ", ".join(splits) if splits else "the space is not split"

    # ---- nonlinear functions

    def _split_by_nonlinear_functions(self) -> None:
        self._numbers: dict[bytes, int] = {}
        numbers = sorted(self._numbers_of(self.space.sample(COUNTED, self._generator)))
        if not numbers:
            raise NastkError(f"none of {COUNTED} networks of {self.space.name} could be run")
        bounds = {numbers[len(numbers) * i // self.parts - 1] for i in range(1, self.parts)}
        self._bounds = sorted(bounds - {numbers[-1]})
        if not self._bounds:
            raise Unsupported(
                f"the networks of {self.space.name} all have {numbers[0]} nonlinear functions: split them by edges or "
                "gradient"
            )
        self.shared.split(self.part_of)
        self._live = [str(i) for i in range(len(self._bounds) + 1)]

    def _numbers_of(self, archs: Archs) -> list[int]:
        found = []
        for arch in archs:
            try:
                found.append(self._nonlinear(arch))
            except Exception as error:
                self.reasons[self.space.format(arch)] = reason_of(error)
        return found

    def _nonlinear(self, arch: Archs) -> int:
        key = arch.tobytes()
        if key not in self._numbers:
            self._numbers[key] = nonlinear_functions(self.space, arch, **self.build_options)
        return self._numbers[key]

    # ---- edges

    def _split_by_edges(self, choices: Sequence[int]) -> None:
        best = min(self._live, key=self._loss_of) if len(self._live) > 1 else self._live[0]
        halved = choices[: self.parts.bit_length() - 1]
        sizes = {c: int(self.space.sizes[c]) for c in halved}
        self._into(Cuts(best, {c: (frozenset(range(n // 2)), frozenset(range(n // 2, n))) for c, n in sizes.items()}))

    def _loss_of(self, part: str) -> float:
        return float(np.mean([self._judge(self._next(part))[0] for _ in range(JUDGED_PATHS)]))

    # ---- gradients

    def _split_by_gradients(self, images: Tensor, labels: Tensor) -> None:
        found = []
        for choice, size in enumerate(self.space.sizes):
            if size < 2:
                continue
            agreement = self._agreement(choice, images, labels)
            if agreement is not None:
                found.append((*cut(agreement), choice))
        wanted = self.parts.bit_length() - 1
        if len(found) < wanted:
            raise Unsupported(
                f"gradients can be compared for {len(found)} choices of {self.space.name}; {self.parts} parts need "
                f"{wanted}"
            )
        found.sort(key=lambda entry: entry[0])
        self._into(Cuts("", {choice: groups for _, groups, choice in found[:wanted]}))

    def _agreement(self, choice: int, images: Tensor, labels: Tensor) -> NDArray[np.float64] | None:
        """Cosine similarities ``(options, options)`` of the gradients that the options of a choice give to the weights
        that their networks share, on the same images; None where they cannot be compared."""
        total = np.zeros((self.space.sizes[choice],) * 2)
        for _ in range(self.contexts):
            rows = self._alternatives(choice)
            if rows is None:
                return None
            gradients = [self._gradients(row, images, labels) for row in rows]
            self._spent += len(rows)
            total += [[similarity(a, b) for b in gradients] for a in gradients]
        return total / self.contexts

    def _alternatives(self, choice: int) -> Archs | None:
        """A network with each option of a choice in turn, all different, ``(options, d)``."""
        size = self.space.sizes[choice]
        for _ in range(MOST_TRIES):
            rows = np.repeat(self._sample(1), size, axis=0)
            rows[:, choice] = range(size)
            rows = self.space.canonical(rows)
            if not self.space.is_valid(rows).all() or len(np.unique(rows, axis=0)) < size:
                continue
            try:
                for row in rows:
                    self.shared.network(row)  # all of them before gradients are taken: weights may grow
            except Exception:
                continue
            return rows
        return None

    def _gradients(self, arch: Archs, images: Tensor, labels: Tensor) -> dict[int, Tensor]:
        mine = list({id(p): p for p in self.shared.parameters_of(arch).values()}.values())
        loss = self.problem.loss(self._logits(images, arch), labels)
        found = torch.autograd.grad(loss, mine, allow_unused=True)
        return {id(p): g for p, g in zip(mine, found, strict=True) if g is not None}


def hierarchies(space: SearchSpace) -> list[list[int]]:
    """Choices that are split together: those of edges ("edge 0-3") that end in one node, or else of one group (a stage,
    a cell); in :data:`ROUNDS` runs of choices where neither is known."""
    found: dict[str, list[int]] = {}
    for place, choice in enumerate(space.choices):
        edge = re.fullmatch(r"(.*)edge \w+-(\w+)", choice.name)
        called = f"{edge.group(1)}node {edge.group(2)}" if edge else choice.group
        if len(choice) > 1:
            found.setdefault(called, []).append(place)
    if list(found) == [""]:
        return [run.tolist() for run in np.array_split(found[""], min(ROUNDS, len(found[""])))]
    return list(found.values())


class _Count(TorchDispatchMode):
    """Counts the nonlinear functions that are run."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.number += func.overloadpacket.__name__.removesuffix("_") in NONLINEAR
        return func(*args, **(kwargs or {}))


def nonlinear_functions(space: SearchSpace, arch: Archs, **build_options: Any) -> int:
    """The number of nonlinear functions that a network ``(d,)`` applies to one example."""

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        network = build_network(space, arch, **build_options).eval()
        with _Count() as count:
            network(blank_inputs(space, 1, **build_options))
    return count.number


def similarity(one: Mapping[int, Tensor], other: Mapping[int, Tensor]) -> float:
    """Cosine similarity of gradients by weight, of the weights that both have."""
    common = [key for key in one if key in other]
    dot, a, b = (
        sum(float((x[key] * y[key]).sum()) for key in common) for x, y in ((one, other), (one, one), (other, other))
    )
    return dot / (a * b) ** 0.5 if a and b else 0.0


def cut(agreement: NDArray[np.float64]) -> tuple[float, tuple[frozenset[int], frozenset[int]]]:
    """The two groups that agree least, of those in the order of the graph's Fiedler vector: their mean similarity, and
    their members; the first has the first one.

    Args:
        agreement: cosine similarities, ``(n, n)``.
    """
    weight = (agreement + 1) / 2
    laplacian = np.diag(weight.sum(axis=1)) - weight
    order = np.argsort(np.linalg.eigh(laplacian)[1][:, 1])
    means = [float(agreement[np.ix_(order[:i], order[i:])].mean()) for i in range(1, len(order))]
    at = int(np.argmin(means)) + 1
    one, other = (frozenset(group.tolist()) for group in (order[:at], order[at:]))
    return means[at - 1], (one, other) if 0 in one else (other, one)
