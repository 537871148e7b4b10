"""Spaces whose networks are a row of blocks with the same choices each, and whose text shows them."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from nastk.spaces.base import Archs, SearchSpace


class Blocks(SearchSpace):
    """Architectures are written as blocks joined by ``|``, each of its options joined by ``_``.

    Attributes:
        per_block: how many choices a block has; those of a block follow each other.
    """

    per_block: ClassVar[int]

    def format(self, arch: Archs) -> str:
        """Blocks joined by ``|``: ``c32_f17_d1|c8_f5_d2|...``."""
        options = [c.options[int(v)] for c, v in zip(self.choices, np.asarray(arch).ravel(), strict=True)]
        return "|".join("_".join(options[i : i + self.per_block]) for i in range(0, self.d, self.per_block))

    def parse(self, text: str) -> Archs:
        """The row of a text as :meth:`format` writes it, or of as many integers as there are choices."""
        return super().parse(text.replace("|", "_"))
