"""``nastk zcp``: zero-cost proxies of built networks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nastk.cli.options import Archs, ArchsOption, Json, RandomArchs, Seed, Space, Workers, count


def zcp(
    archs: Archs = None,
    more_archs: ArchsOption = None,
    space_name: Space = "nasbench201",
    random: RandomArchs = 0,
    proxies: Annotated[
        str | None,
        typer.Option("--proxies", metavar="A,B,...", help="See nastk list proxies; by default thirteen."),
    ] = None,
    batch: Annotated[
        str,
        typer.Option("--batch", metavar="digits|random|F.npz", help="Images; a file with arrays images and labels."),
    ] = "digits",
    data: Annotated[
        str | None,
        typer.Option(
            "--data", metavar="D", help="Instead: of its training part, and networks that fit it; see nastk train."
        ),
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option("--image-size", metavar="N", min=1, help="Resize images to N x N pixels, series to N steps."),
    ] = None,
    batch_size: Annotated[int, count("--batch-size", "How many images.")] = 64,
    init: Annotated[str, typer.Option("--init", metavar="default|kaiming", help="Weights.")] = "default",
    initialisations: Annotated[int, count("--initialisations", "Random initialisations to average over.")] = 1,
    workers: Workers = None,
    device: Annotated[str, typer.Option("--device", metavar="D", help="cpu, cuda or cuda:1.")] = "cpu",
    output: Annotated[
        str | None,
        typer.Option("--output", metavar="N|NAME", help="Which output is the logits, if the networks return several."),
    ] = None,
    seed: Seed = 0,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Also write the table to this file.")
    ] = None,
    json_file: Json = None,
) -> None:
    """Compute zero-cost proxies of architectures on their networks; cached on disk, so that a second run is instant."""
    import os
    import warnings

    import numpy as np

    from nastk.cli.inputs import read_archs
    from nastk.cli.options import words
    from nastk.cli.progress import bar, follow
    from nastk.data.images import read_images
    from nastk.errors import InvalidValue, NastkError
    from nastk.files import check_outputs
    from nastk.oracles.zerocost import SeveralOutputs, ZeroCost
    from nastk.oracles.zerocost._batch import read_batch
    from nastk.report.rows import write_csv, write_json
    from nastk.report.tables import show
    from nastk.report.text import printable
    from nastk.spaces.factory import space as named

    space = named(space_name)
    texts = [*(archs or []), *(more_archs or [])]
    if not texts and not random:
        raise InvalidValue("give architectures as arguments, or --random N")
    asked = np.concatenate([read_archs(space, texts), space.sample_networks(random, seed)])
    if image_size is not None and data is None:
        raise InvalidValue("--image-size is of --data; leave it out")
    if data is not None and batch != "digits":
        raise InvalidValue("--data and --batch are both the images; leave one out")
    check_outputs([csv_file, json_file])
    of_file = read_batch(batch) if batch.endswith(".npz") else batch
    scores = ZeroCost(
        space,
        None if proxies is None else words("--proxies", proxies),
        of_file if data is None else read_images(data, image_size),
        batch_size,
        init=init,
        initialisations=initialisations,
        seed=seed,
        workers=workers or os.cpu_count() or 1,
        device=device,
        output=output,
    )
    with bar(None, "scoring") as progress, warnings.catch_warnings():
        warnings.simplefilter("ignore", SeveralOutputs)  # said below
        values = scores(asked, follow(progress))
    names = space.format_all(asked)
    rows: list[dict[str, Any]] = [
        {"arch": name, **dict(zip(scores.names, map(float, line), strict=True))}
        for name, line in zip(names, values, strict=True)
    ]
    if csv_file is not None:
        write_csv(csv_file, rows)
    if json_file is not None:
        write_json(json_file, [{**row, "source": scores.source} for row in rows])
    show(rows, title=scores.source, shorten=("arch",))
    for chosen in dict.fromkeys(scores.outputs.values()):
        typer.echo(f"of several outputs of the networks, {chosen!r} is taken for the logits (--output)")
    lacking = []
    for name in dict.fromkeys(names):
        reasons: dict[str, list[str]] = {}
        for proxy, why in scores.reasons.get(name, {}).items():
            if proxy in scores.names:
                reasons.setdefault(why, []).append(proxy)
        for why, without in reasons.items():
            what = ", ".join(without) if len(without) < len(scores.names) else "value"
            lacking.append(f"{name}: no {what}: {why}")
    none = not np.isfinite(values).any()
    if none and len(lacking) == 1:  # the reason of a single network is the error
        raise NastkError(lacking[0])
    for line in lacking:
        typer.echo(printable(line))
    if none:
        why = next(iter(scores.reasons[names[0]].values()))
        raise NastkError(f"no proxy has a value; the first: {why}")
