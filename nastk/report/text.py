"""Texts of others (files, tables, studies, exceptions) as they may be shown: on a terminal, in a page, in a picture.

Whatever is printed or drawn passes through here. A terminal obeys escape sequences, a reader cannot see characters
that turn the direction of writing, and a picture takes what stands between dollar signs for a formula.
"""

from __future__ import annotations

import math
import unicodedata


def printable(text: str) -> str:
    """The text on one line, with every character that is not printed as its escape, such as ``\\x1b`` or ``\\n``."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or unicodedata.category(c) == "Zs" else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def drawable(text: str) -> str:
    """A :func:`printable` text of which matplotlib reads nothing as a formula."""
    return printable(text).replace("$", r"\$")


def with_half(mean: float, half: float, digits: int, of_half: int) -> str:
    """A mean and the half-width of its interval, in so many significant digits; the mean alone where that is NaN."""
    return f"{mean:.{digits}g}" + ("" if math.isnan(half) else f" ± {half:.{of_half}g}")
