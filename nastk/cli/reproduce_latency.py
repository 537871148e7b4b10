"""``nastk reproduce latency`` and ``hat-latency``: few-shot latency predictors on devices that were left out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nastk.cli.options import Interrupted, Json, Workers, count, integers, keep_finished, words
from nastk.errors import InvalidValue


def latency(
    tasks: Annotated[
        str | None,
        typer.Option(
            "--tasks",
            metavar="A,B,...",
            help="ND, NA, N1-N4, FD, FA, F1-F4, NB201-FBNet, FBNet-NB201.",
            show_default="ND,FD,FA,F1,F2,F3,F4,NA",
        ),
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option("--methods", metavar="X,Y,...", help="Methods of the comparison, predictors, or file.py:Class."),
    ] = None,
    samples: Annotated[
        str | None,
        typer.Option(
            "--samples",
            metavar="N,M,...",
            help="Measurements of the target device.",
            show_default="3,5,10,20; with --unseen 5,10,20",
        ),
    ] = None,
    seeds: Annotated[int, count("--seeds", "Number of random seeds, of sources and samples.")] = 10,
    first_seed: Annotated[int, count("--first-seed", "The first of them.", least=0)] = 0,
    source_samples: Annotated[
        str | None,
        typer.Option("--source-samples", metavar="N,M,...", help="Architectures per source device."),
    ] = None,
    source_share: Annotated[
        float | None,
        typer.Option(
            "--source-share", metavar="F", help="Between spaces: this fraction of the source, .15 in the paper."
        ),
    ] = None,
    sampler: Annotated[
        str | None, typer.Option("--sampler", metavar="S", help="Sampler of the measurements, for all methods.")
    ] = None,
    space: Annotated[
        str, typer.Option("--space", metavar="S", help="Of --sources and --targets, or --random-sets.")
    ] = "nasbench201",
    sources: Annotated[
        str | None, typer.Option("--sources", metavar="A,B,...", help="Source devices of a set of your own.")
    ] = None,
    targets: Annotated[
        str | None, typer.Option("--targets", metavar="C,D,...", help="Target devices of a set of your own.")
    ] = None,
    random_sets: Annotated[
        int | None, typer.Option("--random-sets", metavar="N", min=1, help="N random sets of 5 sources and 5 targets.")
    ] = None,
    max_correlation: Annotated[
        float | None,
        typer.Option("--max-correlation", metavar="RHO", help="Only sources that rank no closer to the target."),
    ] = None,
    min_correlation: Annotated[
        float | None,
        typer.Option("--min-correlation", metavar="RHO", help="With it: and no farther from the target."),
    ] = None,
    unseen: Annotated[
        bool,
        typer.Option("--unseen", help="Instead: every device of all fetched tables, from sources of other families."),
    ] = False,
    families: Annotated[
        str | None,
        typer.Option("--families", metavar="A,B,...", help="With --unseen: families of devices; by default all."),
    ] = None,
    measured: Annotated[
        list[Path] | None,
        typer.Option("--measured", metavar="FILE", help="With --unseen: also what bench local-sources --keep wrote."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder of finished runs, which are not repeated, and of the rows."),
    ] = None,
    workers: Workers = None,
    figures: Annotated[
        Path | None, typer.Option("--figures", metavar="DIR", help="Also draw the curves here (PNG, SVG, PDF).")
    ] = None,
    json_file: Json = None,
) -> None:
    """Few-shot latency predictors on the literature's device sets: Spearman correlation, published and ours."""
    if unseen:
        given = {
            "--tasks": tasks, "--source-samples": source_samples, "--sampler": sampler, "--figures": figures,
            "--sources": sources, "--targets": targets, "--random-sets": random_sets,
            "--max-correlation": max_correlation, "--min-correlation": min_correlation, "--source-share": source_share,
            "--out": out, "--first-seed": first_seed or None,
        }  # fmt: skip
        _refuse(given, "is not an option of --unseen, which has all devices and draws no curves")
        _unseen(methods, samples, seeds, families, measured or [], workers, json_file)
        return
    _refuse({"--families": families, "--measured": measured}, "is an option of --unseen")
    from nastk.bench import latency as comparison
    from nastk.bench.device_sets import all_far_sets
    from nastk.cli.progress import bar, follow
    from nastk.files import check_outputs
    from nastk.report.rows import write_json
    from nastk.report.tables import show
    from nastk.reproduce import cross_space, latency_tables

    own = sources is not None or targets is not None or random_sets is not None
    wanted = [] if tasks is None and own else list(comparison.DEFAULT_TASKS)
    wanted = wanted if tasks is None else words("--tasks", tasks)
    named = list(comparison.DEFAULT_METHODS) if methods is None else words("--methods", methods)
    counts = list(comparison.SAMPLES) if samples is None else integers("--samples", samples)
    sizes = None if source_samples is None else integers("--source-samples", source_samples)
    check_outputs([json_file], [figures, out])
    journal = None if out is None else out / "runs.jsonl"
    sets = _device_sets(space, sources, targets, random_sets)
    wanted = [*wanted, *sets]
    if max_correlation is not None:
        sets = all_far_sets(wanted, sets, max_correlation, min_correlation)
        wanted = list(sets)
    elif min_correlation is not None:
        raise InvalidValue("--min-correlation goes with --max-correlation, the farthest and the closest of the sources")
    between = [task for task in wanted if task in cross_space.PAIRS]
    within = [task for task in wanted if task not in between]
    if source_share is not None and within:
        raise InvalidValue(f"--source-share is of NB201-FBNet and FBNet-NB201, not of {', '.join(within)}")
    rows: list[dict[str, Any]] = []

    def keep(some: list[dict[str, Any]]) -> None:
        if out is not None:
            raise Interrupted(f"interrupted; the finished runs are in {out}, and the same command goes on")
        keep_finished(json_file, [*rows, *some])

    with bar(None, "adapting") as progress:
        if within:
            rows += comparison.run(
                within, named, counts, seeds, sizes, sampler, workers=workers, progress=follow(progress), partial=keep,
                sets=sets, journal=journal, first=first_seed,
            )  # fmt: skip
        if between:
            rows += cross_space.run(
                between, named, counts, seeds, sizes, workers=workers, progress=follow(progress), journal=journal,
                share=source_share, first=first_seed,
            )  # fmt: skip
    for file in [json_file, None if out is None else out / "rows.json"]:
        if file is not None:
            write_json(file, rows)
    for task in within:
        whole, lacking = comparison.missing(comparison.device_set_of(task, sets))
        if lacking:
            what = "is not run" if whole else "is run without them"
            typer.echo(f"{task}: no table has {', '.join(lacking)}; it {what} ({comparison.CURE})")
    for title, lines in latency_tables.tables(rows):
        show(lines, title=title)
    show(latency_tables.means(rows), title="Mean over each task's devices, with 95 % intervals")
    if figures is not None:
        drawn = latency_tables.draw(rows, figures, between)
        typer.echo(f"drawn: {', '.join(drawn)} in {figures}")


def _device_sets(space: str, sources: str | None, targets: str | None, count: int | None) -> dict[str, Any]:
    """The device sets of these options, by name."""
    from nastk.bench.device_sets import device_set, random_sets

    if (sources is None) != (targets is None):
        raise InvalidValue("--sources and --targets belong together: devices to learn from, and to predict")
    found: dict[str, Any] = {}
    if sources is not None and targets is not None:
        found["own"] = device_set(space, words("--sources", sources), words("--targets", targets))
    return found if count is None else {**found, **random_sets(space, count)}


def _refuse(given: dict[str, Any], why: str) -> None:
    for option, value in given.items():
        if value is not None:
            raise InvalidValue(f"{option} {why}")


def _unseen(
    methods: str | None,
    samples: str | None,
    draws: int,
    families: str | None,
    measured: list[Path],
    workers: int | None,
    json_file: Path | None,
) -> None:
    from nastk.bench import unseen_devices as comparison
    from nastk.cli.progress import bar, follow
    from nastk.files import check_outputs
    from nastk.report.rows import write_json
    from nastk.report.tables import show

    named = list(comparison.DEFAULT_METHODS) if methods is None else words("--methods", methods)
    counts = list(comparison.SAMPLES) if samples is None else integers("--samples", samples)
    wanted = list(comparison.FAMILIES) if families is None else words("--families", families)
    check_outputs([json_file], [])
    for lacking in comparison.devices(wanted)[1]:
        typer.echo(f"left out: {lacking}")

    def keep(some: list[dict[str, Any]]) -> None:
        keep_finished(json_file, comparison.tidy(some))

    partial = None if json_file is None else keep
    with bar(None, "adapting") as progress:
        rows = comparison.run(
            named, counts, draws, wanted, measured=measured, workers=workers, progress=follow(progress), partial=partial
        )
    if json_file is not None:
        write_json(json_file, comparison.tidy(rows))
    show(comparison.means(rows), title="Mean over each family's devices, with 95 % intervals over draws")
    show(comparison.means(rows, ()), title="Mean over all devices")
    first = named[0]
    if len(named) > 1:
        show(comparison.differences(rows, first), title=f"{first} minus each other method, paired by device")
        worse = comparison.worse(rows, first)
        if worse:
            title = f"Where {first} is worse by more than {comparison.WORSE} or {comparison.TIMES} times the error"
            show(worse, title=title)
    show(comparison.stated(rows, first), title=f"The error that {first} expects, and the true one")


def hat_latency(
    samples: Annotated[
        str, typer.Option("--samples", metavar="N,M,...", help="Measurements of a file of the device left out.")
    ] = "10",
    seeds: Annotated[int, count("--seeds", "Number of random seeds, from 0, of sources and measurements.")] = 10,
    calculated: Annotated[
        bool,
        typer.Option(
            "--calculated/--no-calculated",
            help="Also learn from calculated latencies; they take minutes of processor time in each process.",
        ),
    ] = True,
    workers: Workers = None,
    json_file: Json = None,
) -> None:
    """Few-shot latency of HAT's translators: each device left out, beside a ridge on 1,600 measurements of its own."""
    from nastk.bench import hat_latency as comparison
    from nastk.cli.progress import bar, follow
    from nastk.files import check_outputs
    from nastk.report.rows import write_json
    from nastk.report.tables import show

    check_outputs([json_file], [])
    counts = integers("--samples", samples)

    def keep(some: list[dict[str, Any]]) -> None:
        keep_finished(json_file, some, "devices and seeds")

    with bar(None, "adapting") as progress:
        rows = comparison.run(
            counts, seeds, workers=workers, progress=follow(progress), partial=keep, calculated=calculated
        )
    if json_file is not None:
        write_json(json_file, rows)
    of = f"{rows[0]['seeds']} seed{'s' if rows[0]['seeds'] > 1 else ''}"
    show(comparison.table(rows), title=f"Spearman over all other networks and within six decoder layers, {of}")
