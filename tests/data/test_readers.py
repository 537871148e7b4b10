"""The readers refuse hostile, truncated and oversized files, and run nothing that a file holds."""

from __future__ import annotations

import builtins
import io
import os
import pickle
import struct
import zipfile
from typing import ClassVar

import numpy as np
import pytest

from nastk.data import _pickles, csv_file, readers
from nastk.errors import DataError

# ---- a pickled pandas frame of an old version, written by hand


class _Global:
    """Pickles as a bare name, so that files can be written that ask for classes which this Python does not have."""

    def __init__(self, module: str, name: str):
        self.module, self.name = module, name


class _Call:
    """Pickles as ``function(*arguments)`` followed by a state."""

    def __init__(self, function, arguments, state=None):
        self.parts = (function, arguments) if state is None else (function, arguments, state)


class _New(_Call):
    """Pickles as ``class.__new__(class)`` followed by a state."""


class _Writer(pickle._Pickler):
    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def _save_global(self, item):
        self.save(item.module)
        self.save(item.name)
        self.write(pickle.STACK_GLOBAL)

    def _save_call(self, item):
        function, arguments, *state = item.parts
        self.save(function)
        self.save(arguments)
        self.write(pickle.NEWOBJ if isinstance(item, _New) else pickle.REDUCE)
        if state:
            self.save(state[0])
            self.write(pickle.BUILD)

    dispatch[_Global] = _save_global
    dispatch[_Call] = _save_call
    dispatch[_New] = _save_call


def dump(item) -> bytes:
    file = io.BytesIO()
    _Writer(file, 4).dump(item)
    return file.getvalue()


def dtype(spec: str, order: str = "<"):
    return _Call(_Global("numpy", "dtype"), (spec, False, True), (3, order, None, None, None, -1, -1, 0))


def array(values: np.ndarray):
    data = values.ravel().tolist() if values.dtype == object else values.tobytes()
    spec = "O8" if values.dtype == object else values.dtype.str[1:]
    make = _Global("numpy.core.multiarray", "_reconstruct")
    state = (1, values.shape, dtype(spec, "|" if spec == "O8" else "<"), False, data)
    return _Call(make, (_Global("numpy", "ndarray"), (0,), b"b"), state)


def index(values: list[str]):
    make = _Global("pandas.core.indexes.base", "_new_Index")
    kind = _Global("pandas.core.indexes.base", "Index")
    return _Call(make, (kind, {"data": array(np.array(values, dtype=object)), "name": None}))


def frame(blocks=None, rows: int = 3):
    axis = _Call(
        _Global("pandas.core.indexes.base", "_new_Index"),
        (_Global("pandas.core.indexes.range", "RangeIndex"), {"name": None, "start": 0, "stop": rows, "step": 1}),
    )
    if blocks is None:
        place = _Call(_Global("builtins", "slice"), (1, 3, 1))
        blocks = [
            {"values": array(np.array([[1.5, 2.5, 3.5], [4.0, 5.0, 6.0]])), "mgr_locs": place},
            {"values": array(np.array([["x", "y", "z"]], dtype=object)), "mgr_locs": array(np.array([0]))},
        ]
    axes = [index(["text", "a", "b"]), axis]
    manager = _New(
        _Global("pandas.core.internals.managers", "BlockManager"),
        (),
        (axes, [], [], {"0.14.1": {"axes": axes, "blocks": blocks}}),
    )
    return _New(_Global("pandas.core.frame", "DataFrame"), (), {"_data": manager, "_typ": "dataframe", "attrs": {}})


@pytest.fixture
def write(tmp_path):
    def write(content: bytes, name: str = "file"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


def test_a_plain_frame_is_read_column_by_column(write):
    columns = readers.read_frame(write(dump(frame())))
    assert list(columns) == ["text", "a", "b"]
    assert columns["text"].tolist() == ["x", "y", "z"]
    np.testing.assert_array_equal(columns["a"], [1.5, 2.5, 3.5])
    np.testing.assert_array_equal(columns["b"], [4.0, 5.0, 6.0])


class _Reduce:
    def __init__(self, *parts):
        self.parts = parts

    def __reduce__(self):
        return self.parts


def hostile(marker: str) -> dict[str, bytes]:
    """Pickles that would leave a file at `marker` if they were run, or take all memory, or are not frames."""
    run = f"open({marker!r}, 'w').close()"
    system = _Call(_Global("posix" if os.name == "posix" else "nt", "system"), (f"touch {marker}",))
    evil_state = {"_data": _Call(_Global("builtins", "exec"), (run,))}
    blocks = [{"values": system, "mgr_locs": system}]
    sly = {"__setstate__": _Global("builtins", "eval")}
    frame_class = _Global("pandas.core.frame", "DataFrame")
    return {
        "os.system": pickle.dumps(_Reduce(os.system, (f"touch {marker}",))),
        "os.system protocol 0": pickle.dumps(_Reduce(os.system, (f"touch {marker}",)), 0),
        "builtins.eval": pickle.dumps(_Reduce(eval, (run,))),
        "builtins.exec": pickle.dumps(_Reduce(builtins.exec, (run,))),
        "getattr": pickle.dumps(_Reduce(getattr, ("", "join"))),
        "nested in a state": dump(_New(frame_class, (), evil_state)),
        "nested in a block": dump(frame(blocks)),
        "nested in an array": dump(frame([{"values": array(np.array([[system]], dtype=object)), "mgr_locs": None}])),
        "dotted name": dump(_Call(_Global("numpy", "dtype.__class__"), ("f8",))),
        "module attribute": dump(_Call(_Global("numpy", "load"), (marker,))),
        "submodule": dump(_Call(_Global("numpy.core.multiarray", "scalar"), (dtype("f8"), b"12345678"))),
        "pandas.eval": dump(_Call(_Global("pandas", "eval"), (run,))),
        "state of a class": b"\x80\x04\x8c\x11pandas.core.frame\x8c\tDataFrame\x93}\x8c\x01a\x8c\x01bsb.",
        "attribute of a class": b"\x80\x04\x8c\x11pandas.core.frame\x8c\tDataFrame\x93N}\x8c\x01a\x8c\x01bs\x86b.",
        "sly attribute": dump([_Call(frame_class, (), (None, sly))]),
        "instance opcode": b"(S'touch " + marker.encode() + b"'\nios\nsystem\n.",
        "object opcode": b"(cos\nsystem\nS'touch " + marker.encode() + b"'\no.",
        "extension registry": b"\x80\x02\x82\x01.",
        "persistent reference": b"\x80\x02K\x01Q.",
        "out-of-band buffer": b"\x80\x05\x97.",
        "structured dtype": dump(frame([{"values": _Call(_Global("numpy", "dtype"), ("f8,i4",)), "mgr_locs": None}])),
        "void dtype": dump(_Call(_Global("numpy", "dtype"), ("V1000000000000",))),
        "huge memo": b"\x80\x02Nr\xff\xff\xff\x7f.",
        "huge text": b"\x80\x04\x8d" + struct.pack("<Q", 2**60) + b"x.",
        "huge shape": dump(
            _Call(
                _Global("numpy.core.multiarray", "_reconstruct"),
                (_Global("numpy", "ndarray"), (0,), b"b"),
                (1, (2**40, 2**20), dtype("f8"), False, b"12345678"),
            )
        ),
        "huge index": dump(frame(rows=10**15)),
        "too deep": b"\x80\x02" + b"(" * 100_000 + b".",
        "not a frame": pickle.dumps([1, 2, 3]),
        "empty": b"",
        "noise": b"\x80\x04" + bytes(range(256)),
    }


@pytest.mark.parametrize("name", hostile("marker"))
def test_hostile_pickles_are_refused_and_nothing_runs(name, write, tmp_path):
    marker = tmp_path / "was-run"
    path = write(hostile(str(marker))[name])
    with pytest.raises(DataError) as caught:
        readers.read_frame(path)
    assert not marker.exists()
    assert "\n" not in str(caught.value)


def test_the_stand_ins_are_unharmed_by_what_was_refused(write, tmp_path):
    for content in hostile(str(tmp_path / "was-run")).values():
        with pytest.raises(DataError):
            readers.read_frame(write(content))
    assert list(readers.read_frame(write(dump(frame())))) == ["text", "a", "b"]


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_frame_is_refused(keep, write):
    content = dump(frame())
    with pytest.raises(DataError, match="truncated"):
        readers.read_frame(write(content[: int(keep * len(content))]))


# ---- torch


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_torch_files_hold_plain_data_only(write, tmp_path):
    import torch

    file = io.BytesIO()
    torch.save([1.5, 2, {"a": [3]}], file)
    assert _pickles.load_torch(write(file.getvalue()), readers.LIMIT) == [1.5, 2, {"a": [3]}]
    with pytest.raises(DataError, match="truncated"):
        _pickles.load_torch(write(file.getvalue()[:200]), readers.LIMIT)
    marker = tmp_path / "was-run"
    file = io.BytesIO()
    torch.save(_Reduce(os.system, (f"touch {marker}",)), file)
    with pytest.raises(DataError):
        _pickles.load_torch(write(file.getvalue()), readers.LIMIT)
    with pytest.raises(DataError):
        _pickles.load_torch(write(pickle.dumps(_Reduce(os.system, (f"touch {marker}",)))), readers.LIMIT)
    assert not marker.exists()


# ---- JSON and CSV


def test_json_that_is_truncated_too_deep_or_too_large_is_refused(write):
    assert readers.read_json(write(b'{"a": 1}')) == {"a": 1}
    for content in (b'{"a": ', b"\xff\xfe", b"[" * 100_000):
        with pytest.raises(DataError, match="not JSON"):
            readers.read_json(write(content))
    with pytest.raises(DataError, match="larger than"):
        readers.read_json(write(b"[1, 2, 3]"), limit=4)
    with pytest.raises(DataError, match="cannot read"):
        readers.read_json("no/such/file")


def test_csv_is_checked_for_columns_cells_and_rows(write):
    path = write(b'net,x\n"(1, 2)",3.5\n"(2, 1)",4\n')
    assert csv_file.read(path, ["x", "net"], rows=2) == {"x": ["3.5", "4"], "net": ["(1, 2)", "(2, 1)"]}
    with pytest.raises(DataError, match="no column 'y'"):
        csv_file.read(path, ["y"])
    with pytest.raises(DataError, match="has 2 rows, expected 3"):
        csv_file.read(path, ["x"], rows=3)
    with pytest.raises(DataError, match="line 3 has 1 cell under 2 headings"):
        csv_file.read(write(b"a,b\n1,2\n3\n"), ["a"])
    with pytest.raises(DataError, match="not CSV"):
        csv_file.read(write(b'a,b\n1,"2\n'), ["a"])
    with pytest.raises(DataError, match="is empty"):
        csv_file.read(write(b""), ["a"])


def test_numbers_says_what_is_not_one():
    np.testing.assert_array_equal(readers.numbers(["1.5", 2], "x"), [1.5, 2.0])
    with pytest.raises(DataError, match="latency: not a number"):
        readers.numbers(["1.5", "two"], "latency")


# ---- archives


def archive(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as out:
        for name, content in members.items():
            out.writestr(name, content)
    return file.getvalue()


def test_matching_members_are_read_in_memory(write):
    path = write(archive({"a/x.json": b"1", "a/y.txt": b"2", "b/": b""}))
    assert readers.read_zip(path, "*.json") == {"a/x.json": b"1"}
    assert readers.read_zip(path) == {"a/x.json": b"1", "a/y.txt": b"2"}


@pytest.mark.parametrize("name", ["../x.json", "a/../../x.json", "/etc/x.json", "..\\x.json", "C:\\x.json"])
def test_a_member_that_leaves_the_archive_is_refused(write, name):
    with pytest.raises(DataError, match="leave the archive's folder"):
        readers.read_zip(write(archive({"good.json": b"1", name: b"2"})), "good.json")


def test_an_archive_that_unpacks_to_too_much_is_refused(write):
    path = write(archive({"a": bytes(600_000), "b": bytes(600_000)}))
    assert len(readers.read_zip(path, limit=1_200_000)) == 2
    with pytest.raises(DataError, match="more than the limit"):
        readers.read_zip(path, limit=1_000_000)


def test_a_damaged_archive_is_refused(write):
    content = archive({"a": os.urandom(2000)}, zipfile.ZIP_STORED)
    for damaged in (content[:500], b"", content[:100] + b"?" * 50 + content[150:]):
        with pytest.raises(DataError):
            readers.read_zip(write(damaged))
    twice = archive({"a": b"1", "b": b"2"}).replace(b"b", b"a")
    with pytest.raises(DataError, match="comes twice"):
        readers.read_zip(write(twice))
