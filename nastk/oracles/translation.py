"""The validation loss of HAT's translators with the weights of a small SuperTransformer that is trained here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from nastk.data.sentence_pairs import read_pairs
from nastk.errors import InvalidValue
from nastk.evaluation import Kind
from nastk.oracles.base import Evaluation, Oracle
from nastk.oracles.goals import VALIDATION_LOSS
from nastk.spaces.base import Archs, SearchSpace
from nastk.spaces.hat import HAT
from nastk.supernets._kept_translator import KeptSuperTransformer


class TranslationLoss(Oracle):
    """Validation loss in nats a token, lower is better; see `nastk.supernets._super_transformer`.

    The SuperTransformer is trained at the first evaluation, unless it is kept in the user's cache, where it stays. Its
    networks are narrow: an estimate of how the networks of the space rank, and no quality of a translation.

    Args:
        space: ``hat``.
        source, target: text files, of which line i of one is the translation of line i of the other.
        vocabulary, length: see :func:`nastk.data.sentence_pairs.read_pairs`.
        seed: of its training.
        progress: called with (done, total) after each step of the training.
        options: of `SuperTransformer`, such as ``steps=1000``.

    Raises:
        InvalidValue: another space, or an option out of range.
        UnknownName: no such option.
        DataError: files that hold no pairs.

    Example::

        >>> loss = TranslationLoss(nastk.space("hat"), "en.txt", "de.txt", steps=1000)
        >>> nastk.search("hat", objectives=[loss, nastk.oracles.Flops(loss.space)], budget=50)
    """

    name, unit, direction = VALIDATION_LOSS, "nats", "min"
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
        whole = space.whole
        if not isinstance(whole, HAT):
            raise InvalidValue(f"sentence pairs train translators, of the space hat; got {space.name}")
        self.space, self.seed, self.progress = space, seed, progress
        self.vocabulary, self.length = vocabulary, length
        self.pairs = read_pairs(source, target, vocabulary, length)
        self.supernet = KeptSuperTransformer(whole, self.pairs, (str(source), str(target)), options, seed)
        self.source = f"narrow networks with weights of {self.supernet.called}; not trained alone"

    @classmethod
    def described(cls, space: SearchSpace, facts: Mapping[str, Any]) -> TranslationLoss:
        """The oracle of a description (:meth:`describe`).

        Raises:
            InvalidValue: the files hold other sentences now.
        """
        rest = {name: value for name, value in facts.items() if name != "oracle"}
        hash, files = rest.pop("hash", None), rest.pop("pairs")
        made = cls(space, *files, **rest)
        if hash is not None and made.supernet.hash != hash:
            raise InvalidValue(
                f"{' and '.join(files)} hold other sentences now than when this was searched (hash "
                f"{made.supernet.hash}, then {hash})"
            )
        return made

    @property
    def kind(self) -> Kind:
        return "estimate"

    def describe(self) -> dict[str, Any]:
        kept = self.supernet
        return {
            "oracle": "translation", "pairs": list(kept.files), "hash": kept.hash, "vocabulary": self.vocabulary,
            "length": self.length, "seed": self.seed, **kept.options,
        }  # fmt: skip

    def identity(self) -> dict[str, Any]:
        return {"oracle": "translation", **self.supernet.identity()}

    def _tick(self, done: int, total: int, what: str) -> None:
        if self.progress is not None:
            self.progress(done, total)

    def _evaluate(self, archs: Archs, fidelity: float | None) -> Evaluation:
        if fidelity is not None:
            raise InvalidValue(f"{self.name} has no fidelities")
        trained = self.supernet.get(self._tick)
        values, seconds = np.empty(len(archs)), np.empty(len(archs))
        for i, arch in enumerate(archs):
            started = perf_counter()
            values[i] = trained.loss(arch)
            seconds[i] = perf_counter() - started
        return Evaluation(values, np.full(len(archs), np.nan), seconds)
