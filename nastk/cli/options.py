"""Options that several commands share, and the run options with their defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Space = Annotated[
    str, typer.Option("--space", metavar="S", help="Search space: a name (nastk list spaces) or file.py:Class.")
]
Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write tidy rows to this file.")]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Fixes everything that is drawn.")]
Threads = Annotated[int, typer.Option("--threads", metavar="N", min=1, help="CPU threads of a measured network.")]
Batch = Annotated[int, typer.Option("--batch", metavar="N", min=1, help="Inputs per forward pass when measuring.")]
Runtime = Annotated[
    str, typer.Option("--runtime", metavar="NAME", help="What runs a measured network (nastk list runtimes).")
]
Archs = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ARCH]...", help="Architectures: text form, official index, or integers with commas."),
]
ArchsOption = Annotated[
    list[str] | None, typer.Option("--archs", metavar="ARCH...", help="The same as giving them as arguments.")
]


class Interrupted(Exception):
    """Ctrl-C during a command that knows what it saved and how to go on; the message says it."""
