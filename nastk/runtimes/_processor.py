"""What the processor has."""

from __future__ import annotations

import platform
from pathlib import Path


def adds_bytes_in_16_bits() -> bool:
    """Whether the processor adds products of unsigned and signed bytes in 16 bits, which overflow, for lack of VNNI.

    Weights must then have seven bits, as the documentation of ONNX Runtime (``reduce_range``) and of NNCF
    (``overflow_fix``) say. Only processors of x86 do.
    """
    if platform.machine().lower() not in ("x86_64", "amd64", "i386", "i686"):
        return False
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux: seven bits are right on every processor, eight on some
        return True
    return "avx512_vnni" not in flags and "avx_vnni" not in flags
