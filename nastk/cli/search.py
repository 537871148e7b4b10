"""``nastk search``: from objectives and a budget to a Pareto front, in files and on the screen."""

from __future__ import annotations

import os
import shlex
import sys
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nastk.cli.options import LEAVE_OUT, Interrupted, LocalSources, LocalSourcesTime, end_by, ignore_signals, number_of
from nastk.errors import NastkError

if TYPE_CHECKING:
    from nastk.cli.config import RunOptions
    from nastk.run import Run

HISTORY = "history"
"""Name, without .db, of the file in the folder of the results that keeps every evaluation."""

DATABASE_FILES = ("", "-wal", "-shm")
"""Ends of the names of a SQLite database's files: of a run that was killed, the log is part of the database."""

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
    device: Annotated[
        Text, option("--device", "DEV", "this, cuda, a device of devices.toml, or one of a table.  [this]")
    ] = None,
    devices: Annotated[
        Text, option("--devices", "FILE", "Devices behind commands.  [devices.toml here, or in NASTK_HOME]")
    ] = None,
    device_command: Annotated[
        Text, option("--device-command", "'CMD ...'", "One such device: a command with {onnx} and the like.")
    ] = None,
    measured: Annotated[
        Text, option("--measured", "FILE", "CSV file with columns arch, ms: these latencies, and no others.")
    ] = None,
    objective: Annotated[
        list[str] | None,
        option(
            "--objective",
            "O",
            "accuracy, latency[:DEVICE], energy, peak_memory, params, flops, arena, flash or a table's metric.",
        ),
    ] = None,
    constraint: Annotated[
        list[str] | None, option("--constraint", "C", 'Such as "latency<=10"; may be repeated.')
    ] = None,
    searcher: Annotated[Text, option("--searcher", "X", "nastk list searchers names them.  [predictor]")] = None,
    predictor: Annotated[
        list[str] | None, option("--predictor", "[O=]P", "Predictor for the expensive objectives, or for one.")
    ] = None,
    budget: Annotated[
        Number,
        option(
            "--budget",
            "N",
            "Evaluations (full trainings) of each objective without --measurements.  [50; --supernet: 12]",
        ),
    ] = None,
    measurements: Annotated[
        Number, option("--measurements", "K", "Measurements that a few-shot predictor is adapted to.  [10]")
    ] = None,
    verify: Annotated[
        Number, option("--verify", "N", "Front members to measure in the end, and others for a broken limit.  [12]")
    ] = None,
    verify_seeds: Annotated[
        Number, option("--verify-seeds", "K", "Train the front again with K other seeds: how lucky was it?  [0]")
    ] = None,
    storage: Annotated[
        Text, option("--storage", "URL", "Keep the history there and resume from it.  [history.db in --out]")
    ] = None,
    resume: Annotated[
        bool | None, typer.Option("--resume", help="Without --storage: go on with the history in --out.")
    ] = None,
    study: Annotated[Text, option("--study", "NAME", "Name of the study in that storage.  [nastk]")] = None,
    reuse: Annotated[
        bool | None,
        typer.Option("--reuse", help="Count what other studies of the storage evaluated against the budget."),
    ] = None,
    config: Annotated[
        Path | None, option("--config", "FILE", "TOML file with these options by their long names.")
    ] = None,
    out: Annotated[Text, option("--out", "DIR", "Folder of the results.  [nastk-out]")] = None,
    seed: Annotated[Number, option("--seed", "N", "Random seed.  [0]")] = None,
    json_file: Annotated[Text, option("--json", "FILE", "Also write tidy rows to this file.")] = None,
    live: Annotated[
        bool | None,
        typer.Option("--live", help="On a terminal: the front so far, what is running, failures, the time left."),
    ] = None,
    threads: Annotated[Number, option("--threads", "N", "CPU threads when measuring here.  [1]")] = None,
    batch: Annotated[Number, option("--batch", "N", "Inputs per forward pass when measuring here.  [1]")] = None,
    runtime: Annotated[
        Text, option("--runtime", "NAME", "What runs the network here (nastk list runtimes).  [torch]")
    ] = None,
    precision: Annotated[
        Text, option("--precision", "P", "fp32, fp16, bf16 or int8; of fp32,int8 the search chooses.  [fp32]")
    ] = None,
    calibration: Annotated[
        Text, option("--calibration", "FILE.npy", "Inputs that int8 is calibrated on; else random ones.")
    ] = None,
    retries: Annotated[
        Number, option("--retries", "N", "Try an evaluation that failed for a passing reason again.  [1]")
    ] = None,
    count_failures: Annotated[
        bool | None, typer.Option("--count-failures", help="Count failed evaluations against the budget.")
    ] = None,
    local_sources: LocalSources = None,
    local_sources_time: LocalSourcesTime = None,
    accuracy: Annotated[
        Text, option("--accuracy", "FILE.py:FUNCTION", "Your own accuracy function, of a row or a network.")
    ] = None,
    train: Annotated[
        Text, option("--train", "'CMD ...'", "Instead: a command that trains, with {arch}, {epochs}, {folder}, {out}.")
    ] = None,
    data: Annotated[
        Text,
        option("--data", "D", "Instead: nastk trains on digits, plaid, a .npz, a folder of images, file.py:dataset."),
    ] = None,
    image_size: Annotated[
        Number, option("--image-size", "N", "Resize images to N x N pixels, series to N steps.")
    ] = None,
    epochs: Annotated[
        Text, option("--epochs", "N,M,...", "Of these trainings; all but the last are short trainings.  [30]")
    ] = None,
    pairs: Annotated[
        tuple[str, str] | None,
        option("--pairs", "EN.txt DE.txt", "Of hat, instead: sentences and translations; accuracy is a loss on them."),
    ] = None,
    weights: Annotated[
        bool | None,
        typer.Option("--weights/--no-weights", help="Keep the weights that --accuracy trains, as it does by default."),
    ] = None,
    supernet: Annotated[
        Text, option("--supernet", "METHOD", "Train a supernet on --data first, and pay only for what leads by it.")
    ] = None,
    supernet_steps: Annotated[
        Number, option("--supernet-steps", "N", "Of its training, or of that on --pairs.  [the method's]")
    ] = None,
    supernet_start: Annotated[
        bool | None, typer.Option("--supernet-start", help="Begin the trainings on --data with its weights.")
    ] = None,
    ship_supernet: Annotated[
        bool | None,
        typer.Option("--ship-supernet", help="Train nothing else: accuracies are those with its weights, which ship."),
    ] = None,
    workers: Annotated[
        Number, option("--workers", "N", "Evaluate in N processes here, each on a GPU where there are any.")
    ] = None,
    dask: Annotated[
        Text, option("--dask", "ADDRESS", "Evaluate on a Dask cluster: tcp://HOST:PORT, or local:N to start one.")
    ] = None,
    timeout: Annotated[
        Text, option("--timeout", "TIME", "End an evaluation after this time, such as 90s or 2h: it has failed.")
    ] = None,
    memory_limit: Annotated[
        Text, option("--memory-limit", "SIZE", "End an evaluation that uses more memory, such as 4GB: it has failed.")
    ] = None,
    time: Annotated[
        Text, option("--time", "TIME", "Begin no evaluation after this time, such as 8h; running ones are finished.")
    ] = None,
    cost: Annotated[
        Text, option("--cost", "TIME", "Begin no evaluation when all of the study's took this time together.")
    ] = None,
) -> None:
    """Search a space for the front of accuracy against latency, or other objectives.

    Without options: NAS-Bench-201 on this machine. Accuracy is the shipped predictor's estimate for CIFAR-10; latency
    is measured here on ten architectures, predicted for the rest, and measured again on the front.
    """
    given = {name: value for name, value in locals().items() if name not in ("config", "json_file")}
    from nastk.cli.config import RunOptions
    from nastk.cli.live import following
    from nastk.cli.progress import bar, follow
    from nastk.files import check_outputs, locked_folder

    options = RunOptions.gather({**given, "json": json_file}, config)
    description, by, until = options.describe(), options.by(), options.until()
    with locked_folder(options.out) as folder, ExitStack() as stack:
        from nastk import run
        from nastk.database import without_password
        from nastk.report.summary import FILES, NEXT, Summary, show_chart
        from nastk.report.text import printable

        # A user's function may change the working directory: where things are written is settled now.
        rows = None if options.json is None else Path(options.json).absolute()
        check_outputs([*(folder / name for name in (*FILES, NEXT)), rows])
        search = run.compose(description)
        stack.callback(search.close)
        search.evaluate_by(**by, logs=folder / "workers")  # a cluster that does not answer moves no earlier history
        place, process = _history(options, folder), os.getpid()
        mine = not (folder / f"{HISTORY}.db").exists()
        search.keep_in(place, options.study, bool(options.reuse))
        for note in search.history.notes:
            typer.echo(printable(f"nastk: {note}"), err=True)
        started = perf_counter()
        try:
            if search.sources is not None:
                typer.echo(printable(f"nastk: {search.sources.local.plan()}{LEAVE_OUT}"), err=True)
                with bar(None, "measuring here") as progress:
                    search.learn_sources(follow(progress))
                typer.echo(printable(f"nastk: {search.sources.said}"), err=True)
            if search.supernet is not None:
                typer.echo(printable(f"nastk: {search.supernet.plan}"), err=True)
                with bar(None, "supernet") as progress:
                    search.train_supernet(follow(progress))
                typer.echo(printable(f"nastk: {search.supernet.said}"), err=True)
            with following(search, bool(options.live)) as progress:
                search.search(progress, **until)
            with bar(None, "verifying the front") as progress:
                result = search.verify(follow(progress))
            seconds = perf_counter() - started
            result.command = without_password(shlex.join(["nastk", *sys.argv[1:]]))
            summary = Summary(result, search.description.seed)
            summary.write(folder, rows)
            to_measure = summary.write_next(folder)
        except KeyboardInterrupt as interrupt:
            ignore_signals()  # a second Ctrl-C finds nothing left to interrupt
            number = number_of(interrupt)
            raise Interrupted(f"{end_by(number)}; {_kept(search, options)}", number) from None
        except NastkError as error:
            if not len(search.history):
                raise
            raise NastkError(f"{error}; {_kept(search, options)}") from error
        except Exception as error:  # of a predictor or searcher of the user's, whose traceback she needs
            error.add_note(_kept(search, options))
            raise
        finally:
            search.close()
            # Only what this run made, and in which it has kept nothing; a process that a user's function forked off
            # has nothing to tidy up.
            if mine and options.storage is None and not len(search.history) and os.getpid() == process:
                for end in DATABASE_FILES:
                    (folder / f"{HISTORY}.db{end}").unlink(missing_ok=True)
    show_chart(summary.chart, typer.echo)
    failed = sum(row["count"] for row in result.failures)
    failures = f"{failed} evaluation{'s' * (failed > 1)} failed. " if failed else ""
    typer.echo(
        printable(f"Took {seconds:.0f} s. {failures}Written to {options.out}: {', '.join([*FILES, *to_measure])}")
    )
    for name in to_measure:
        typer.echo(printable(f"Files of these networks, for the device: {_next(options, name)}"))


def _next(options: RunOptions, table: str) -> str:
    """The command that writes the files of the networks of a table in the folder of the results."""
    space = [] if options.space is None else ["--space", options.space]
    listed = ["--archs-file", str(Path(options.out) / table)]
    return shlex.join(["nastk", "measure", *space, "--for-device", "more", *listed])


def _history(options: RunOptions, folder: Path) -> str | Path:
    """Where the history is kept; without --storage a file in the folder, where an earlier one gets a number unless its
    evaluations are used."""
    from nastk.database import UNSAVED
    from nastk.files import NETWORKS
    from nastk.report.text import printable

    if options.storage is not None:
        return options.storage
    path = folder / f"{HISTORY}.db"
    if (options.resume or options.reuse) and not path.exists():
        what = "resume" if options.resume else "reuse"
        typer.echo(printable(f"nastk: nothing to {what} in {options.out}; beginning anew"), err=True)
    if path.exists() and not options.resume and not options.reuse:
        number = next(i for i in range(1, 1_000_000) if not (folder / f"{HISTORY}-{i}.db").exists())
        for end in (*DATABASE_FILES, UNSAVED, NETWORKS):
            if (old := folder / f"{HISTORY}.db{end}").exists():
                old.rename(folder / f"{HISTORY}-{number}.db{end}")
        kept = f"{options.out}/{HISTORY}-{number}.db"
        typer.echo(printable(f"nastk: the earlier history is now {kept}; --storage {kept} goes on with it"), err=True)
    return path


def _kept(search: Run, options: RunOptions) -> str:
    """After an early end: what is kept, and how to go on."""
    from nastk.database import without_password

    count = len(search.history)
    if not count and search.sources is not None and search.sources.local.measured:
        return f"nothing had been evaluated yet; what was measured here is kept in {search.sources.local.folder}"
    if not count and search.supernet is not None and (search.supernet.kept.is_begun or search.supernet.is_kept):
        return f"nothing had been evaluated yet; the supernet so far is kept in {search.supernet.kept.folder}"
    if not count:
        return "nothing had been evaluated yet"
    words = [word for word in sys.argv[1:] if word != "--resume"]
    again = shlex.join(["nastk", *words, *(["--resume"] if options.storage is None else [])])
    evaluations = f"{count} evaluation{'s are' if count > 1 else ' is'}"
    return f"{evaluations} kept in {search.history.place}; to go on: {without_password(again)}"
