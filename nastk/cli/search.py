"""``nastk search``: from objectives and a budget to a Pareto front, in files and on the screen."""

from __future__ import annotations

import contextlib
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nastk.cli.options import Interrupted
from nastk.errors import NastkError

if TYPE_CHECKING:
    from nastk.cli.config import RunOptions
    from nastk.run import Run

SAVED = "interrupted"
"""File in the folder of the results that keeps what was evaluated before Ctrl-C."""

Text = str | None
Number = int | None


def option(name: str, metavar: str, help: str) -> Any:
    """An option without a default of its own: defaults stand in `nastk.run`, so that a file can give others."""
    return typer.Option(name, metavar=metavar, help=help, show_default=False)


def search(
    space: Annotated[Text, option("--space", "S", "Search space, or file.py:Class.  [nasbench201]")] = None,
    dataset: Annotated[
        Text, option("--dataset", "D", "Evaluate accuracies of this data set of a fetched table.")
    ] = None,
    device: Annotated[Text, option("--device", "DEV", "this (measured), or a device of a table.  [this]")] = None,
    objective: Annotated[
        list[str] | None,
        option("--objective", "O", "accuracy, latency, params, flops or a table's metric; may be repeated."),
    ] = None,
    constraint: Annotated[
        list[str] | None, option("--constraint", "C", 'Such as "latency<=10"; may be repeated.')
    ] = None,
    searcher: Annotated[Text, option("--searcher", "X", "nastk list searchers names them.  [predictor]")] = None,
    predictor: Annotated[
        list[str] | None, option("--predictor", "[O=]P", "Predictor for the expensive objectives, or for one.")
    ] = None,
    budget: Annotated[
        Number, option("--budget", "N", "Evaluations (full trainings) of each objective without --measurements.  [50]")
    ] = None,
    measurements: Annotated[
        Number, option("--measurements", "K", "Measurements that a few-shot predictor is adapted to.  [10]")
    ] = None,
    verify: Annotated[Number, option("--verify", "N", "Number of front members to measure in the end.  [12]")] = None,
    storage: Annotated[Text, option("--storage", "URL", "Keep the history there and resume from it.")] = None,
    study: Annotated[Text, option("--study", "NAME", "Name of the study in that storage.  [nastk]")] = None,
    config: Annotated[
        Path | None, option("--config", "FILE", "TOML file with these options by their long names.")
    ] = None,
    out: Annotated[Text, option("--out", "DIR", "Folder of the results.  [nastk-out]")] = None,
    seed: Annotated[Number, option("--seed", "N", "Random seed.  [0]")] = None,
    json_file: Annotated[Text, option("--json", "FILE", "Also write tidy rows to this file.")] = None,
    threads: Annotated[Number, option("--threads", "N", "CPU threads when measuring here.  [1]")] = None,
    batch: Annotated[Number, option("--batch", "N", "Inputs per forward pass when measuring here.  [1]")] = None,
    runtime: Annotated[
        Text, option("--runtime", "NAME", "What runs the network here (nastk list runtimes).  [torch]")
    ] = None,
    accuracy: Annotated[
        Text, option("--accuracy", "FILE.py:FUNCTION", "Your own accuracy function, of a row or a network.")
    ] = None,
    epochs: Annotated[
        Text, option("--epochs", "N,M,...", "What it gets as `epochs`; all but the last are short trainings.")
    ] = None,
) -> None:
    """Search a space for the front of accuracy against latency, or other objectives.

    Without options: NAS-Bench-201 on this machine. Accuracy is the shipped predictor's estimate for CIFAR-10; latency
    is measured here on ten architectures, predicted for the rest, and measured again on the front.
    """
    given = {name: value for name, value in locals().items() if name not in ("config", "json_file")}
    from nastk.cli.config import RunOptions
    from nastk.cli.progress import bar, follow
    from nastk.files import writable_folder

    options = RunOptions.gather({**given, "json": json_file}, config)
    was_there = Path(options.out).exists()
    folder = writable_folder(options.out)
    if options.json is not None:
        writable_folder(Path(options.json).parent)
    try:
        from nastk import run
        from nastk.report.summary import FILES, Summary, show_chart

        search = run.compose(options.describe(), storage=options.storage, study=options.study or run.STUDY)
    except NastkError:
        if not was_there:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise
    started = time.perf_counter()
    try:
        with bar(sum(search.budget.values()), "evaluating") as progress:
            search.search(follow(progress))
        with bar(None, "verifying the front") as progress:
            result = search.verify(follow(progress))
        seconds = time.perf_counter() - started
        summary = Summary(result, search.description.seed)
        summary.write(folder, options.json)
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted; {_save(search, options, folder)}") from None
    except NastkError as error:
        if not len(search.history):
            raise
        raise NastkError(f"{error}; {_save(search, options, folder)}") from error
    finally:
        search.close()
    show_chart(summary.chart, typer.echo)
    typer.echo(f"Took {seconds:.0f} s. Written to {folder}: {', '.join(FILES)}")


def _save(search: Run, options: RunOptions, folder: Path) -> str:
    """After an early end: see to it that what was evaluated is kept; says where, and how to go on."""
    from sqlalchemy import URL

    from nastk.files import atomic_path

    count = len(search.history)
    if not count:
        return "nothing had been evaluated yet"
    evaluations = f"{count} evaluation{'s are' if count > 1 else ' is'}"
    if options.storage is not None:
        return f"{evaluations} in {options.storage}; the same command goes on from there"
    names = (f"{SAVED}{f'-{i}' if i else ''}.db" for i in range(10_000))
    target = next(folder / name for name in names if not (folder / name).exists())  # another run's are not replaced

    def url(path: Path) -> str:
        return URL.create("sqlite", database=str(path)).render_as_string()

    with atomic_path(target) as temporary:
        search.save(url(temporary))
    again = shlex.join(["nastk", *sys.argv[1:], "--storage", url(target)])
    return f"{evaluations} saved in {target}; to go on: {again}"
