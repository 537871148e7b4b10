"""Reading untrusted files without executing anything in them.

JSON loads with limits on size and density, archives in memory with their member names checked; CSV has a reader of its
own (:mod:`nastk.data.csv_file`), and so have pickles and torch files (:mod:`nastk.data._pickles`). The one pickled
pandas frame is read by an unpickler with a short list of allowed names, each replaced by a stand-in of ours: a file can
reach neither pandas nor anything else that can be imported.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import pickletools
import re
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from math import prod
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from nastk.errors import DataError

UNKNOWN = frozenset(("", "-", "--", "?", "na", "n/a", "#n/a", "nan", "none", "null"))
"""Texts, in lower case, that stand for an unknown value."""
LIMIT = 64 * 2**20
"""Default limit in bytes of a file, or of an unpacked archive, so that a wrong file cannot exhaust the memory."""

GZIP_RATIO = 8
"""Most bytes that one of a packed table unpacks to; tables of numbers pack to a third."""
JSON_BYTES = {b"{": 232, b"[": 88, b",": 8, b".": 32}
"""About how much memory a JSON document takes for an object, a list, an entry and a fraction."""
JSON_FREE = 200 * 2**20
"""Bytes of memory that a JSON document of any size may take."""
JSON_SHARE = 8
"""Beyond that, bytes for each byte of its text; files of NAS-Bench-Suite-Zero take 7."""


def read_bytes(path: str | Path, limit: int = LIMIT) -> bytes:
    """The content of a file of at most `limit` bytes.

    Raises:
        DataError: missing, unreadable or too large.
    """
    try:
        with open(path, "rb") as file:
            size = (
                os.fstat(file.fileno()).st_size or limit
            )  # a pipe has no size; a read takes as much memory as it asks
            content = file.read(min(size, limit) + 1)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    if len(content) > limit:
        raise DataError(f"{path} is larger than the {limit / 2**20:.0f} MiB that are expected at most")
    return content


def read_gzip(path: str | Path, limit: int = LIMIT) -> bytes:
    """The content of a gzip file, at most `limit` bytes, or :data:`GZIP_RATIO` of its own size beyond the usual limit.

    Raises:
        DataError: missing, not gzip, truncated or altered, or larger.
    """
    packed = read_bytes(path, limit)
    most = min(limit, LIMIT + GZIP_RATIO * len(packed))
    parts: list[bytes] = []
    size = 0
    try:
        with gzip.open(io.BytesIO(packed)) as file:
            while part := file.read(1 << 20):
                parts.append(part)
                size += len(part)
                if size > most:
                    raise DataError(f"{path} unpacks to more than the {most / 2**20:.0f} MiB that are expected at most")
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is not a gzip file, or truncated: {error}") from error
    return b"".join(parts)


def read_json(path: str | Path, limit: int = LIMIT) -> Any:
    """A JSON document of at most `limit` bytes."""
    return parse_json(read_bytes(path, limit), str(path))


def parse_json(content: bytes, name: str) -> Any:
    """The JSON document in `content`; `name` is its origin, for messages.

    Raises:
        DataError: not JSON, or its objects would take far more memory than its text.
    """
    needed = sum(size * content.count(mark) for mark, size in JSON_BYTES.items())
    if needed > JSON_FREE + JSON_SHARE * len(content):
        raise DataError(f"{name} holds more objects than a table of its {len(content):,} bytes does")
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name} is not JSON, or truncated: {error}") from error


_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
"""A number as text. Python's own also take ``9_0.5``, and the digits of other scripts."""
_INFINITE = frozenset(("inf", "+inf", "-inf", "infinity", "-infinity"))


def cut(error: Exception) -> str:
    """A message that may quote a whole cell of a file, at a length that one reads."""
    text = str(error)
    return text if len(text) <= 300 else f"{text[:300]}..."


def number(text: str) -> float:
    """The number that a text names; NaN for what stands for an unknown value (an empty text, ``N/A``).

    Raises:
        ValueError: it names none.
    """
    text = text.strip()
    if _NUMBER.fullmatch(text) or text.lower() in _INFINITE:
        return float(text)
    if text.lower() in UNKNOWN:
        return float("nan")
    raise ValueError(f"{text[:60]!r}")


def numbers(values: Sequence[Any], name: str) -> NDArray[np.float64]:
    """Texts or numbers as a float array ``(n,)``, unknown texts as NaN; `name` describes them in messages.

    Raises:
        DataError: one is neither, such as a truth value.
    """
    try:
        return np.array([as_number(v) for v in values], dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{name}: not a number: {error}") from error


def as_number(value: Any) -> float:
    """A number, or a text that names one (:func:`number`).

    Raises:
        TypeError, ValueError, OverflowError: it is neither, such as a truth value.
    """
    if isinstance(value, str):
        return number(value)
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{value} is a truth value")
    return float(value)


def read_zip(path: str | Path, pattern: str = "*", limit: int = LIMIT) -> dict[str, bytes]:
    """The members of a ZIP archive whose names match, read in memory.

    Args:
        path: the archive.
        pattern: shell pattern over member names.
        limit: most bytes of the matching members together, unpacked.

    Raises:
        DataError: not a ZIP archive, a member fails its checksum, its name leaves the archive's folder (absolute, or
            with ``..``) or comes twice, it is encrypted, or it is too large.
    """
    members: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(read_bytes(path))) as archive:
            for info in archive.infolist():
                parts = PurePosixPath(info.filename.replace("\\", "/"))
                if parts.is_absolute() or ".." in parts.parts or ":" in info.filename or "\0" in info.filename:
                    raise DataError(f"{path}: the member {info.filename!r} would leave the archive's folder")
                if info.is_dir() or not fnmatchcase(info.filename, pattern):
                    continue
                if info.filename in members:
                    raise DataError(f"{path}: the member {info.filename!r} comes twice")
                if info.flag_bits & 1:
                    raise DataError(f"{path}: the member {info.filename!r} is encrypted")
                with archive.open(info) as member:
                    content = member.read(limit + 1)  # the size in the header may be false
                limit -= len(content)
                if limit < 0:
                    raise DataError(f"{path}: unpacks to more than the limit at {info.filename!r}")
                members[info.filename] = content
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, NotImplementedError, ValueError, OSError) as error:
        raise DataError(f"{path} is truncated, or not a ZIP archive: {error}") from error
    except Exception as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} cannot be unpacked: {error}") from error  # zlib.error and similar
    return members


def read_tar(path: str | Path, pattern: str = "*", limit: int = LIMIT) -> dict[str, bytes]:
    """The files of a gzipped tar archive whose names match, read in memory.

    Args:
        path: the archive.
        pattern: shell pattern over names.
        limit: most bytes of the archive, unpacked.

    Raises:
        DataError: not such an archive, it holds a link or a device, a name leaves its folder (absolute, or with ``..``)
            or comes twice, or it is too large.
    """
    content = read_gzip(path, limit)
    members: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            for info in archive:
                name = info.name.removeprefix("./")
                if name.startswith("/") or ".." in PurePosixPath(name).parts or "\0" in name:
                    raise DataError(f"{path}: the member {info.name!r} would leave the archive's folder")
                if info.isdir() or not fnmatchcase(name, pattern):
                    continue
                if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
                    raise DataError(f"{path}: the member {info.name!r} is no plain file")
                if name in members:
                    raise DataError(f"{path}: the member {info.name!r} comes twice")
                file = archive.extractfile(info)
                members[name] = file.read() if file else b""  # of the content in memory: no larger than that
                if len(members[name]) != info.size:
                    raise DataError(f"{path} is truncated at {info.name!r}")
    except DataError:
        raise
    except Exception as error:  # a hostile header can cause almost any exception
        raise DataError(f"{path} is truncated, or not a tar archive: {cut(error)}") from error
    return members


# ---- a pickled pandas frame


def read_frame(path: str | Path, limit: int = LIMIT) -> dict[str, NDArray[Any]]:
    """The columns of a pickled ``pandas.DataFrame`` (block managers of pandas 0.14 to 1.2), read without pandas.

    Numbers keep their stored type, texts become object arrays of ``str``.

    Raises:
        DataError: truncated, or not a frame of numbers and texts. Nothing in the file is executed.
    """
    content = read_bytes(path, limit)
    try:
        _check_opcodes(content)
        frame = _FrameUnpickler(io.BytesIO(content)).load()
        if type(frame) is not _Frame:
            raise pickle.UnpicklingError("not a pandas frame")
        return frame.columns()
    except DataError:
        raise
    except Exception as error:  # a hostile file can cause almost any exception
        reason = str(error).strip() or type(error).__name__
        raise DataError(f"{path} is truncated, or not a plain pandas frame: {reason}") from error


_OPCODES = frozenset(
    (
        *("PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK", "DUP", "NONE", "NEWTRUE", "NEWFALSE"),
        *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
        *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
        *("EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
        *("EMPTY_DICT", "SETITEM", "SETITEMS"),
        *("BINPUT", "LONG_BINPUT", "MEMOIZE", "BINGET", "LONG_BINGET"),
        *("GLOBAL", "STACK_GLOBAL", "REDUCE", "NEWOBJ", "BUILD"),
    )
)
"""Opcodes of pickled frames; no extension registry, persistent reference or out-of-band buffer."""


def _check_opcodes(content: bytes) -> None:
    """Reject what no plain frame needs before building anything: other opcodes, other names, a huge memo."""
    argument: Any
    for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        if opcode.name not in _OPCODES:
            raise pickle.UnpicklingError(f"it holds the opcode {opcode.name}")
        if opcode.name == "GLOBAL":
            _stand_in(*argument.split(" ", 1))
        if opcode.name in ("BINPUT", "LONG_BINPUT") and argument > count:
            raise pickle.UnpicklingError("its memo is larger than what it holds")


class _FrameUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return _stand_in(module, name)

    def persistent_load(self, pid: Any) -> NoReturn:
        raise pickle.UnpicklingError("it holds a persistent reference")


def _stand_in(module: str, name: str) -> Any:
    if (module, name) not in _STAND_INS:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")
    return _STAND_INS[module, name]


class _Sealed(type):
    """Metaclass of the stand-ins: a pickle cannot set attributes of the classes themselves."""

    def __setattr__(cls, name: str, value: Any) -> NoReturn:
        raise pickle.UnpicklingError("it sets an attribute of a class")


class _Marker(metaclass=_Sealed):
    """A name that is only an argument of another stand-in."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it sets the state of a class that has none")


class _Array(_Marker):
    """``numpy.ndarray``, from ``_reconstruct`` and a state, or from a buffer."""

    __slots__ = ("value",)
    value: NDArray[Any]

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        self.value = _array(data, dtype, shape, "F" if fortran else "C")


class _Reconstruct(_Marker):
    """``numpy.core.multiarray._reconstruct``: an empty array, filled later from a state."""

    __slots__ = ()

    def __new__(cls, *_: Any) -> Any:
        return _Array()


class _FromBuffer(_Marker):
    """``numpy.core.numeric._frombuffer``: an array over bytes, of a pickle of protocol 5."""

    __slots__ = ()

    def __new__(cls, data: Any, dtype: Any, shape: Any, order: Any) -> Any:
        array = _Array()
        array.value = _array(data, dtype, shape, order)
        return array


class _Dtype(_Marker):
    """``numpy.dtype``: plain numbers, or object for texts."""

    __slots__ = ("order", "spec")

    def __init__(self, spec: str, *_: Any):
        if type(spec) is not str or not re.fullmatch(r"b1|[iu][1248]|f[248]|O8?", spec):
            raise pickle.UnpicklingError(f"it holds an array of dtype {spec!r}")
        self.spec, self.order = spec, "<"

    def __setstate__(self, state: Any) -> None:
        _, order, *rest = state
        if order not in ("<", ">", "|", "=") or any(r is not None for r in rest[:3]):
            raise pickle.UnpicklingError("it holds a structured dtype")
        self.order = "<" if order in "|=" else order


def _array(data: Any, dtype: Any, shape: Any, order: Any) -> NDArray[Any]:
    if type(dtype) is not _Dtype or type(shape) is not tuple or any(type(s) is not int or s < 0 for s in shape):
        raise pickle.UnpicklingError("it holds a malformed array")
    if order not in ("C", "F"):
        raise pickle.UnpicklingError("it holds an array in an unknown order")
    if dtype.spec.startswith("O"):
        if type(data) is not list or any(type(d) is not str for d in data) or len(data) != prod(shape):
            raise pickle.UnpicklingError("it holds an array of objects that are not texts")
        flat: NDArray[Any] = np.empty(len(data), dtype=object)
        flat[:] = data
    else:
        if type(data) not in (bytes, bytearray):
            raise pickle.UnpicklingError("it holds an array without bytes")
        flat = np.frombuffer(data, dtype=np.dtype(dtype.order + dtype.spec))
        if flat.size != prod(shape):
            raise pickle.UnpicklingError("it holds an array whose bytes do not fill its shape")
    return flat.reshape(shape, order=order)


class _Index(_Marker):
    """``pandas.Index`` and its kinds, handed to ``_new_Index``."""

    __slots__ = ()


class _NewIndex(_Marker):
    """``pandas.core.indexes.base._new_Index``: the labels of an axis."""

    __slots__ = ("labels",)
    labels: Any

    def __init__(self, _: Any, state: dict[str, Any]):
        if "data" in state:
            if type(state["data"]) is not _Array:
                raise pickle.UnpicklingError("it holds a malformed index")
            self.labels = state["data"].value
        else:
            self.labels = range(*(int(state[k]) for k in ("start", "stop", "step")))


class _Slice(_Marker):
    """``builtins.slice`` of integers: positions of a block's columns."""

    __slots__ = ("places",)
    places: range

    def __init__(self, start: int, stop: int, step: int | None):
        self.places = range(start, stop, 1 if step is None else step)


class _Manager(_Marker):
    """``BlockManager``: the axes and the blocks of equal type."""

    __slots__ = ("axes", "blocks")

    def __setstate__(self, state: Any) -> None:
        content = state[3]["0.14.1"]
        self.axes, self.blocks = content["axes"], content["blocks"]


class _Frame(_Marker):
    """``DataFrame``."""

    __slots__ = ("manager",)

    def __setstate__(self, state: Any) -> None:
        self.manager = state["_data"]

    def columns(self) -> dict[str, NDArray[Any]]:
        if type(self.manager) is not _Manager or any(type(a) is not _NewIndex for a in self.manager.axes):
            raise pickle.UnpicklingError("it holds a malformed frame")
        names, rows = (a.labels for a in self.manager.axes)
        found: dict[str, NDArray[Any]] = {}
        for block in self.manager.blocks:
            values, where = block["values"].value, block["mgr_locs"]
            places = where.places if type(where) is _Slice else where.value.tolist()
            if values.shape != (len(places), len(rows)):
                raise pickle.UnpicklingError(f"a block of shape {values.shape} for {len(places)} x {len(rows)} cells")
            found.update((str(names[place]), line) for place, line in zip(places, values, strict=True))
        if len(found) != len(names) or any(str(n) not in found for n in names):
            raise pickle.UnpicklingError("its blocks do not fill its columns")
        return {str(n): found[str(n)] for n in names}


_STAND_INS: dict[tuple[str, str], type] = {
    ("pandas.core.frame", "DataFrame"): _Frame,
    ("pandas.core.internals", "BlockManager"): _Manager,
    ("pandas.core.internals.managers", "BlockManager"): _Manager,
    ("pandas.core.indexes.base", "_new_Index"): _NewIndex,
    ("pandas.core.indexes.base", "Index"): _Index,
    ("pandas.core.indexes.range", "RangeIndex"): _Index,
    ("pandas.core.indexes.numeric", "Int64Index"): _Index,
    ("numpy", "ndarray"): _Marker,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _Reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _Reconstruct,
    ("numpy.core.numeric", "_frombuffer"): _FromBuffer,
    ("numpy._core.numeric", "_frombuffer"): _FromBuffer,
    ("builtins", "slice"): _Slice,
}
"""Allowed names in pickled frames, and their stand-ins."""
