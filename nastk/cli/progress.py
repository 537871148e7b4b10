"""Progress bars, only on a terminal, so that pipes and logs stay clean."""

from __future__ import annotations

import sys
from typing import Any


def bar(total: int | None, what: str) -> Any:
    """A progress bar on standard error; disabled if that is not a terminal."""
    from tqdm import tqdm

    return tqdm(total=total, desc=what, file=sys.stderr, disable=not sys.stderr.isatty(), leave=False)
