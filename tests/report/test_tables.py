"""Tables on a terminal: whole numbers at any width."""

from __future__ import annotations

import io
import re

import pytest

from nastk.report.tables import show


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("width", [50, 80, 200])
def test_texts_are_cut_and_numbers_never(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    rows = [
        {"architecture": f"{i}" * 90, "accuracy (%) estimate": 84.33, "latency (ms) measured": 10_260.0, "n": i}
        for i in range(3)
    ]
    terminal = Terminal()
    show(rows, file=terminal, shorten=["architecture"])
    lines = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()).rstrip().splitlines()
    assert all(len(line.rstrip()) <= width for line in lines)
    values = [line.split() for line in lines[-3:]]
    assert [v[1:] for v in values] == [["84.33", "10,260", str(i)] for i in range(3)]
    assert all(v[0].endswith("…") == (width < 130) for v in values)
    heading = "".join(" ".join(lines[:-4]).split())
    assert all(word in heading for word in ("accuracy", "estimate", "measured"))
