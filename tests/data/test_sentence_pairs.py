"""Sentence pairs from text files: words, what is left out, and files that hold none."""

from __future__ import annotations

from pathlib import Path

import pytest

from nastk.data.sentence_pairs import END, LEAST, START, UNKNOWN, read_pairs, tokens
from nastk.errors import DataError, InvalidValue

MANY = [(f"word number {i}", f"Wort Nummer {i}") for i in range(LEAST)]


def test_words_of_both_languages_are_tokens_and_the_rare_ones_are_unknown() -> None:
    found = tokens([*MANY, ("Number, number!", "Nummer")], vocabulary=10, length=6)
    assert found.vocabulary == 10
    assert found.words[:2] == ("number", "nummer")  # 22 and 21 times
    number, comma = found.words.index("number") + 3, UNKNOWN
    assert found.source[-1].tolist() == [number, comma, number, UNKNOWN, END, START]
    assert found.target[-1].tolist() == [found.words.index("nummer") + 3, END, START, START, START, START]


def test_long_empty_and_repeated_pairs_are_left_out() -> None:
    extra = [MANY[0], ("one two three four five six", "eins"), ("", "nichts"), ("nothing", " ")]
    found = tokens([*MANY, *extra], length=6)
    assert (len(found), found.left_out) == (LEAST, 4)


def test_files_that_hold_no_pairs_are_refused(tmp_path: Path) -> None:
    en, de = tmp_path / "en.txt", tmp_path / "de.txt"
    en.write_text("\n".join(a for a, _ in MANY), encoding="utf-8")
    de.write_text("\n".join(b for _, b in MANY[:-1]), encoding="utf-8")
    with pytest.raises(DataError, match=r"20 lines .* 19; line i of one"):
        read_pairs(en, de)
    en.write_text("\n".join(a for a, _ in MANY[:-1]), encoding="utf-8")
    with pytest.raises(DataError, match=r"19 different pairs .* needs 20"):
        read_pairs(en, de)
    with pytest.raises(DataError, match="cannot read the sentences"):
        read_pairs(tmp_path / "none.txt", de)
    de.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="cannot read the sentences"):
        read_pairs(en, de)
    with pytest.raises(InvalidValue, match="at least 10"):
        tokens(MANY, vocabulary=5)
