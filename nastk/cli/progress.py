"""Progress bars: on a terminal only, so that pipes and logs stay clean."""

from __future__ import annotations

import sys
from typing import Any


def bar(total: int | None, what: str) -> Any:
    """A progress bar on standard error; silent where that is no terminal."""
    from tqdm import tqdm

    return tqdm(total=total, desc=what, file=sys.stderr, disable=not sys.stderr.isatty(), leave=False)
