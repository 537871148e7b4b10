"""NAS-Bench-201's .pth, v1.0 or v1.1: validation and test accuracy after 12 and 200 epochs, training time, latency.

``NAS-Bench-201-v1_0-e61699.pth`` and ``NAS-Bench-201-v1_1-096897.pth`` (Dong & Yang, ICLR 2020) are dictionaries with
``meta_archs`` (the 15,625 arch strings by number) and ``arch2infos`` (by number, the records ``less``, 12 epochs, and
``full``, 200 epochs). The file is read as a stream, and only the last epoch of each training is kept. In v1.0, the 12
epochs were trained for CIFAR-10's validation accuracy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nastk.data import _pickles
from nastk.data.official import Measurements, one_file
from nastk.data.official._nasbench201 import measurements, shrink
from nastk.errors import DataError

SPACE = "nasbench201"
"""Space of the file's architectures."""
LIMIT = 16 << 30
"""Most bytes of a file; the larger official one has 4.7 GB."""


def read(paths: Sequence[Path]) -> list[Measurements]:
    """Columns of all architectures with results in the file.

    Raises:
        InvalidValue: not exactly one file.
        DataError: not such a file.
    """
    path = one_file(paths, "NAS-Bench-201's .pth")
    content = _pickles.load_torch(path, LIMIT, shrink, "a torch file of NAS-Bench-201")
    try:
        official, records = list(content["meta_archs"]), dict(content["arch2infos"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} has another layout than NAS-Bench-201's .pth: {error!r}") from error
    return [measurements(records, official, str(path))]
