"""``nastk list``: what there is, by name, without importing any of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from nastk.cli.options import Json
from nastk.errors import DataError, UnknownName
from nastk.registry import REGISTRIES

KINDS = (*REGISTRIES, "weights")


def list_(
    kind: Annotated[
        str | None, typer.Argument(metavar=f"[{'|'.join(KINDS)}]", help="One kind only; by default all.")
    ] = None,
    json_file: Json = None,
) -> None:
    """Spaces, encodings, predictors, searchers and the weights that ship, with a line on each."""
    from nastk.report.tables import show

    if kind is not None and kind not in KINDS:
        raise UnknownName("kind of thing", kind, KINDS)
    tidy: list[dict[str, Any]] = []
    for name in KINDS if kind is None else (kind,):
        rows = shipped_weights() if name == "weights" else _entries(name)
        tidy += [{"kind": name, **row} for row in rows]
        if rows:
            show(rows, title=name, shorten=() if kind else ("description",))
        else:
            typer.echo(f"{name}: none")
    if json_file is not None:
        from nastk.report.rows import write_json

        write_json(json_file, tidy)


def _entries(kind: str) -> list[dict[str, Any]]:
    entries = REGISTRIES[kind].entries.values()
    return [{"name": e.name, "description": e.description.removeprefix(f"{e.name}: ")} for e in entries]


def shipped_weights() -> list[dict[str, Any]]:
    """What the metadata beside each shipped weight file says of it, held-out quality included."""
    rows = []
    for path in sorted((Path(__file__).parents[1] / "weights").glob("*.json")):
        try:
            metadata = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"{path} is damaged ({error}); reinstall nastk") from error
        rows.append({"name": path.stem, **_summary(metadata)})
    return rows


def _summary(metadata: dict[str, Any]) -> dict[str, Any]:
    quality = metadata.get("held_out", {})
    return {
        "predictor": metadata.get("predictor", "?"),
        "predicts": metadata.get("metric", "?"),
        "held-out quality": ", ".join(
            f"{k} {v:g}" if isinstance(v, (int, float)) else f"{k} {v}" for k, v in quality.items()
        ),
    }
