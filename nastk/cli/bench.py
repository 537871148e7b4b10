"""``nastk bench``: predictors and searchers side by side on real tables, over many seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nastk.cli import comparisons
from nastk.cli.options import (
    MOST_WORKERS,
    Json,
    Precision,
    Runtime,
    Seed,
    Threads,
    Workers,
    count,
    integers,
    seconds,
    words,
)

app = typer.Typer(no_args_is_help=True, help="Measure sample efficiency on real tables, over many seeds.")


@app.callback()
def _group() -> None:
    """Makes typer require the name of the command even if there is only one."""


app.command("search")(comparisons.search)
app.command("predict")(comparisons.predict)


@app.command("workers")
def workers(
    searcher: Annotated[str, typer.Option("--searcher", metavar="X", help="Its name.")] = "predictor",
    evaluations: Annotated[int, count("--evaluations", "Of each expensive objective.")] = 24,
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="S", min=0.0, help="That each evaluation takes.")
    ] = 0.2,
    pool: Annotated[
        int, typer.Option("--workers", metavar="N", min=1, max=MOST_WORKERS, help="Threads, and processes.")
    ] = 4,
    batch: Annotated[int, count("--batch", "Proposals at a time of the inline search.")] = 1,
    repeats: Annotated[int, count("--repeats", "Random seeds 0 to N - 1.")] = 3,
    objectives: Annotated[
        list[str] | None,
        typer.Option("--objective", metavar="O", help="METRIC[:DEVICE], repeated; by default accuracy and a latency."),
    ] = None,
    ways: Annotated[
        str,
        typer.Option("--ways", metavar="A,B,...", help="Of threads, processes, isolated (--workers) and dask."),
    ] = "threads,processes,isolated",
    after: Annotated[int, count("--after", "Leave out the first N evaluations.", least=0)] = 0,
    json_file: Json = None,
) -> None:
    """How much time workers save: one search inline, and by workers of each sort."""
    from nastk.bench.workers import METRICS, compare
    from nastk.cli.progress import bar, follow
    from nastk.files import check_outputs
    from nastk.report.rows import write_json
    from nastk.report.tables import show

    check_outputs([json_file])
    with bar(None, "searching") as progress:
        rows = compare(
            searcher=searcher,
            evaluations=evaluations,
            seconds=seconds,
            workers=pool,
            batch=batch,
            repeats=repeats,
            progress=follow(progress),
            ways=words("--ways", ways),
            after=after,
            metrics=objectives or METRICS,
        )
    if json_file is not None:
        write_json(json_file, rows)
    ratios, speedups = (
        {r["method"]: r for r in rows if r["metric"] == metric} for metric in ("ratio_to_inline", "speedup")
    )
    shown = [
        {"method": r["method"], "seconds": r["mean"], "of inline": ratios[r["method"]]["mean"]}
        | {"ci95": ratios[r["method"]]["ci95"], "times as fast": speedups[r["method"]]["mean"]}
        for r in rows
        if r["metric"] == "seconds"
    ]
    title = f"{searcher}: {rows[0]['evaluations']} evaluations of {seconds:g} s, {pool} workers, {repeats} seeds"
    show(shown, title=title)


@app.command("storage")
def storage(
    records: Annotated[int, count("--records", "Of the study.")] = 100_000,
    url: Annotated[
        str | None,
        typer.Option("--storage", metavar="URL", help="A database for them; by default a new file, removed again."),
    ] = None,
    json_file: Json = None,
) -> None:
    """What a history in a database costs: processor time to write and to open it, and memory."""
    from nastk.bench.storage import WAYS, run
    from nastk.cli.progress import bar, follow
    from nastk.files import check_outputs
    from nastk.report.rows import write_json
    from nastk.report.tables import show

    check_outputs([json_file])
    with bar(len(WAYS), "writing") as progress:
        rows = run(records, url, follow(progress))
    if json_file is not None:
        write_json(json_file, rows)
    values = {(r["method"], r["metric"]): r["mean"] for r in rows}
    shown = [
        {
            "records are written": name,
            "as of values that are": said,
            "write: s of processor": values[name, "write_cpu_seconds"],
            "write: s": values[name, "write_seconds"],
            "open: s of processor": values[name, "open_cpu_seconds"],
            "open: s": values[name, "open_seconds"],
            "memory: MB": values[name, "memory_mb"],
        }
        for name, said, _ in WAYS
    ]
    show(shown, title=f"{records:,} records in {rows[0]['database']}")


@app.command("overhead")
def overhead(
    space: Annotated[
        str, typer.Option("--space", metavar="S", help="Space of a table; with --functions any, or file.py:Class.")
    ] = "nasbench201",
    dataset: Annotated[
        str | None, typer.Option("--dataset", metavar="D", help="Data set of the table; by default its first.")
    ] = None,
    objectives: Annotated[
        list[str] | None,
        typer.Option("--objective", metavar="O", help="[max:|min:]METRIC[:DEVICE], repeated.  [test_accuracy]"),
    ] = None,
    functions: Annotated[
        int, count("--functions", "Instead of a table: N made-up functions of the choices.", least=0)
    ] = 0,
    observations: Annotated[
        str, typer.Option("--observations", metavar="N,M,...", help="Evaluations known before the clock begins.")
    ] = "100,300,1000,3000",
    searcher: Annotated[str, typer.Option("--searcher", metavar="X", help="See nastk list searchers.")] = "predictor",
    predictor: Annotated[
        str | None, typer.Option("--predictor", metavar="P", help="Predictor for the expensive objectives.")
    ] = None,
    proposals: Annotated[int, count("--proposals", "That are timed.")] = 20,
    batch: Annotated[int | None, count("--batch", "Proposals per step; by default 1, or 5 for a front.")] = None,
    seed: Seed = 0,
    json_file: Json = None,
) -> None:
    """What proposing costs on one thread: processor seconds an evaluation, and memory, by number of observations."""
    from nastk.bench.overhead import run_all
    from nastk.cli.progress import bar, follow
    from nastk.files import check_outputs
    from nastk.report.rows import write_json
    from nastk.report.tables import show

    check_outputs([json_file])
    counts = integers("--observations", observations)
    with bar(len(counts), "proposing") as progress:
        rows = run_all(
            space,
            dataset,
            objectives or ["test_accuracy"],
            functions,
            counts,
            searcher,
            predictor,
            proposals,
            batch,
            seed,
            follow(progress),
        )
    if json_file is not None:
        write_json(json_file, rows)
    values = {(r["samples"], r["metric"]): r["mean"] for r in rows}
    shown = [
        {
            "observations": n,
            "s of processor an evaluation": values[n, "cpu_seconds"],
            "s of the first ask": values[n, "first_cpu_seconds"],
            "peak memory: MB": values[n, "peak_mb"],
        }
        for n in counts
    ]
    what = f"{rows[0]['batch']} at a time, {proposals} proposals timed"
    show(shown, title=f"{searcher} on {space}, {rows[0]['searched']}; {what}")


@app.command("local-sources")
def local_sources(
    space: Annotated[str, typer.Option("--space", metavar="S", help="Space, or file.py:Class.")] = "nasbench201",
    networks: Annotated[int, count("--networks", "To adapt to and to test on, in all settings.", least=10)] = 60,
    sources: Annotated[int, count("--sources", "Other networks, measured as sources.", least=20)] = 200,
    sources_time: Annotated[
        str, typer.Option("--sources-time", metavar="TIME", help="Time limit of the sources, such as 90s or 5m.")
    ] = "10m",
    settings: Annotated[
        str | None,
        typer.Option(
            "--settings", metavar="A,B,...", help="Remote devices, such as 'onnx int8,torch batch 8'; by default seven."
        ),
    ] = None,
    build: Annotated[
        str | None, typer.Option("--build", metavar="K=N,...", help="Options of the networks, such as channels=8.")
    ] = None,
    adapt: Annotated[int, count("--adapt", "Measurements of the remote device.", least=2)] = 10,
    draws: Annotated[int, count("--draws", "How often, each among others.", least=2)] = 10,
    seed: Seed = 0,
    source_file: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Measure nothing: evaluate the latencies that --keep wrote."),
    ] = None,
    keep: Annotated[
        Path | None, typer.Option("--keep", metavar="FILE", help="Write the latencies to this file.")
    ] = None,
    json_file: Json = None,
) -> None:
    """What networks measured here are worth as source devices: each setting of this machine in turn as the remote."""
    from nastk.bench import local_sources as bench
    from nastk.cli.progress import bar, follow
    from nastk.errors import InvalidValue
    from nastk.files import check_outputs
    from nastk.report.rows import write_json
    from nastk.report.tables import show
    from nastk.report.text import printable

    check_outputs([json_file, keep])
    if source_file is not None:
        if build is not None or settings is not None or keep is not None:
            raise InvalidValue("--from measures nothing; leave out --build, --settings and --keep")
        found = bench.Latencies.read(source_file)
    else:
        with bar(None, "measuring") as progress:
            found = bench.measure(
                space,
                networks,
                sources,
                seconds("--sources-time", sources_time),
                None if settings is None else words("--settings", settings),
                keep,
                seed,
                follow(progress),
                **build_options(build),
            )
    rows = bench.evaluate(found, adapt, draws)
    if json_file is not None:
        write_json(json_file, rows)
    for setting, reason in found.left_out.items():
        typer.echo(printable(f"left out: {setting}: {reason}"), err=True)
    counts = ", ".join(f"{name} ({len(of['ms'])})" for name, of in found.sources.items())
    title = (
        f"{found.space}: {adapt} measurements of each setting as the remote device, {draws} draws; sources: {counts}"
    )
    show(bench.table(rows), title=f"{title}\nSpearman / median error %; differences to from-scratch, Wilcoxon's p")


def build_options(text: str | None) -> dict[str, int]:
    """Options of networks in a text like ``channels=8,input_size=16``."""
    from nastk.errors import InvalidValue

    found = {}
    for part in words("--build", text) if text is not None else []:
        name, equals, number = part.partition("=")
        if not equals or not name.isidentifier() or not (number.isascii() and number.isdigit()) or len(number) > 9:
            raise InvalidValue(f"--build {text!r}: write options and whole numbers, such as channels=8,input_size=16")
        found[name] = int(number)
    return found


@app.command("delivered")
def delivered(
    space: Annotated[str, typer.Option("--space", metavar="S", help="Space, or file.py:Class.")] = "nasbench201",
    objective: Annotated[
        str, typer.Option("--objective", metavar="O", help="Beside latency, free: accuracy (estimates), max:params ...")
    ] = "accuracy",
    seeds: Annotated[int, count("--seeds", "Number of random seeds, from 0.")] = 10,
    limits: Annotated[
        str, typer.Option("--limits", metavar="P,Q,...", help="Limits: percentiles of random networks' latencies.")
    ] = "20,40,60",
    sample: Annotated[int, count("--sample", "Random networks that tell them.", least=5)] = 24,
    measurements: Annotated[int, count("--measurements", "Latencies of each search.", least=2, metavar="K")] = 10,
    verify: Annotated[int, count("--verify", "Front members that each measures again.")] = 12,
    measuring: Annotated[
        float, typer.Option("--seconds", metavar="S", min=0.05, help="Processor time of each network's measurement.")
    ] = 0.6,
    runtime: Runtime = "torch",
    precision: Precision = "fp32",
    threads: Threads = 1,
    again: Annotated[
        str, typer.Option("--again", metavar="TIME", help="After the last search: when all is measured again.")
    ] = "10m",
    later: Annotated[
        bool, typer.Option("--later", help="Do not wait for that: with --out the same command goes on.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder of finished searches, which are not repeated.")
    ] = None,
    json_file: Json = None,
) -> None:
    """How much of what searches deliver keeps their latency limit, measured again at once and minutes later.

    hypervolume_of_best_feasible compares each delivery with the best front of what all the searches measured together;
    hypervolume_of_best_of_its_own with the best of what that search measured.
    """
    from time import sleep

    from nastk.bench import delivered as bench
    from nastk.cli.progress import bar, follow
    from nastk.errors import InvalidValue
    from nastk.files import check_outputs
    from nastk.report.rows import write_json
    from nastk.report.tables import show

    check_outputs([json_file], [out])
    percentiles = integers("--limits", limits)
    if not all(0 < p < 100 for p in percentiles):
        raise InvalidValue(f"--limits {limits}: percentiles are from 1 to 99")
    if later and out is None:
        raise InvalidValue("--later goes on with what --out keeps; name a folder")
    setting = bench.Setting(
        space, objective, seeds, tuple(p / 100 for p in percentiles), sample, measurements, verify, measuring, runtime,
        precision, threads,
    )  # fmt: skip
    with bar(None, "searching") as progress:
        wait = None if later else sleep
        rows = bench.compare(setting, seconds("--again", again), out, follow(progress), wait)
    if not rows:
        typer.echo(f"The searches are in {out}; the same command, {again} after the last, measures what they delivered")
        return
    if json_file is not None:
        write_json(json_file, rows)
    shown = [{k: row.get(k) for k in ("method", "metric", "mean", "ci95", "least", "n", "reference")} for row in rows]
    show(shown, title=f"{space}: {rows[0]['searches']} searches for {objective} x latency with a latency limit")


@app.command("zcp")
def zcp(
    space: Annotated[str, typer.Option("--space", metavar="S", help="Whose networks.")] = "nasbench201",
    networks: Annotated[int, count("--networks", "Random architectures.", least=2)] = 3,
    batch: Annotated[str, typer.Option("--batch", metavar="digits|random", help="Images looked at.")] = "digits",
    batch_size: Annotated[int, count("--batch-size", "Images.")] = 64,
    proxies: Annotated[
        str | None, typer.Option("--proxies", metavar="A,B,...", help="See nastk list proxies; by default all.")
    ] = None,
    agreement: Annotated[int, count("--agreement", "Instead: agreement with the table, N networks.", least=0)] = 0,
    initialisations: Annotated[int, count("--initialisations", "With --agreement: how many, for averages.")] = 1,
    accuracies: Annotated[
        int, count("--accuracies", "Instead: rank correlation with the table's accuracies, N networks.", least=0)
    ] = 0,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", metavar="N", min=1, max=MOST_WORKERS, help="With --agreement or --accuracies: processes."
        ),
    ] = None,
    memory: Annotated[bool, typer.Option("--memory", help="Instead: peak memory of each.")] = False,
    json_file: Json = None,
) -> None:
    """Cost of each zero-cost proxy, and of all in one pass, relative to a forward and backward pass."""
    from nastk.bench import proxy_accuracies, proxy_agreement, proxy_cost
    from nastk.cli.progress import bar, follow
    from nastk.files import check_outputs
    from nastk.report.rows import write_json
    from nastk.report.tables import show

    check_outputs([json_file])
    with bar(None, "timing") as progress:
        names = None if proxies is None else words("--proxies", proxies)
        if agreement:
            rows = proxy_agreement.run(
                space, agreement, initialisations, names, batch, batch_size, workers=workers, progress=follow(progress)
            )
        elif accuracies:
            rows = proxy_accuracies.run(
                space, accuracies, names, batch, batch_size, workers=workers, progress=follow(progress)
            )
        else:
            cost = proxy_cost.memory if memory else proxy_cost.run
            rows = cost(space, networks, batch_size, names, batch=batch, progress=follow(progress))
    if json_file is not None:
        write_json(json_file, rows)
    if agreement:
        averaged = {r["method"]: r["mean"] for r in rows if r["metric"] == "spearman_with_table_averaged"}
        compared = [
            {"proxy": r["method"], "spearman": r["mean"], "ci95": r["ci95"]}
            | ({"averaged": averaged[r["method"]]} if averaged else {})
            | {"bar": r["reference"]}
            for r in rows
            if r["metric"] == "spearman_with_table"
        ]
        counts = sorted({r["samples"] for r in rows})
        many = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        show(compared, title=f"{space}: {many} networks ranked here and by the published table")
        return
    if accuracies and not agreement:
        gains = {r["method"]: r["mean"] for r in rows if r["metric"] == "ndcg" and r["dataset"] == "*"}
        ranked: dict[str, dict[str, Any]] = {name: {"proxy": name} for name in gains}
        for r in rows:
            if r["metric"] == "spearman":
                ranked[r["method"]] |= {"mean" if r["dataset"] == "*" else r["dataset"]: r["mean"]}
        found = [row | {"ndcg": gains[name]} for name, row in ranked.items()]
        found.sort(key=lambda row: -row["mean"])
        show(found, title=f"{space}: Spearman with the accuracies of {accuracies} networks, mean nDCG")
        return
    if memory:
        peaks = [r for r in rows if r["metric"] == "peak_bytes"]
        largest = max(r["mean"] for r in peaks if r["method"] != "all")
        taken = [
            {"proxy": r["method"], "megabytes": r["mean"] / 1e6, "of the largest": r["mean"] / largest} for r in peaks
        ]
        show(taken, title=f"{space}, batch {batch_size}, {networks} networks: increase of peak memory")
        return
    seconds = {row["method"]: row["mean"] for row in rows if row["metric"] == "seconds"}
    shown = [
        {"proxy": r["method"], "of one pass": r["mean"], "ci95": r["ci95"], "seconds": seconds[r["method"]]}
        for r in rows
        if r["metric"] != "seconds"
    ]
    show(shown, title=f"{space}, batch {batch_size}, {networks} networks, one thread: cost in forward+backward passes")


@app.command("supernet")
def supernet(
    space: Annotated[
        str, typer.Option("--space", metavar="S", help="Space, or file.py:Class; four-blocks is this benchmark's own.")
    ] = "four-blocks",
    data: Annotated[
        str, typer.Option("--data", metavar="D", help="digits, mnist-5k, a .npz, a folder of images, file.py:dataset.")
    ] = "digits",
    image_size: Annotated[
        int | None, typer.Option("--image-size", metavar="N", min=1, help="Resize images to N x N, series to N steps.")
    ] = None,
    train_images: Annotated[int, count("--train-images", "Images to train on; few, so that networks differ.")] = 300,
    steps: Annotated[int, count("--steps", "Of a stand-alone training.")] = 150,
    batch: Annotated[int, count("--batch", "Images a step of it.", least=2)] = 64,
    rate: Annotated[float, typer.Option("--rate", metavar="R", help="Its learning rate, annealed by a cosine.")] = 4e-3,
    networks: Annotated[int, count("--networks", "Random networks, each trained alone.", least=4)] = 150,
    repeats: Annotated[int, count("--repeats", "Trainings of each, whose mean is what ratings are compared with.")] = 1,
    twice: Annotated[
        int | None, count("--twice", "Of them trained as often again, with other seeds.  [30, or all]", least=3)
    ] = None,
    seeds: Annotated[int, count("--seeds", "Random seeds of each method.")] = 5,
    seed: Seed = 0,
    samples: Annotated[int, count("--samples", "Trainings that gp-bma learns from.", least=2)] = 10,
    methods: Annotated[
        str | None,
        typer.Option(
            "--methods",
            metavar="A,B,...",
            help="params, flops, votes, supernets such as single-path@steps=900, gp-bma, gp-bma+SUPERNET; by default "
            "all.",
        ),
    ] = None,
    largest: Annotated[
        int,
        count(
            "--largest",
            "Trainings of the largest network alone, as long as the supernet's, which its accuracy there is beside.",
            least=0,
        ),
    ] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder of finished trainings, which are not repeated.")
    ] = None,
    workers: Workers = None,
    json_file: Json = None,
) -> None:
    """How well supernets rank networks that were trained alone, beside params, FLOPs, zero-cost votes and gp-bma."""
    from nastk.bench import supernet as bench
    from nastk.bench.stand_alone import Trainings
    from nastk.cli.progress import bar, follow
    from nastk.files import check_outputs
    from nastk.report.rows import write_json
    from nastk.report.tables import show
    from nastk.report.text import printable

    check_outputs([json_file], [out])
    setting = Trainings(space, data, image_size, train_images, steps, batch, rate)
    names = None if methods is None else words("--methods", methods)
    with bar(None, "training") as progress:
        rows, truth, left_out = bench.compare(
            setting, names, networks, seeds, seed, samples, twice, out, workers, follow(progress), repeats, largest
        )
    if json_file is not None:
        write_json(json_file, rows)
    if out is not None:
        write_json(out / "rows.json", rows)
    for name, reason in [*left_out.items(), *truth.reasons.items()]:
        typer.echo(printable(f"left out: {name}: {reason}"), err=True)
    least, most = truth.accuracy.min(), truth.accuracy.max()
    typer.echo(
        f"{len(truth.archs)} networks of {printable(truth.space.name)} trained alone on {printable(data)}: "
        f"{least:.1f} to {most:.1f} %, {truth.seconds.mean():.1f} s of the processor each"
    )
    what = "two trainings with different seeds" if repeats == 1 else f"the means of {repeats} and {repeats} trainings"
    typer.echo(f"rank correlation of {what}: {truth.reliability:.2f} ({rows[0]['seeds']} networks)")
    if not truth.reliability >= bench.RELIABLE:
        typer.echo(
            f"warning: below {bench.RELIABLE}, the trainings themselves rank noise, and what is below says little: "
            "compare with the mean of more --repeats, or train for more or fewer --steps",
            err=True,
        )
    show(bench.table(rows), title=f"ratings and accuracy: {seeds} seeds from {seed}; rho is Spearman's")
    if lines := bench.largest_table(rows):
        show(lines, title="the largest network, with shared weights and trained alone for as many steps")


@app.command("supernet-search")
def supernet_search(
    budgets: Annotated[str, typer.Option("--budgets", metavar="N,M,...", help="Total costs, in trainings.")] = "20,60",
    seeds: Annotated[int, count("--seeds", "Number of searches with each.")] = 5,
    first: Annotated[int, count("--first", "First of their seeds.", least=0)] = 0,
    supernet: Annotated[
        str, typer.Option("--supernet", metavar="METHOD", help="See nastk list supernets.")
    ] = "sandwich",
    steps: Annotated[int | None, count("--steps", "Of its training; by default the method's own.")] = None,
    searchers: Annotated[
        str, typer.Option("--searchers", metavar="X,Y,...", help="With and without it, as far as they can use it.")
    ] = "random,pymoo:nsga2,predictor,multi-fidelity",
    pool: Annotated[int, count("--pool", "Networks of the table, each trained once.", least=10)] = 200,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder of finished trainings, which are not repeated.")
    ] = Path("nastk-supernet-search"),
    json_file: Json = None,
) -> None:
    """Fronts of searches with and without a supernet at equal total cost, its training counted in trainings."""
    from nastk.bench import supernet_search as bench
    from nastk.cli.progress import bar, follow
    from nastk.files import check_outputs
    from nastk.report.rows import write_json
    from nastk.report.tables import show

    totals, names = integers("--budgets", budgets), words("--searchers", searchers)
    check_outputs([json_file], [out])
    with bar(None, "supernet-search") as progress:
        table, found = bench.compare(
            out, totals, seeds, supernet, steps, names, pool, progress=follow(progress), first=first
        )
    rows = bench.rows(table, found)
    if json_file is not None:
        write_json(json_file, rows)
    shown = [{name: row[name] for name in ("method", "samples", "metric", "mean", "ci95", "seeds")} for row in rows]
    show(shown, title=f"{len(table.told)} networks of {table.trainings.data.name}: hypervolume relative to the table's")
