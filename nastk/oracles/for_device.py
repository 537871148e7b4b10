"""Networks' files, and a table to fill in, for a device that is measured where nastk is not installed."""

from __future__ import annotations

import os
import re
import shlex
import tempfile
from collections.abc import Callable
from pathlib import Path

from nastk.data.measured import has_values, to_fill_in
from nastk.errors import NastkError, StorageError
from nastk.evaluation import reason_of
from nastk.files import writable_folder, write_text
from nastk.oracles._network_files import FORMATS, NetworkFiles
from nastk.spaces.base import Archs, SearchSpace

CSV = "measurements.csv"
"""Name of the table."""
README = "README.txt"
"""Name of what says what to do."""
_BESIDE_ONNX = ".onnx.data"
"""End of the name of a file with the weights of the ONNX file beside it."""
_NUMBERED = re.compile(rf"\d{{3,}}({'|'.join(map(re.escape, (*FORMATS.values(), _BESIDE_ONNX)))})")
"""Names of the networks' files."""


def check_folder(folder: str | os.PathLike[str]) -> None:
    """Refuse a folder with networks of an earlier call: its numbered files would be mixed up with the new ones.

    Raises:
        StorageError: there is a table, filled in or not, or a numbered file.
    """
    path = Path(folder) / CSV
    if has_values(path):
        raise StorageError(f"{path} has been filled in, and would be replaced; give a new folder")
    numbered = [path] if path.exists() else sorted(p for p in Path(folder).glob("*") if _NUMBERED.fullmatch(p.name))
    if numbered:
        raise StorageError(f"{numbered[0]} is there already, of other networks; give a new folder")


def write_for_device(
    folder: str | os.PathLike[str],
    space: SearchSpace,
    archs: Archs,
    file_format: str = "onnx",
    batch: int = 1,
    progress: Callable[[int, int], None] | None = None,
    space_name: str | None = None,
    needs_accuracy: bool = False,
) -> dict[str, str]:
    """Write networks' files (``001.onnx`` ...), a table with an empty column ``ms``, and what to do with them.

    Args:
        folder: made if needed, without networks of an earlier call.
        space: of the networks.
        archs: the networks, ``(n, d)``.
        file_format: one of "onnx", "torchscript", "pt2", "tflite".
        batch: inputs a run.
        progress: called with (done, total) once a network.
        space_name: by which commands know the space, such as ``file.py:Class``; by default its own.
        needs_accuracy: whether a search of the space needs an accuracy function of the user's.

    Returns:
        Networks (as text) that could not be written, and why; they are left out of the table.

    Raises:
        StorageError: the folder has a table or numbered files already, or cannot be written to.
        NastkError: no network could be written, or see :class:`NetworkFiles`.
    """
    check_folder(folder)
    files = NetworkFiles(space, [file_format], batch)
    target = writable_folder(folder)
    names: list[str] = []
    texts: list[str] = []
    failed: dict[str, str] = {}
    digits = max(3, len(str(len(archs))))
    # Inside the folder, so that finished files only have to be renamed.
    with tempfile.TemporaryDirectory(prefix=".nastk-", dir=target) as scratch:
        for done, arch in enumerate(archs, 1):
            stem, text = f"{len(names) + 1:0{digits}d}", space.format(arch)
            try:
                written = files.write(arch, Path(scratch), stem)[file_format]
            except NastkError:
                raise
            except (Exception, SystemExit) as error:
                failed[text] = reason_of(error)
                for half in Path(scratch).glob(f"{stem}.*"):
                    half.unlink()
            else:
                names.append(written.name)
                texts.append(text)
            if progress is not None:
                progress(done, len(archs))
        if not names:
            text, reason = next(iter(failed.items()))
            raise NastkError(f"none of the {len(archs)} networks could be written; the first, {text}: {reason}")
        for file in sorted(Path(scratch).iterdir()):
            os.replace(file, target / file.name)
    commands = _commands(Path(folder) / CSV, space_name or space.whole.name, needs_accuracy)
    write_text(target / README, _readme(space, files, names, commands))
    to_fill_in(target / CSV, texts, file=names)  # last: with it the folder is whole
    return failed


def _commands(table: Path, space_name: str, needs_accuracy: bool) -> str:
    """What to do with the table, where the folder was written."""
    where = "in any folder" if table.is_absolute() else "in the folder in which nastk measure --for-device was called"
    asked = f"--space {shlex.quote(space_name)} --measured {shlex.quote(str(table))}"
    own = " --accuracy YOUR_FILE.py:function" if needs_accuracy else ""
    return f"""Then, where nastk is installed: put the table back as {table}, and call
{where}:

    nastk predict {asked}
    nastk search {asked}{own}
"""


def _readme(space: SearchSpace, files: NetworkFiles, names: list[str], commands: str) -> str:
    shape = " x ".join(map(str, files.input_shape))
    tokens = space.vocabulary(**files.build_options)
    kind = "float32; their values do not matter" if tokens is None else f"integers from 0 to {tokens - 1}"
    batch = files.batch
    what = f"a batch of {batch} inputs" if batch > 1 else "one input"
    kept = _BESIDE_ONNX if any(name.endswith(FORMATS["onnx"]) for name in names) else ""
    beside = f"\nA file that ends in {kept} belongs to the network of that name: keep them together." if kept else ""
    several = len(names) > 1
    files_are = f"{names[0]} to {names[-1]}: the networks" if several else f"{names[0]}: the network"
    return f"""{len(names)} network{"s" * several} of the search space {space.name}, to be measured on a device.

{files_are}, in float32, with random weights.{beside}
Input: {shape}, batch first, {kind}.

For each file: load it, run it some times to warm up, then time at least 30 runs of {what},
one after another, with nothing else running on the device. Write the median time of one run, in milliseconds, into the
column ms of {CSV}, in the line that names the file. For another unit change the heading, such
as ms to lat_us. Leave empty what cannot be run, and the column arch as it is.

{commands}"""
