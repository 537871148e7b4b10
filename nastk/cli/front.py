"""``nastk front``: the front of a stored study under other limits, from its history alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nastk.cli.options import Json


def front(
    result: Annotated[
        Path | None,
        typer.Argument(metavar="[RESULT]", help="Folder of a search, whose history is asked.  [nastk-out]"),
    ] = None,
    storage: Annotated[
        str | None, typer.Option("--storage", metavar="URL", help="Instead: the database, such as sqlite:///run.db.")
    ] = None,
    study: Annotated[
        str | None, typer.Option("--study", metavar="NAME", help="Name of the study, where there are several.")
    ] = None,
    constraint: Annotated[
        list[str] | None,
        typer.Option("--constraint", metavar="C", help='Such as "latency<=5", instead of those of the search.'),
    ] = None,
    objective: Annotated[
        list[str] | None, typer.Option("--objective", metavar="O", help="The front in these objectives alone.")
    ] = None,
    predict: Annotated[
        bool, typer.Option("--predict", help="Also by predictions, for what was not evaluated; they are called so.")
    ] = False,
    space: Annotated[
        str | None, typer.Option("--space", metavar="S", help="With --predict: where a file.py:Class is now.")
    ] = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Also write the front, with one column a choice.")
    ] = None,
    json_file: Json = None,
    html_file: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Also write the page.")] = None,
    png_file: Annotated[Path | None, typer.Option("--png", metavar="FILE", help="Also draw the picture.")] = None,
) -> None:
    """Ask the history of a search for its front under other limits: nothing is trained or measured.

    The front is of what was evaluated or computed; with --predict also of estimates, by the predictors of the search.
    """
    from nastk.files import check_outputs
    from nastk.report import write_html, write_png
    from nastk.report.asked import known_front, question
    from nastk.report.summary import show_chart

    check_outputs([csv_file, json_file, html_file, png_file])
    asked = _storage(result, storage), study, constraint or None, objective or ()
    if predict or space is not None:
        from nastk.run import front as front_of

        found = front_of(*asked, predict, space)
    else:  # without the searcher, and all that it needs
        found = known_front(question(*asked))
    if csv_file is not None:
        found.to_csv(csv_file)
    if json_file is not None:
        found.to_json(json_file)
    if html_file is not None:
        write_html(found.chart, html_file)
    if png_file is not None:
        write_png(found.chart, png_file)
    show_chart(found.chart, typer.echo)


def _storage(result: Path | None, storage: str | None) -> str:
    from nastk.cli.search import HISTORY
    from nastk.errors import InvalidValue, StorageError

    if storage is not None:
        if result is not None:
            raise InvalidValue(f"--storage {storage} and {result} both hold a history; leave one out")
        return storage
    folder = Path("nastk-out") if result is None else result
    if folder.is_file() and folder.name == "result.json":
        folder = folder.parent
    history = folder if folder.suffix == ".db" else folder / f"{HISTORY}.db"
    if not history.is_file():
        raise StorageError(
            f"{folder} holds no {HISTORY}.db; where the search was given a --storage, give it here, too"
            if folder.is_dir()
            else f"no folder of a search: {folder}; name it, or give --storage"
        )
    return f"sqlite:///{history}"
