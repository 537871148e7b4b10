"""SuperTransformers in the user's cache: trained once for sentence pairs and settings, and read again afterwards."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import cached_property
from inspect import signature
from pathlib import Path
from typing import Any

from nastk.code import code_of
from nastk.data.fetch import default_home
from nastk.data.sentence_pairs import SentencePairs
from nastk.errors import DataError, UnknownName
from nastk.files import atomic_path
from nastk.spaces.hat import HAT
from nastk.supernets._kept import FOLDER, WEIGHTS, Kept, Progress
from nastk.supernets._super_transformer import SuperTransformer

FACTS = "nastk-super-transformer"
"""Key of the metadata of its file under which it says what its training took."""
OPTIONS = ("steps", "batch", "random", "rate", "shrink", "held_out")
"""Options of a training."""


class KeptSuperTransformer(Kept[SuperTransformer]):
    """A SuperTransformer that is trained where it is not kept already.

    Args:
        space: of its networks.
        pairs: sentences and translations.
        files: that they are of, as the user called them.
        options: of its training, some of :data:`OPTIONS`.
        seed: of its training.

    Attributes:
        folder: where it is kept.

    Raises:
        UnknownName: no such option.
        InvalidValue: an option out of range.
    """

    method = "super-transformer"
    is_begun = False  # an interrupted training begins anew
    shipping = "Losses are those of narrow networks with its weights: no network was trained alone."

    def __init__(
        self,
        space: HAT,
        pairs: SentencePairs,
        files: tuple[str, str],
        options: Mapping[str, Any] | None = None,
        seed: int = 0,
    ):
        self.space, self.pairs, self.files = space, pairs, files
        self.options, self.seed = dict(options or {}), seed
        for name in self.options:
            if name not in OPTIONS:
                raise UnknownName("option of a SuperTransformer", name, OPTIONS)
        self.steps = self._made().steps
        self.folder = default_home() / FOLDER / self._key

    def _made(self, progress: Callable[[int, int], None] | None = None) -> SuperTransformer:
        return SuperTransformer(self.space, self.pairs, seed=self.seed, progress=progress, **self.options)

    @cached_property
    def hash(self) -> str:
        """Of the sentences as they are learned."""
        pairs = self.pairs
        return hashlib.sha256(pairs.source.tobytes() + pairs.target.tobytes()).hexdigest()[:16]

    def identity(self) -> dict[str, Any]:
        """What its answers depend on, JSON-able."""
        defaults = {name: p.default for name, p in signature(SuperTransformer).parameters.items() if name in OPTIONS}
        return {"pairs": self.hash, "seed": self.seed, "options": {**defaults, **self.options}}

    @property
    def _key(self) -> str:
        codes = [None if code is None else code.digest for code in (code_of(HAT), code_of(SuperTransformer))]
        text = json.dumps([self.method, self.space.identity(), self.identity(), codes], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def asked(self) -> dict[str, Any]:
        """What it is, JSON-able, as results say it of a supernet."""
        return {
            "method": self.method, "options": self.options, "build": {}, "seed": self.seed,
            "data": list(self.files), "image_size": None, "hash": self.hash,
        }  # fmt: skip

    def check(self) -> None:
        """Nothing is left to refuse once it is made."""

    @property
    def called(self) -> str:
        """What results call it."""
        return f"the SuperTransformer of {len(self.pairs):,} sentence pairs ({self.hash})"

    def _train(self, progress: Progress | None) -> SuperTransformer:
        from safetensors.torch import save_file

        def tick(done: int, total: int) -> None:
            if progress is not None:
                progress(done, total, "steps of the SuperTransformer")

        made = self._made(tick).train()
        made.progress = None
        facts = {"training": made.training, "seconds": made.seconds, "elapsed": made.elapsed}
        with atomic_path(self.folder / WEIGHTS) as temporary:
            save_file(made.state(), temporary, {FACTS: json.dumps(facts)})
        return made

    def _read(self) -> SuperTransformer:
        from safetensors import SafetensorError, safe_open

        file: Path = self.folder / WEIGHTS
        try:
            with safe_open(file, framework="pt") as opened:
                facts = json.loads((opened.metadata() or {}).get(FACTS, "null"))
                state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  # no mapping
            times = {name: float(facts[name]) for name in ("training", "seconds", "elapsed")}
            return self._made().restore(state, **times)
        except (SafetensorError, OSError, RuntimeError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise DataError(
                f"{file} is damaged, or no SuperTransformer: {error}; remove it, and it is trained again"
            ) from error
