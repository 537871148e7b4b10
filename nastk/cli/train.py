"""``nastk train``: networks of a finished search trained fully, with several seeds."""

from __future__ import annotations

import shlex
import sys
from typing import Annotated

import typer

from nastk.cli.options import MANY, Interrupted, Json, count, end_by, ignore_signals, number_of

Number = float | None


def train(
    result: Annotated[
        str, typer.Argument(metavar="RESULT", help="Folder of the results of nastk search, or its result.json.")
    ],
    pick: Annotated[
        str | None, typer.Option("--pick", metavar="P", help='The best that keeps limits: "accuracy, latency<=8".')
    ] = None,
    arch: Annotated[
        list[str] | None, typer.Option("--arch", metavar="A", help="Or this architecture; may be repeated.")
    ] = None,
    top: Annotated[
        int | None, typer.Option("--top", metavar="N", min=1, max=MANY, help="Or the N most accurate of the front.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data", metavar="D", help="digits, a .npz, a folder of images, or file.py:dataset.  [the search's]"
        ),
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option("--image-size", metavar="N", min=1, help="Resize images to N x N pixels, series to N steps."),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", metavar="N", min=1, max=MANY, help="Of each training.  [the search's]")
    ] = None,
    seeds: Annotated[int, count("--seeds", "Trainings of each network, with seeds that the search did not use.")] = 3,
    optimizer: Annotated[str | None, typer.Option("--optimizer", metavar="O", help="sgd or adamw.  [sgd]")] = None,
    rate: Annotated[
        Number, typer.Option("--rate", metavar="R", help="Highest learning rate.  [0.05; adamw 0.001]")
    ] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", metavar="N", min=2, max=MANY, help="Images of a step.  [64]")
    ] = None,
    decay: Annotated[Number, typer.Option("--decay", metavar="D", help="Weight decay.  [0.0005; adamw 0.05]")] = None,
    warmup: Annotated[
        Number, typer.Option("--warmup", metavar="E", help="Epochs in which the rate rises.  [0]")
    ] = None,
    smoothing: Annotated[
        Number, typer.Option("--smoothing", metavar="S", help="Of the labels, such as 0.1.  [0]")
    ] = None,
    ema: Annotated[
        Number, typer.Option("--ema", metavar="D", help="Decay of averaged weights, such as 0.999.  [none]")
    ] = None,
    mixed: Annotated[bool, typer.Option("--mixed", help="Mixed precision.")] = False,
    augment: Annotated[
        str | None, typer.Option("--augment", metavar="A,B", help="crop, flip; needs torchvision.  [none]")
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", metavar="D", help="cpu, cuda or cuda:1.  [a GPU, if there is one]")
    ] = None,
    gpus: Annotated[int, count("--gpus", "GPUs of this machine for each training.")] = 1,
    space: Annotated[
        str | None, typer.Option("--space", metavar="S", help="Where the space is, if it has moved since.")
    ] = None,
    export: Annotated[
        str | None,
        typer.Option("--export", metavar="F,G", help="Also write files, such as onnx,pt2; see nastk export."),
    ] = None,
    supernet_start: Annotated[
        bool, typer.Option("--supernet-start", help="Begin with the weights of the search's supernet.")
    ] = False,
    out: Annotated[str, typer.Option("--out", metavar="DIR", help="Folder of weights and report.")] = "nastk-trained",
    json_file: Json = None,
) -> None:
    """Train networks of a search fully, with other seeds: validation and test accuracy beside what the search believed.

    A search with a training of your own (--accuracy, --train) has it train, where there is no --data. Started again, it
    goes on where it was, and trains nothing twice.
    """
    import nastk
    from nastk.cli.options import words
    from nastk.cli.progress import bar, follow
    from nastk.files import check_outputs, locked_folder
    from nastk.report.rows import write_json
    from nastk.report.tables import show
    from nastk.report.text import printable

    given = {
        "optimizer": optimizer, "rate": rate, "batch": batch, "decay": decay, "warmup": warmup, "smoothing": smoothing,
        "ema": ema, "mixed": mixed or None, "augment": None if augment is None else words("--augment", augment),
    }  # fmt: skip
    recipe = {name: value for name, value in given.items() if value is not None}
    check_outputs([json_file])
    with locked_folder(out) as folder:
        try:
            with bar(None, "training") as progress:
                found = nastk.train(
                    result, data, pick, arch or [], top, epochs, seeds, recipe, image_size, device, gpus, folder, space,
                    [] if export is None else words("--export", export), follow(progress),
                    supernet_start,
                )  # fmt: skip
        except KeyboardInterrupt as interrupt:
            ignore_signals()
            number = number_of(interrupt)
            again = shlex.join(["nastk", *sys.argv[1:]])
            raise Interrupted(
                f"{end_by(number)}; what was trained is kept in {out}; to go on: {again}", number
            ) from None
        if json_file is not None:
            write_json(json_file, found.rows())
    show(found.table(), title="\n".join(filter(None, [found.how, found.data])), shorten=("architecture",))
    for note in found.notes:
        typer.echo(printable(note))
    for files in found.exported.values():
        typer.echo(printable(f"Written: {', '.join(files)}"))
    typer.echo(printable(f"Weights and trained.json are in {out}."))
