"""Silence, and interruptions that wait."""

from __future__ import annotations

import os

import pytest

from nastk.runtimes._quiet import last_line, quiet


def test_nothing_is_shown_and_what_was_said_is_known(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet() as said:
        print("of Python")
        os.write(1, b"of a library\n")
        assert "of Python" in said()
        assert "of a library" in said()
    print("after")
    shown = capfd.readouterr()
    assert shown.out == "after\n"
    assert shown.err == ""


def test_the_line_that_tells_is_found() -> None:
    text = "Start\n[23:01:02] :220: These Op Not Support: ONNX::DFT \nConverted Failed!\n"
    assert last_line(text, ("not support",)) == "These Op Not Support: ONNX::DFT"
    assert last_line(text, ("absent",)) == "Converted Failed!"
    assert last_line("", ("absent",)) == ""
