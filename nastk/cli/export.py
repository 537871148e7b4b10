"""``nastk export``: one network of a search as files that other programs run."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer


def export(
    result: Annotated[
        Path | None,
        typer.Argument(metavar="RESULT", help="Folder of a search, such as nastk-out.", show_default=False),
    ] = None,
    arch: Annotated[
        str | None, typer.Option("--arch", metavar="A", help="The architecture: text form, index, or integers.")
    ] = None,
    pick: Annotated[
        str | None,
        typer.Option("--pick", metavar="TEXT", help='Instead: the best of the front, such as "accuracy, latency<=8".'),
    ] = None,
    file_format: Annotated[
        list[str] | None,
        typer.Option(
            "--format", metavar="F,...", help="onnx, pt2, python, safetensors, or torchscript (deprecated by PyTorch)."
        ),
    ] = None,
    runtime: Annotated[
        list[str] | None,
        typer.Option("--runtime", metavar="R,...", help="Runtimes' own files: openvino, mnn, litert, onnx."),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            "--precision",
            metavar="P",
            help="fp32, fp16, bf16 or int8; by default the architecture's, else fp32.",
            show_default=False,
        ),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration",
            metavar="FILE.npy",
            help="Inputs that int8 is calibrated on; else training images of a search on --data, or random ones.",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", metavar="FILE", help="A state dict of yours, instead of what the search kept."),
    ] = None,
    untrained: Annotated[bool, typer.Option("--untrained", help="Take random weights where none are known.")] = False,
    inputs: Annotated[
        Path | None,
        typer.Option("--inputs", metavar="FILE.npy", help="Inputs (n, ...) to compare outputs on; else random ones."),
    ] = None,
    batch: Annotated[
        int, typer.Option("--batch", metavar="N", min=1, max=1_000_000, help="Inputs of a run of the files.")
    ] = 1,
    space: Annotated[
        str | None,
        typer.Option("--space", metavar="S", help="A space without a result; or where the result's space is now."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Name of the files; by default the architecture's.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the files.")] = Path("nastk-export"),
) -> None:
    """Write a network of a search, with the weights that the search trained, and a model card.

    Each file is read back and compared with the network in PyTorch; one that answers other outputs is an error.
    """
    from nastk.cli.progress import bar
    from nastk.deploy.write import export as write
    from nastk.errors import InvalidValue
    from nastk.finished import read_search
    from nastk.report.tables import show
    from nastk.report.text import printable

    if result is None and space is None:
        raise InvalidValue("export what? give the folder of a search, or --space S --arch A --untrained")
    if result is None:
        from nastk.spaces.factory import space as named

        if pick is not None:
            raise InvalidValue("--pick chooses from a front, and a space alone has none; give --arch")
        of = named(space or "")
    else:
        of = read_search(result, space)  # type: ignore[assignment]
    with bar(None, "exporting") as progress:
        made = write(
            of, arch, pick, file_format or (), runtime or (), precision, weights=weights, untrained=untrained,
            inputs=inputs, calibration=calibration, batch=batch, folder=out, name=name,
            command=shlex.join(["nastk", *sys.argv[1:]]), progress=lambda what: progress.set_description(what),
        )  # fmt: skip
    card = made.card
    written = {path.name for path in made.files}
    rows = [
        {
            "file": f["file"],
            "run by": f["run_by"],
            "MB": f["bytes"] / 1e6,
            "difference": f["agreement"]["difference"],
            "cosine": f["agreement"]["cosine"],
            "first class": f"{f['agreement']['first_class']:.0%} of {f['agreement']['examples']}",
        }
        for f in card["files"]
        if f["file"] in written
    ]
    show(rows, title=printable(f"{card['space']} {card['arch']}, beside eager PyTorch on {card['checked_on']}"))
    typer.echo(printable(f"{card['weights']['origin']}."))
    for note in dict.fromkeys(n for f in card["files"] if f["file"] in written for n in f["notes"]):
        typer.echo(printable(note))
    stem = made.markdown.stem
    ends = sorted(name.removeprefix(stem) for name in (*written, made.markdown.name, made.json.name))
    typer.echo(printable(f"Written to {out}/{stem}: {', '.join(ends)}"))
