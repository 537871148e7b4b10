"""``nastk search``: from objectives and a budget to a Pareto front, in files and on the screen."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated, Any

import typer

from nastk.cli.options import Interrupted
from nastk.errors import NastkError

Text = str | None
Number = int | None


def option(name: str, metavar: str, help: str) -> Any:
    """An option without a default of its own: defaults stand in `RunOptions`, so that a file can give others."""
    return typer.Option(name, metavar=metavar, help=help, show_default=False)


def search(
    space: Annotated[Text, option("--space", "S", "Search space, or file.py:Class.  [nasbench201]")] = None,
    dataset: Annotated[Text, option("--dataset", "D", "Pay for accuracies of this data set of a table.")] = None,
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
        list[str] | None, option("--predictor", "[O=]P", "What learns what is paid for, or one objective of it.")
    ] = None,
    budget: Annotated[
        Number, option("--budget", "N", "Evaluations (full trainings) of each objective that is paid for.  [50]")
    ] = None,
    measurements: Annotated[
        Number, option("--measurements", "K", "Measurements that a few-shot predictor is adapted to.  [10]")
    ] = None,
    verify: Annotated[Number, option("--verify", "N", "Measure so many of the proposed front.  [12]")] = None,
    storage: Annotated[Text, option("--storage", "URL", "Keep the history there and resume from it.")] = None,
    study: Annotated[Text, option("--study", "NAME", "Name of the study in that storage.  [nastk]")] = None,
    config: Annotated[
        Path | None, option("--config", "FILE", "TOML file with these options by their long names.")
    ] = None,
    out: Annotated[Text, option("--out", "DIR", "Folder of the results.  [nastk-out]")] = None,
    seed: Annotated[Number, option("--seed", "N", "Fixes everything that is drawn.  [0]")] = None,
    json_file: Annotated[Text, option("--json", "FILE", "Also write tidy rows to this file.")] = None,
    threads: Annotated[Number, option("--threads", "N", "CPU threads when measuring here.  [1]")] = None,
    batch: Annotated[Number, option("--batch", "N", "Inputs per forward pass when measuring here.  [1]")] = None,
    runtime: Annotated[
        Text, option("--runtime", "NAME", "What runs the network here (nastk list runtimes).  [torch]")
    ] = None,
    accuracy: Annotated[
        Text, option("--accuracy", "FILE.py:FUNCTION", "Pay for accuracies by this function of a row or a network.")
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
    from nastk.files import writable_folder

    options = RunOptions.gather({**given, "json": json_file}, config)
    was_there = Path(options.out).exists()
    folder = writable_folder(options.out)
    if options.json is not None:
        writable_folder(Path(options.json).parent)
    try:
        from nastk.cli import job

        run = job.prepare(options)
    except NastkError:
        if not was_there:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise
    try:
        run.search()
        run.write(folder)
    except KeyboardInterrupt:
        raise Interrupted(run.save(folder)) from None
    finally:
        run.close()
    run.show(folder)
