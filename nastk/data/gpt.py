"""HW-GPT-Bench s (Sukthanker et al., NeurIPS 2024): perplexity, memory and latency on 8 GPUs of 10,000 language models.

Perplexity and accuracy on OpenWebText are those of the networks with the weights of the supernet; none was trained from
scratch.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from nastk.data import csv_file, readers
from nastk.data.tables import Column, Draft
from nastk.errors import DataError, InvalidArchitecture
from nastk.spaces.gpt import GPT

VERSION = 1
"""Version of this importer; an increase recompiles the table."""

SOURCE = "hw-gpt-bench/hwgpt_s.csv.gz"
"""Compiled records of the benchmark."""
FILES = (SOURCE,)
"""Source files of the table."""
N = 10_000
"""Architectures of the file."""
DEVICES = ("P100", "a100", "a40", "a6000", "h100", "rtx2080", "rtx3080", "v100")
"""All devices of the benchmark."""
SOURCE_DEVICES = ("P100", "a6000", "rtx2080", "rtx3080")
"""Devices to learn from in benchmarks; the remaining ones are targets."""
TARGET_DEVICES = ("a100", "a40", "h100", "v100")
"""Devices to search for in benchmarks."""
DATASET = "openwebtext"
"""Data set of perplexity and accuracy."""
NOTE = "with the supernet's weights"
"""Note of the columns of perplexity and accuracy."""


def draft(path: Callable[[str], Path]) -> Draft:
    """Read the compiled records.

    Args:
        path: gives the place of a file of :data:`FILES`, checksum verified.

    Raises:
        DataError: the file is not what it should be.
    """
    names = ["n_layer", "embed_dim", "bias", "mlp_ratio", "n_head"]
    measured = ["perplexity", "accuracy", "params", "flops", "memory_mb", *(f"latency_ms_{d}" for d in DEVICES)]
    cells = csv_file.read(path(SOURCE), [*names, *measured], N)
    space = GPT()
    try:
        archs = np.stack(
            [
                space.from_settings(int(n), int(e), b, [int(v) for v in m.split()], [int(v) for v in h.split()])
                for n, e, b, m, h in zip(*(cells[name] for name in names), strict=True)
            ]
        )
    except (InvalidArchitecture, ValueError) as error:
        raise DataError(f"{SOURCE} holds something that is not an architecture: {error}") from error
    archs = space.canonical(archs)
    if len(np.unique(archs, axis=0)) != N:
        raise DataError(f"{SOURCE} holds a network twice")
    table = Draft(archs.astype(np.int8))
    values = {name: readers.numbers(cells[name], f"{SOURCE}, {name}") for name in measured}
    perplexity = Column("perplexity", "accuracy", "", "min", dataset=DATASET, note=NOTE)
    table.add(SOURCE, perplexity, values["perplexity"], low=1)
    accuracy = Column("val_accuracy", "accuracy", "%", dataset=DATASET, note=f"of the next token, {NOTE}")
    table.add(SOURCE, accuracy, 100.0 * values["accuracy"], low=0, high=100)
    note = "8 x 1,024 tokens, two for each multiply-add, normalisation and SiLU included, products of attention not"
    table.add(SOURCE, Column("params", "count", "", "min"), values["params"], low=1)
    table.add(SOURCE, Column("flops", "count", "", "min", note=note), values["flops"], low=1)
    table.add(SOURCE, Column("memory", "other", "MB", "min"), values["memory_mb"], low=1e-6)
    for device in DEVICES:
        column = Column("latency", "latency", "ms", "min", device=device)
        table.add(SOURCE, column, values[f"latency_ms_{device}"], low=1e-6, high=1e6)
    return table
