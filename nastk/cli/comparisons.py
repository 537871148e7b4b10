"""``nastk bench search`` and ``nastk bench predict``: searchers, or predictors, side by side on tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nastk.cli.options import Json, Workers, count, integers, words

if TYPE_CHECKING:
    from nastk.bench.ranks import Ranks

Tables = Annotated[
    str,
    typer.Option(
        "--space", metavar="S[@D],...", help="Spaces of tables, each with its data set after an @ if not the first."
    ),
]
Dataset = Annotated[
    str | None, typer.Option("--dataset", metavar="D", help="Data set of the table; by default its first.")
]
Devices = Annotated[
    str | None,
    typer.Option("--devices", metavar="A,B,...", help="Devices of the table, one problem each; 'all' for all."),
]
Sources = Annotated[
    str | None,
    typer.Option("--sources", metavar="A,B,...", help="Source devices of few-shot predictors, if not the table's."),
]
WithProxies = Annotated[
    bool, typer.Option("--with-proxies", help="Only architectures with zero-cost proxies in the table.")
]
Seeds = Annotated[int, count("--seeds", "Number of random seeds, from 0.")]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Folder of finished runs (not repeated), figures, tables, page."),
]


def search(
    space: Tables = "nasbench201",
    dataset: Dataset = None,
    objectives: Annotated[
        list[str] | None,
        typer.Option(
            "--objective",
            metavar="O",
            help="[max:|min:]METRIC[:DEVICE][@EPOCHS], repeated; by default the table's accuracy, and latency.",
        ),
    ] = None,
    devices: Devices = None,
    report: Annotated[
        str | None, typer.Option("--report", metavar="METRIC", help="Accuracy to report of results.")
    ] = None,
    searchers: Annotated[
        str,
        typer.Option("--searchers", metavar="X[@P],...", help="See nastk list searchers; with a predictor after an @."),
    ] = "random,pymoo:nsga2,pareto-local-search,predictor",
    budgets: Annotated[
        str, typer.Option("--budgets", metavar="N,M,...", help="Numbers of expensive evaluations at which to compare.")
    ] = "20,50,100",
    seeds: Seeds = 10,
    measurements: Annotated[
        int, count("--measurements", "Latencies for a searcher with a predictor.", least=2, metavar="K")
    ] = 10,
    sources: Sources = None,
    predictor: Annotated[
        str | None,
        typer.Option("--predictor", metavar="P[@E]", help="Predictor for the expensive objectives, and its encoding."),
    ] = None,
    candidates: Annotated[
        int | None, count("--candidates", "Most architectures that a searcher scores at a time; by default its own.")
    ] = None,
    batch: Annotated[int | None, count("--batch", "Proposals per step; by default 1, or 5 for a front.")] = None,
    with_proxies: WithProxies = False,
    blank: Annotated[
        bool,
        typer.Option("--blank", help="Show searchers the choices alone: no graphs, proxies, priors, source devices."),
    ] = False,
    out: Out = None,
    in_flight: Annotated[
        int, count("--in-flight", "Evaluations at a time, as by N workers; on a virtual clock, none takes longer.")
    ] = 1,
    workers: Workers = None,
    json_file: Json = None,
) -> None:
    """Compare searchers on tables: regret or hypervolume (MODNAS protocol) with 95 % interval at each budget; ranks."""
    from nastk.bench import figures
    from nastk.bench import search as bench
    from nastk.cli.progress import bar, follow
    from nastk.files import check_outputs
    from nastk.report.rows import write_json
    from nastk.report.tables import show

    counts = integers("--budgets", budgets)
    names = words("--searchers", searchers)
    check_outputs([json_file], [out])
    plans = [
        bench.plan(
            space=table,
            dataset=data,
            devices=_devices(devices, table, data),
            searchers=names,
            budget=max(counts),
            seeds=seeds,
            sources=None if sources is None else words("--sources", sources),
            measurements=measurements,
            batch=batch,
            objectives=objectives or None,
            report=report,
            with_proxies=with_proxies,
            predictor=predictor,
            in_flight=in_flight,
            candidates=candidates,
            blank=blank,
        )
        for table, data in _tables(space, dataset)
    ]
    with bar(None, "searching") as progress:
        parts = bench.carry_out(plans, workers, follow(progress), None if out is None else out / "runs.jsonl")
    rows = [row for part in parts for row in part.rows(counts)]
    if json_file is not None:
        write_json(json_file, rows)
    if out is not None:
        figures.write_all(parts, rows, out)
    shown = ("method", "samples", "evaluations", "measurements", "mean", "ci95", "reference")
    for part in parts:
        first, last = part.problems[0], part.rows([max(counts)])[-1]
        device = first.device if len(part.problems) == 1 else "*"
        means = [r for r in part.rows(counts) if r["device"] == device and r["metric"] == part.main_metric]
        over = f", mean over {len(part.problems)} devices" if device == "*" else ""
        what = f"searched {last['searched']}; reported {last['reported']}"
        title = f"{first.space}, {first.dataset or 'any data set'}; {what}\n{part.main_metric}{over}, {seeds} seeds"
        title += f"\n{figures.BLANK}" if part.blank else ""
        show([{k: row[k] for k in shown} for row in means], title=title)
        if part.single:
            medians = [r for r in part.rows(counts) if r["metric"].startswith("median")]
            lines = [
                {"method": name}
                | {r["metric"].removeprefix("median_"): r["mean"] for r in medians if r["method"] == name}
                for name in part.searchers
            ]
            show(lines, title=f"medians of {seeds} seeds; a dash: more than {max(counts)}")
    if len(parts[0].searchers) > 1:
        _show_ranks(figures.ranks(parts, max(counts)), f"ranks after {max(counts)}")
    if out is not None:
        typer.echo(f"\nreport.html, rows.json, rows.csv, tables (.tex), figures and runs.jsonl are in {out}")


def predict(
    space: Tables = "nasbench201",
    dataset: Dataset = None,
    objective: Annotated[
        str | None,
        typer.Option(
            "--objective",
            metavar="O",
            help="[max:|min:]METRIC[:DEVICE][@EPOCHS]; by default the table's accuracy, else latency.",
        ),
    ] = None,
    devices: Devices = None,
    predictors: Annotated[
        str | None,
        typer.Option(
            "--predictors",
            metavar="P[@E],...",
            help="See nastk list predictors; with an encoding after an @.  [gp-bma,gp,ridge; on devices "
            "few-shot-gp,gp,ridge]",
            show_default=False,
        ),
    ] = None,
    sizes: Annotated[
        str, typer.Option("--sizes", metavar="N,M,...", help="Numbers of architectures whose values are seen.")
    ] = "10,20,50,100",
    seeds: Seeds = 10,
    sources: Sources = None,
    source_samples: Annotated[int, count("--source-samples", "Architectures per source device.", least=10)] = 900,
    test: Annotated[int, count("--test", "Most architectures that are predicted and compared.", least=3)] = 2000,
    with_proxies: WithProxies = False,
    out: Out = None,
    workers: Workers = None,
    json_file: Json = None,
) -> None:
    """Compare predictors on tables: rank correlations, nDCG, coverage of intervals and seconds by number of samples."""
    from nastk.bench import predict as bench
    from nastk.bench import predict_figures as figures
    from nastk.cli.progress import bar, follow
    from nastk.files import check_outputs
    from nastk.report.rows import write_json
    from nastk.report.tables import show
    from nastk.report.text import printable

    counts = integers("--sizes", sizes)
    names = None if predictors is None else words("--predictors", predictors)
    check_outputs([json_file], [out])
    plans = [
        bench.plan(
            space=table,
            dataset=data,
            objective=objective,
            devices=_devices(devices, table, data),
            predictors=names,
            sizes=counts,
            seeds=seeds,
            sources=None if sources is None else words("--sources", sources),
            source_samples=source_samples,
            test=test,
            with_proxies=with_proxies,
        )
        for table, data in _tables(space, dataset)
    ]
    with bar(None, "predicting") as progress:
        parts = bench.carry_out(plans, workers, follow(progress), None if out is None else out / "runs.jsonl")
    rows = [row for part in parts for row in part.rows()]
    if json_file is not None:
        write_json(json_file, rows)
    if out is not None:
        figures.write_all(parts, rows, out)
    for part in parts:
        for name, reason in part.reasons().items():
            typer.echo(printable(f"left out: {name}: {reason}"), err=True)
        show(figures.lines(part), title=figures.title(part))
    if len(parts[0].plan.methods) > 1:
        _show_ranks(bench.ranks(parts, max(counts)), f"ranks by Spearman from {max(counts)} samples")
    if out is not None:
        typer.echo(f"\nreport.html, rows.json, rows.csv, tables (.tex), figures and runs.jsonl are in {out}")


def _tables(text: str, dataset: str | None) -> list[tuple[str, str | None]]:
    """Space and data set of each table in a text like ``nasbench201@cifar100,fbnet``."""
    from nastk.errors import InvalidValue

    found: list[tuple[str, str | None]] = []
    for part in words("--space", text):
        space, at, data = part.rpartition("@")
        found.append((space, data) if at and "/" not in data else (part, None))
    if dataset is not None:
        if len(found) > 1 or found[0][1] is not None:
            raise InvalidValue(f"--dataset {dataset}: write it behind its space, such as {found[0][0]}@{dataset}")
        found = [(found[0][0], dataset)]
    if len(set(found)) < len(found):
        raise InvalidValue(f"--space {text}: the same table twice")
    return found


def _devices(text: str | None, space: str, dataset: str | None) -> list[str] | None:
    """Devices to compare on; None for those that the table recommends."""
    if text == "all":
        from nastk.oracles.table import benchmark

        return benchmark(space, dataset=dataset).devices()
    return None if text is None else words("--devices", text)


def _show_ranks(ranks: Ranks, title: str) -> None:
    from nastk.report.tables import show

    best = ranks.methods[ranks.order[0]]
    lines: list[dict[str, Any]] = [
        {k: v for k, v in line.items() if not k.startswith("p against") or k == f"p against {best}"}
        for line in ranks.rows()
    ]
    show(lines, title="\n".join([title, *ranks.sentences()]))
