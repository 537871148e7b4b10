"""Whether int8 needs weights of seven bits."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from nastk.runtimes._processor import adds_bytes_in_16_bits


@pytest.mark.parametrize(
    ("machine", "flags", "overflows"),
    [
        ("x86_64", "avx2 fma", True),
        ("x86_64", "avx2 avx_vnni", False),
        ("AMD64", "avx512f avx512_vnni", False),
        ("aarch64", "asimd", False),
    ],
)
def test_only_processors_of_x86_without_vnni_overflow(
    machine: str, flags: str, overflows: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: f"flags : {flags}")
    assert adds_bytes_in_16_bits() == overflows


def test_where_the_processor_does_not_tell_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(Path, "read_text", absent)
    assert adds_bytes_in_16_bits()
