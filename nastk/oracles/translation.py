"""The validation loss of HAT's translators with the weights of a small SuperTransformer that is trained here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from nastk.data.sentence_pairs import read_pairs
from nastk.errors import InvalidValue
from nastk.evaluation import Kind
from nastk.oracles.base import Evaluation, Oracle
from nastk.spaces.base import Archs, SearchSpace
from nastk.spaces.hat import HAT


class TranslationLoss(Oracle):
    """Validation loss in nats a token, lower is better; see `nastk.supernets._super_transformer`.

    The SuperTransformer is trained at the first evaluation and not kept afterwards. Its networks are narrow: an
    estimate of how the networks of the space rank, and no quality of a translation.

    Args:
        space: ``hat``.
        source, target: text files, of which line i of one is the translation of line i of the other.
        vocabulary, length: see :func:`nastk.data.sentence_pairs.read_pairs`.
        seed: of its training.
        progress: called with (done, total) after each step of the training.
        options: of `SuperTransformer`, such as ``steps=1000``.

    Raises:
        InvalidValue: another space.
        DataError: files that hold no pairs.

    Example::

        >>> loss = TranslationLoss(nastk.space("hat"), "en.txt", "de.txt", steps=1000)
        >>> nastk.search("hat", objectives=[loss, nastk.oracles.Flops(loss.space)], budget=50)
    """

    name, unit, direction = "validation_loss", "nats", "min"
    per_network = True

    def __init__(
        self,
        space: SearchSpace,
        source: str | Path,
        target: str | Path,
        vocabulary: int = 1000,
        length: int = 16,
        seed: int = 0,
        progress: Callable[[int, int], None] | None = None,
        **options: Any,
    ):
        if not isinstance(space.whole, HAT):
            raise InvalidValue(f"sentence pairs train translators, of the space hat; got {space.name}")
        self.space, self.seed, self.options = space, seed, options
        self.progress = progress
        self.pairs = read_pairs(source, target, vocabulary, length)
        self.source = f"SuperTransformer of {len(self.pairs):,} sentence pairs; not trained alone"

    @property
    def kind(self) -> Kind:
        return "estimate"

    def identity(self) -> dict[str, Any]:
        data = hashlib.sha256(self.pairs.source.tobytes() + self.pairs.target.tobytes()).hexdigest()[:16]
        options = repr(sorted(self.options.items()))
        return {"oracle": "translation", "pairs": data, "seed": self.seed, "options": options}

    @cached_property
    def supernet(self) -> Any:
        """The SuperTransformer, trained when it is first asked for."""
        from nastk.supernets._super_transformer import SuperTransformer

        whole = self.space.whole
        assert isinstance(whole, HAT)
        made = SuperTransformer(whole, self.pairs, seed=self.seed, progress=self.progress, **self.options)
        return made.train()

    def _evaluate(self, archs: Archs, fidelity: float | None) -> Evaluation:
        if fidelity is not None:
            raise InvalidValue(f"{self.name} has no fidelities")
        supernet = self.supernet
        values, seconds = np.empty(len(archs)), np.empty(len(archs))
        for i, arch in enumerate(archs):
            started = perf_counter()
            values[i] = supernet.loss(arch)
            seconds[i] = perf_counter() - started
        return Evaluation(values, np.full(len(archs), np.nan), seconds)
