"""NATS-Bench's topology space, folder or .pickle.pbz2: the same columns as NAS-Bench-201's .pth.

The folder ``NATS-tss-v1_0-3ffb9-simple`` (Dong et al., TPAMI 2022) holds ``meta.pickle.pbz2`` and one file
per architecture, from ``000000.pickle.pbz2``: a dictionary from schedule ("12" and "200") to record. Any subset of
the files is accepted. The single file ``NATS-tss-v1_0-3ffb9.pickle.pbz2`` holds all of them under ``arch2infos``. The
size space is another search space and is rejected.
"""

from __future__ import annotations

import bz2
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nastk.data import _pickles
from nastk.data.official import Measurements, one_path
from nastk.data.official._nasbench201 import measurements, shrink
from nastk.errors import DataError, InvalidValue

SPACE = "nasbench201"
"""Space of the file's architectures."""
SUFFIX = ".pickle.pbz2"
"""File names that are read from the folder."""
LIMIT_ONE = 64 << 20
"""Most bytes of the file of one architecture, unpacked, so that a wrong file cannot exhaust the memory."""
LIMIT_ALL = 64 << 30
"""Most bytes of the file of all architectures, unpacked; it is read as a stream."""


def read(paths: Sequence[Path]) -> list[Measurements]:
    """Columns of all architectures with results in the folder or file.

    Raises:
        InvalidValue: not one folder or file, or a folder without any.
        DataError: a file is not of NATS-Bench's topology space.
    """
    path = one_path(paths, "a folder or file of NATS-Bench")
    files = sorted(path.glob(f"[0-9]*{SUFFIX}")) if path.is_dir() else [path]
    budget = _pickles.Budget(sum(file.stat().st_size for file in files))
    try:
        if path.is_dir():
            official = list(_load(path / f"meta{SUFFIX}", LIMIT_ONE, budget)["meta_archs"])
            if not files:
                raise InvalidValue(f"{path} holds no file of an architecture, such as 000000{SUFFIX}")
            records = {int(f.name.removesuffix(SUFFIX)): dict(_load(f, LIMIT_ONE, budget)) for f in files}
        else:
            content = _load(path, LIMIT_ALL, budget)
            official, records = list(content["meta_archs"]), dict(content["arch2infos"])
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, InvalidValue):
            raise
        raise DataError(f"{path} has another layout than NATS-Bench's files: {error!r}") from error
    return [measurements(records, official, str(path))]


def _load(path: Path, limit: int, budget: _pickles.Budget) -> Any:
    with _pickles.opened(path, limit) as packed, bz2.open(packed) as stream:
        most = _pickles.unpacked_limit(path, limit)
        return _pickles.Pickles(stream, str(path), most, "a file of NATS-Bench", budget).load(shrink)
