"""``nastk mcu``: what a network takes on a microcontroller, without one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nastk.cli.options import Json, Space


def mcu(
    target: Annotated[
        str, typer.Argument(metavar="FILE.tflite|ARCH", help="A file of any converter, or an architecture of --space.")
    ],
    space_name: Space = "nasbench201",
    accelerator: Annotated[
        str, typer.Option("--accelerator", metavar="A", help="Ethos-U that Vela compiles for.")
    ] = "ethos-u55-128",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.tflite", help="Keep the architecture's int8 file.")
    ] = None,
    json_file: Json = None,
) -> None:
    """Flash, exact arena (tflite-micro) and Vela's estimates of a .tflite file, or of an architecture in int8."""
    import tempfile

    from nastk.errors import InvalidValue
    from nastk.files import check_outputs, write_bytes
    from nastk.oracles.microcontroller import Microcontroller, check_accelerator, figures
    from nastk.report.rows import write_json
    from nastk.report.tables import show

    check_accelerator(accelerator)
    check_outputs([out, json_file])
    if target.endswith(".tflite"):
        if out is not None:
            raise InvalidValue("--out keeps the file of an architecture; this is one already")
        found = figures(target, accelerator)
    else:
        from nastk.spaces.factory import space as named

        space = named(space_name)
        content = Microcontroller(space, "flash").tflite(space.as_archs(int(target) if target.isdigit() else target))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "network.tflite"
            file.write_bytes(content)
            found = figures(file, accelerator)
        if out is not None:
            write_bytes(out, content)
    columns = ("what", "value", "kind")
    show([dict(zip(columns, row, strict=True)) for row in found.rows()])
    if json_file is not None:
        facts: dict[str, Any] = {"experiment": "mcu", "method": target, "device": accelerator}
        write_json(json_file, [{**facts, **row} for row in found.tidy()])
