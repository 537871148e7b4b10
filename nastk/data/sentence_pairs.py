"""Sentences and their translations from two text files, a line each, as tokens of one vocabulary of words.

Words are lower case, punctuation marks are words of their own. The most frequent words of both languages are known, all
others are one token. A pair that occurs twice is taken once, so that none is both learned from and validated on.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nastk.errors import DataError, InvalidValue

START, END, UNKNOWN = 0, 1, 2
"""Tokens that are no words: the decoder's first, with which sentences are also filled up; the end; any rare word."""
LEAST = 20
"""Pairs without which there is nothing to learn from and to validate on."""
LARGEST = 200_000_000
"""Bytes of a file."""
_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class SentencePairs:
    """Tokens of sentences and translations.

    Args:
        source, target: ``(n, length)``, ended by :data:`END` and filled up with :data:`START`.
        words: of the vocabulary; token 3 is the first.
        left_out: pairs that were longer, empty on a side, or there already.
    """

    source: NDArray[np.int64]
    target: NDArray[np.int64]
    words: tuple[str, ...]
    left_out: int

    def __len__(self) -> int:
        return len(self.source)

    @property
    def vocabulary(self) -> int:
        """Number of tokens."""
        return len(self.words) + 3


def read_pairs(source: str | Path, target: str | Path, vocabulary: int = 1000, length: int = 16) -> SentencePairs:
    """Read two text files, of which line i of one is the translation of line i of the other.

    Args:
        source, target: paths, UTF-8.
        vocabulary: most tokens.
        length: most tokens of a sentence, with the end; pairs with a longer one are left out.

    Raises:
        InvalidValue: a vocabulary or length too small.
        DataError: a file that cannot be read, files with different numbers of lines, or too few pairs.
    """
    lines = [_lines(Path(path)) for path in (source, target)]
    if len(lines[0]) != len(lines[1]):
        raise DataError(
            f"{source} has {len(lines[0]):,} lines and {target} {len(lines[1]):,}; line i of one must be the "
            "translation of line i of the other"
        )
    return tokens(list(zip(*lines, strict=True)), vocabulary, length, f"{source} and {target}")


def tokens(
    pairs: Sequence[tuple[str, str]], vocabulary: int = 1000, length: int = 16, called: str = "the pairs"
) -> SentencePairs:
    """Sentences and translations as tokens; see :func:`read_pairs`."""
    if vocabulary < 10 or length < 2:
        raise InvalidValue(f"needs a vocabulary of at least 10 and a length of at least 2; got {vocabulary}, {length}")
    kept: dict[tuple[tuple[str, ...], tuple[str, ...]], None] = {}
    for pair in pairs:
        split = tuple(tuple(_WORD.findall(side.lower())) for side in pair)
        if all(0 < len(side) < length for side in split):
            kept[split[0], split[1]] = None
    if len(kept) < LEAST:
        raise DataError(
            f"{called}: {len(kept)} different pairs of 1 to {length - 1} words a side; a training needs {LEAST}"
        )
    counted = Counter(word for pair in kept for side in pair for word in side)
    words = sorted(counted, key=lambda word: (-counted[word], word))[: vocabulary - 3]
    number = {word: i + 3 for i, word in enumerate(words)}
    found = np.full((2, len(kept), length), START, dtype=np.int64)
    for i, sentences in enumerate(kept):
        for side, sentence in enumerate(sentences):
            found[side, i, : len(sentence)] = [number.get(word, UNKNOWN) for word in sentence]
            found[side, i, len(sentence)] = END
    return SentencePairs(found[0], found[1], tuple(words), len(pairs) - len(kept))


def _lines(path: Path) -> list[str]:
    try:
        if path.stat().st_size > LARGEST:
            raise DataError(f"{path} has more than {LARGEST // 10**6} MB; give a part of it")
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the sentences of {path}: {error}") from error
