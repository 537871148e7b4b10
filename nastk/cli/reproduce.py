"""``nastk reproduce``: the papers' comparisons, repeated on the fetched tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nastk.cli import reproduce_latency, reproduce_tasks
from nastk.cli.options import Interrupted, Json, Workers, count, integers, keep_finished, words
from nastk.errors import InvalidValue, UnknownName

app = typer.Typer(no_args_is_help=True, help="Repeat the papers' comparisons; published figures with ours.")


app.command("latency")(reproduce_latency.latency)
app.command("hat-latency")(reproduce_latency.hat_latency)

EXPERIMENTS = ("sample-efficiency", "transfer", "proxy-removal", "proxies-in-order", "calibration", "wrong-prior")
"""Of ``nastk reproduce accuracy``."""


@app.command("accuracy")
def accuracy(
    experiment: Annotated[
        str,
        typer.Option(
            "--experiment",
            metavar="E",
            help="sample-efficiency, transfer, proxy-removal, proxies-in-order, calibration or wrong-prior.",
        ),
    ] = "sample-efficiency",
    calibration: Annotated[
        bool, typer.Option("--calibration", help="How well 95 % intervals hold: --experiment calibration.")
    ] = False,
    wrong_prior: Annotated[
        bool, typer.Option("--wrong-prior", help="What a wrong prior of gp-bma costs: --experiment wrong-prior.")
    ] = False,
    space: Annotated[
        str, typer.Option("--space", metavar="S", help="Sample efficiency, wrong prior: space of the data sets.")
    ] = "nasbench201",
    methods: Annotated[
        str | None,
        typer.Option(
            "--methods",
            metavar="X,Y,...",
            help="Methods, or predictors with an encoding: mlp@path-counts; of wrong-prior its priors.",
        ),
    ] = None,
    samples: Annotated[
        str | None, typer.Option("--samples", metavar="N,M,...", help="Accuracies seen; a single number for transfer.")
    ] = None,
    sources: Annotated[
        str | None, typer.Option("--sources", metavar="A,B,...", help="Transfer: tasks or spaces; by default all.")
    ] = None,
    targets: Annotated[
        str | None,
        typer.Option("--targets", metavar="A,B,...", help="Transfer, calibration: tasks or spaces; by default all."),
    ] = None,
    seeds: Annotated[
        int | None, count("--seeds", "Random seeds; by default 10, for transfer and calibration 3, for wrong-prior 5.")
    ] = None,
    first_seed: Annotated[
        int, count("--first-seed", "The first of them; of sample-efficiency, calibration and wrong-prior.", least=0)
    ] = 0,
    workers: Workers = None,
    figures: Annotated[
        Path | None, typer.Option("--figures", metavar="DIR", help="Also draw it here (PNG, SVG, PDF).")
    ] = None,
    json_file: Json = None,
) -> None:
    """Accuracy predictors: sample efficiency, transfer, ablation of proxies, intervals, wrong priors."""
    from nastk.bench import accuracy as comparison
    from nastk.bench import calibration as intervals
    from nastk.bench import wrong_prior as priors
    from nastk.cli.progress import bar, follow
    from nastk.files import check_outputs
    from nastk.report.rows import write_json
    from nastk.report.tables import show
    from nastk.reproduce import accuracy_figures, accuracy_transfer

    if experiment not in EXPERIMENTS:
        raise UnknownName("experiment", experiment, EXPERIMENTS)
    short = [name for name, given in (("calibration", calibration), ("wrong-prior", wrong_prior)) if given]
    if len({*short, *([experiment] if experiment != EXPERIMENTS[0] else [])}) > 1:
        raise InvalidValue("--experiment, --calibration and --wrong-prior name one experiment; give one of them")
    experiment = short[0] if short else experiment
    check_outputs([json_file], [figures])
    named = None if methods is None else words("--methods", methods)
    counts = None if samples is None else integers("--samples", samples)
    of = None if sources is None else words("--sources", sources)
    to = None if targets is None else words("--targets", targets)
    several = ("sample-efficiency", "calibration", "wrong-prior")
    if experiment not in several and counts is not None and len(counts) > 1:
        raise InvalidValue(f"{experiment} takes one number of samples; got {samples}")
    if experiment in several[1:] and figures is not None:
        raise InvalidValue(f"--figures: {experiment} is told in tables")
    if experiment in several and of is not None:
        raise InvalidValue(f"--sources: {experiment} learns no other task before, but all of other spaces")
    if experiment not in several and first_seed:
        raise InvalidValue(f"{experiment} begins at seed 0; leave out --first-seed")

    def keep(some: list[dict[str, Any]]) -> None:
        keep_finished(json_file, some)

    with bar(None, "fitting") as progress:
        shared: dict[str, Any] = {"workers": workers, "progress": follow(progress)}
        if experiment == "sample-efficiency":
            rows = comparison.run(
                space,
                named or comparison.DEFAULT_METHODS,
                counts or comparison.SAMPLES,
                seeds or 10,
                partial=keep,
                first=first_seed,
                **shared,
            )
        elif experiment == "calibration":
            some = named or intervals.DEFAULT_METHODS
            rows = intervals.run(some, to, counts or intervals.SAMPLES, seeds or 3, first=first_seed, **shared)
        elif experiment == "wrong-prior":
            rows = priors.run(space, named, counts or priors.SAMPLES, seeds or 5, first=first_seed, **shared)
        elif experiment == "transfer":
            ours = named or list(accuracy_transfer.BASELINES)
            rows = accuracy_transfer.run(ours, of, to, (counts or [10])[0], seeds or 3, **shared)
        elif experiment == "proxy-removal":
            rows = accuracy_transfer.run_removal(of, to, (counts or [10])[0], seeds or 3, **shared)
        else:
            if of is not None:
                raise InvalidValue("--sources: proxies-in-order learns nothing before; give one task as --targets")
            if to is not None and len(to) > 1:
                raise InvalidValue(f"proxies-in-order takes one task, such as nasbench201/cifar10; got {targets}")
            one = to[0] if to else accuracy_transfer.IN_ORDER_ON
            rows = accuracy_transfer.run_in_order(one, (counts or [50])[0], seeds or 10, **shared)
    if json_file is not None:
        write_json(json_file, rows)
    for title, lines in accuracy_figures.tables(rows):
        show(lines, title=title)
    if figures is not None:
        typer.echo(f"drawn: {', '.join(accuracy_figures.draw(rows, figures))} in {figures}")


@app.command("correlations")
def correlations(
    space: Annotated[str, typer.Option("--space", metavar="S", help="Whose fetched table.")] = "nasbench201",
    figures: Annotated[
        Path | None, typer.Option("--figures", metavar="DIR", help="Also draw heat maps here (PNG, SVG, PDF).")
    ] = None,
    json_file: Json = None,
) -> None:
    """How alike devices and zero-cost proxies rank: maps, each device's closest, the task distance of known sets."""
    from nastk.files import check_outputs
    from nastk.report.rows import write_json
    from nastk.report.tables import show
    from nastk.reproduce import correlations as study

    check_outputs([json_file], [figures])
    rows = study.run(space)
    if json_file is not None:
        write_json(json_file, rows)
    for title, lines in study.tables(rows):
        show(lines, title=title)
    if figures is not None:
        typer.echo(f"drawn: {', '.join(study.draw(rows, figures))} in {figures}")


@app.command("lists")
def lists(
    which: Annotated[
        str | None, typer.Argument(metavar="[LIST]", help="spaces, proxies, devices, tasks or sets; by default all.")
    ] = None,
    json_file: Json = None,
) -> None:
    """Which spaces, proxies, devices and device sets of the literature the fetched tables have (Tables 5 to 8, 13)."""
    from nastk.files import check_outputs
    from nastk.report.rows import write_json
    from nastk.report.tables import show
    from nastk.reproduce.lists import LISTS

    if which is not None and which not in LISTS:
        raise UnknownName("list", which, LISTS)
    check_outputs([json_file])
    found = {name: make() for name, (_, make) in LISTS.items() if which in (None, name)}
    if json_file is not None:
        write_json(json_file, [{"list": name, **row} for name, rows in found.items() for row in rows])
    for name, rows in found.items():
        show(rows, title=LISTS[name][0])


@app.command("all")
def everything(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the page, and of what is finished.")],
    quick: Annotated[
        bool, typer.Option("--quick/--full", help="A part in half an hour on two cores, or all of it in days.")
    ] = True,
    items: Annotated[
        str | None,
        typer.Option("--items", metavar="A,B,...", help="Run only these, such as multi-predict-table-1 or modnas."),
    ] = None,
    workers: Workers = None,
    json_file: Json = None,
) -> None:
    """Every table and figure of Multi-Predict and MODNAS on one page, ours beside the published.

    What is finished is kept in DIR, and the same command goes on. A part that fails is a line of the page.
    """
    from nastk.cli.progress import bar, follow
    from nastk.files import check_outputs
    from nastk.report.rows import write_json
    from nastk.report.tables import show
    from nastk.reproduce import everything as page

    wanted = page.find(None if items is None else words("--items", items))
    check_outputs([json_file], [out])
    with bar(None, "repeating") as progress:
        try:
            done = page.run(out, "quick" if quick else "full", wanted, workers, follow(progress))
        except KeyboardInterrupt:
            raise Interrupted(f"interrupted; what is finished is in {out}, and the same command goes on") from None
    if json_file is not None:
        write_json(json_file, page.rows(done))
    asked = {item.key for item in wanted}
    show([{"item": one.item.key, "status": one.status} for one in done if one.item.key in asked], title="Items")
    typer.echo(f"page: {out / f'{page.PAGE}.html'}")


@app.command("modnas")
def modnas(
    space: Annotated[
        str, typer.Option("--space", metavar="S", help="nasbench201, mobilenetv3, hat, gpt or fbnet.")
    ] = "nasbench201",
    objectives: Annotated[
        str | None,
        typer.Option("--objectives", metavar="A,B,...", help="Such as test_accuracy,latency:pixel3,energy:eyeriss."),
    ] = None,
    train: Annotated[
        str | None, typer.Option("--train", metavar="A,B,...", help="Devices to train on, if not the paper's.")
    ] = None,
    unseen: Annotated[
        str | None, typer.Option("--unseen", metavar="A,B,...", help="Devices to propose for, if not the paper's.")
    ] = None,
    pairs: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            "--pairs",
            metavar="EN.txt DE.txt",
            help="Of hat: sentences and translations, a line each, for the loss of a small SuperTransformer.",
        ),
    ] = None,
    network: Annotated[str, typer.Option("--network", metavar="N", help="Hypernetwork: bank or smooth.")] = "bank",
    labels: Annotated[int, count("--labels", "Evaluations for the predictors of accuracy.", least=5)] = 100,
    steps: Annotated[
        int | None, count("--steps", "Training steps of the generator.  [1500; mobilenetv3, hat: 1000]")
    ] = None,
    seeds: Annotated[int, count("--seeds", "Number of random seeds, from 0.")] = 10,
    workers: Workers = None,
    figures: Annotated[
        Path | None, typer.Option("--figures", metavar="DIR", help="Also draw radar plot and fronts.")
    ] = None,
    json_file: Json = None,
) -> None:
    """MODNAS: one generator for many devices, against random search, NSGA-II and enumeration."""
    from nastk.cli.progress import bar, follow
    from nastk.files import check_outputs
    from nastk.relaxation.hypernetworks import HYPERNETWORKS
    from nastk.report.rows import write_json
    from nastk.report.tables import show
    from nastk.reproduce import modnas as comparison
    from nastk.reproduce import modnas_figures

    if network not in HYPERNETWORKS:
        raise UnknownName("hypernetwork", network, HYPERNETWORKS)
    check_outputs([json_file], [figures])
    asked = comparison.setting(
        space,
        None if objectives is None else words("--objectives", objectives),
        None if train is None else words("--train", train),
        None if unseen is None else words("--unseen", unseen),
        None if pairs is None else (str(pairs[0]), str(pairs[1])),
        network=network,
        labels=labels,
        **({} if steps is None else {"steps": steps}),
    )

    def keep(some: list[dict[str, Any]]) -> None:
        keep_finished(json_file, some, "seeds")

    with bar(None, "searching") as progress:
        found = comparison.run(asked, seeds, workers=workers, progress=follow(progress), partial=keep)
    rows = found.rows()
    if json_file is not None:
        write_json(json_file, rows)
    for title, lines in modnas_figures.tables(rows):
        show(lines, title=title)
    if asked.note:
        typer.echo(asked.note)
    if figures is not None:
        typer.echo(f"drawn: {', '.join(modnas_figures.draw(found, figures))} in {figures}")


@app.command("supernet")
def supernet(
    images: Annotated[
        Path | None,
        typer.Option("--images", metavar="F.npz", help="Arrays images and labels; by default scikit-learn's digits."),
    ] = None,
    training: Annotated[int, count("--training", "Training images.", least=2)] = 100,
    validation: Annotated[int, count("--validation", "Validation images.", least=2)] = 100,
    epochs: Annotated[int, count("--epochs", "Epochs of the supernet.")] = 100,
    trainings: Annotated[int, count("--trainings", "Stand-alone trainings per method and setting.")] = 12,
    seeds: Annotated[int, count("--seeds", "Number of random seeds, from 0.")] = 1,
    devices: Annotated[
        str | None,
        typer.Option("--devices", metavar="A,B,...", help="Settings: torch:<threads>:<batch>, onnx:..., cuda:<batch>."),
    ] = None,
    held_out: Annotated[
        str | None, typer.Option("--held-out", metavar="A", help="Setting of which the search knows 10 latencies.")
    ] = None,
    measurements: Annotated[
        int, count("--measurements", "Measurements per setting for the search.", least=6, metavar="K")
    ] = 20,
    scored: Annotated[int, count("--scored", "Held-out measurements per setting.", least=6)] = 20,
    combination: Annotated[
        str, typer.Option("--combination", metavar="C", help="Combination of the settings' gradients: mean or mgda.")
    ] = "mean",
    device: Annotated[
        str | None, typer.Option("--device", metavar="cpu|cuda", help="Of the trainings; by default CUDA if present.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", metavar="DIR", help="Cache of trainings and latencies.")
    ] = None,
    workers: Workers = None,
    figures: Annotated[
        Path | None, typer.Option("--figures", metavar="DIR", help="Also draw the fronts here (PNG, SVG, PDF).")
    ] = None,
    json_file: Json = None,
) -> None:
    """MODNAS with a supernet on images and this machine, against random search and NSGA-II at equal trainings."""
    from nastk.cli.progress import bar
    from nastk.files import check_outputs
    from nastk.report.rows import write_json
    from nastk.report.tables import show
    from nastk.reproduce import supernet_demo as demo
    from nastk.reproduce.supernet_devices import Setting

    check_outputs([json_file], [figures])
    if device is None:
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
    plan = demo.Plan(
        None if images is None else str(images),
        training,
        validation,
        epochs,
        trainings,
        measurements,
        scored,
        combination=combination,
        devices=() if devices is None else tuple(Setting.parse(text) for text in words("--devices", devices)),
        held_out=None if held_out is None else Setting.parse(held_out),
        device=device,
        folder=None if folder is None else str(folder),
    )
    with bar(None, "measuring") as progress:

        def follow(what: str, done: int, total: int) -> None:
            progress.set_description(what, refresh=False)
            progress.total, progress.n = total, done
            progress.refresh()

        found = demo.run(plan, seeds, workers, follow)
    if json_file is not None:
        write_json(json_file, found.rows)
    for title, lines in demo.tables(found):
        show(lines, title=title)
    for line in demo.notes(found):
        typer.echo(line)
    if figures is not None:
        typer.echo(f"drawn: {demo.draw(found, figures)} in {figures}")


@app.command("tcn")
def tcn(
    data: Annotated[
        str,
        typer.Option(
            "--data", metavar="A,B:N,...", help="Time series, as --data of nastk search; :N resamples them to N steps."
        ),
    ] = "basic-motions:50,japanese-vowels,acsf1:73",
    methods: Annotated[
        str | None,
        typer.Option(
            "--methods",
            metavar="X,Y,...",
            help="tenth (of the parameters), pit (a sweep), random, predictor, limits (two at once); by default all.",
        ),
    ] = None,
    seeds: Annotated[int, count("--seeds", "Number of random seeds.")] = 5,
    first_seed: Annotated[int, count("--first-seed", "The first of them.", least=0)] = 0,
    warmup: Annotated[int, count("--warmup", "Steps of the seed network's training.")] = 150,
    search: Annotated[int, count("--search", "Steps with masks.")] = 200,
    finetune: Annotated[int, count("--finetune", "Steps of each exported network.")] = 80,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder of finished runs, which are not repeated.")
    ] = None,
    workers: Workers = None,
    json_file: Json = None,
) -> None:
    """PIT on time series, against random search and predictor at equal trainings; two limits at once."""
    from nastk.cli.progress import bar, follow
    from nastk.files import check_outputs
    from nastk.report.rows import write_json
    from nastk.report.tables import show
    from nastk.reproduce import tcn as comparison

    check_outputs([json_file], [out])
    asked = [comparison.parse_data(text) for text in words("--data", data)]
    named = list(comparison.METHODS) if methods is None else words("--methods", methods)
    with bar(None, "training") as progress:
        found = comparison.run(
            asked, seeds, out, workers, follow(progress), named, first_seed,
            warmup=warmup, search=search, finetune=finetune,
        )  # fmt: skip
    rows = comparison.rows_of(found, asked)
    if json_file is not None:
        write_json(json_file, rows)
    for title, lines in comparison.tables(rows):
        show(lines, title=title)


app.command("mtl")(reproduce_tasks.mtl)
app.command("counting")(reproduce_tasks.counting)
