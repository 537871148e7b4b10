"""NAS-Bench-101's own files, nasbench_full.tfrecord and nasbench_only108.tfrecord (Ying et al., ICML 2019).

A record is a JSON list: hash, epochs, adjacency matrix as digits, operations, and metrics as a protocol buffer in
base64. TensorFlow is not needed.
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nastk.data.official import Measurements
from nastk.data.readers import cut
from nastk.data.tables import Column
from nastk.errors import DataError, InvalidArchitecture
from nastk.spaces.nasbench101 import NASBench101

SPACE = "nasbench101"
"""Space of the file's architectures."""

RECORD_LIMIT = 2**16
"""Most bytes of a record; those of the benchmark have a few hundred."""


def read(paths: Sequence[str | Path]) -> list[Measurements]:
    """Mean validation and test accuracy (%) at each number of epochs, training seconds, parameters.

    Raises:
        DataError: not a record file, truncated, altered (each record has a checksum), or a record of another form.
    """
    space = NASBench101()
    rows: dict[tuple[str, str], int] = {}
    matrices: list[tuple[str, str]] = []
    values: dict[int, dict[int, list[tuple[float, float, float]]]] = {}
    params: dict[int, float] = {}
    for path in paths:
        for number, record in enumerate(_records(Path(path)), 1):
            try:
                _, epochs, adjacency, operations, metrics = json.loads(record)
                row = rows.setdefault((adjacency, operations), len(rows))
                if row == len(matrices):
                    matrices.append((adjacency, operations))
                params[row], last = _metrics(base64.b64decode(metrics, validate=True))
                values.setdefault(int(epochs), {}).setdefault(row, []).append(last)
            except (
                ValueError, TypeError, AttributeError, struct.error, binascii.Error, IndexError, RecursionError
            ) as error:  # fmt: skip
                raise DataError(f"{path}, record {number}, is not NAS-Bench-101's: {cut(error)}") from error
    if not matrices:
        raise DataError(f"{', '.join(map(str, paths)) or 'no file'}: no records")
    try:
        archs = np.stack([_row(space, *pair) for pair in matrices])
    except (InvalidArchitecture, ValueError) as error:
        raise DataError(f"{paths[0]}: a record is no cell of NAS-Bench-101: {cut(error)}") from error
    if len(np.unique(archs, axis=0)) != len(archs):
        raise DataError(f"{paths[0]}: a cell comes twice in different forms")
    columns = []
    for epochs in sorted(values):
        known = {row: np.array(list(dict.fromkeys(runs))) for row, runs in values[epochs].items()}
        spread = np.full((3, len(archs)), np.nan)
        for row, runs in known.items():
            spread[:, row] = runs.mean(axis=0)
        note = "mean over trainings"
        for metric, line, scale in (("val_accuracy", 1, 100.0), ("test_accuracy", 2, 100.0)):
            column = Column(metric, "accuracy", "%", dataset="cifar10", fidelity=epochs, note=note)
            columns.append((column, scale * spread[line]))
        seconds = Column("training_seconds", "seconds", "s", "min", dataset="cifar10", fidelity=epochs, note=note)
        columns.append((seconds, spread[0]))
    count: NDArray[np.float64] = np.array([params[row] for row in range(len(archs))], dtype=np.float64)
    columns.append((Column("params", "count", "", "min", variant="official"), count))
    return [Measurements(SPACE, archs, columns)]


def _row(space: NASBench101, adjacency: str, operations: str) -> NDArray[np.int64]:
    labels = operations.split(",")
    digits = np.array([int(c) for c in adjacency])
    return space.from_matrix(digits.reshape(len(labels), len(labels)), labels)


# ---- records: length, its checksum, content, its checksum


def _records(path: Path) -> Iterator[bytes]:
    try:
        with open(path, "rb") as file:
            while head := file.read(12):
                if len(head) < 12:
                    raise DataError(f"{path} is cut off")
                length, check = struct.unpack("<QI", head)
                if check != _masked_crc(head[:8]):
                    raise DataError(f"{path} is not a record file, or altered")
                if length > RECORD_LIMIT:
                    raise DataError(f"{path} has a record of {length} bytes, expected {RECORD_LIMIT} at most")
                content, tail = file.read(length), file.read(4)
                if len(content) < length or len(tail) < 4:
                    raise DataError(f"{path} is cut off")
                if struct.unpack("<I", tail)[0] != _masked_crc(content):
                    raise DataError(f"{path} is altered: a record does not match its checksum")
                yield content
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


@lru_cache(maxsize=1)
def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


def _masked_crc(data: bytes) -> int:
    """CRC-32C (Castagnoli), rotated and shifted as record files store it."""
    table, crc = _crc_table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


# ---- the protocol buffer


def _metrics(content: bytes) -> tuple[float, tuple[float, float, float]]:
    """Parameters, and training seconds, validation and test accuracy of the last evaluation."""
    evaluations, parameters = [], float("nan")
    for number, value in _fields(content):
        if number == 1 and isinstance(value, bytes):
            data = dict(_fields(value))
            evaluations.append(tuple(float(data.get(k, 0.0)) for k in (2, 4, 5)))
        elif number == 2:
            parameters = float(value)
    if not evaluations:
        raise ValueError("no evaluations")
    seconds, validation, test = evaluations[-1]
    if not all(0.0 <= a <= 1.0 for a in (validation, test)):
        raise ValueError(f"accuracies {validation} and {test} are not in 0 to 1")
    return parameters, (seconds, validation, test)


def _fields(content: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """Number and value of each field: integers, doubles and byte strings occur."""
    place = 0
    while place < len(content):
        key, place = _varint(content, place)
        kind = key & 7
        if kind == 0:
            value, place = _varint(content, place)
            yield key >> 3, value
        elif kind == 1:
            yield key >> 3, struct.unpack_from("<d", content, place)[0]
            place += 8
        elif kind == 2:
            length, place = _varint(content, place)
            if place + length > len(content):
                raise ValueError("a field goes beyond its record")
            yield key >> 3, content[place : place + length]
            place += length
        else:
            raise ValueError(f"a field of kind {kind}")


def _varint(content: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = content[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("an integer of more than ten bytes")
