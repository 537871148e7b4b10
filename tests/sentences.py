"""Sentence pairs of the gettext catalogues that this system has."""

from __future__ import annotations

import gettext
from functools import cache
from pathlib import Path

import pytest

LOCALES = Path("/usr/share/locale")


@cache
def _pairs(language: str, most: int) -> list[tuple[str, str]]:
    found: dict[str, str] = {}
    for path in sorted(LOCALES.glob(f"{language}/LC_MESSAGES/*.mo")):
        try:
            with path.open("rb") as file:
                catalogue = vars(gettext.GNUTranslations(file))["_catalog"]
        except (OSError, ValueError, KeyError):
            continue
        for message, translation in catalogue.items():
            if isinstance(message, str) and message and translation and "\n" not in message + translation:
                found[message.split("\x04")[-1]] = translation
        if len(found) >= most:
            break
    return list(found.items())[:most]


def sentence_pairs(least: int = 200, most: int = 600) -> list[tuple[str, str]]:
    """English messages and their translations into a language that has many; skips where none has."""
    for language in ("de", "fr", "es", "it", "ru", "ja"):
        if len(found := _pairs(language, most)) >= least:
            return found
    pytest.skip(f"no gettext catalogues with {least} messages in {LOCALES}")


def write_pairs(folder: Path, pairs: list[tuple[str, str]]) -> tuple[str, str]:
    """The pairs as two text files."""
    names = str(folder / "en.txt"), str(folder / "other.txt")
    for name, side in zip(names, zip(*pairs, strict=True), strict=True):
        Path(name).write_text("\n".join(" ".join(line.split()) for line in side), encoding="utf-8")
    return names
