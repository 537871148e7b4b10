"""Truncated, altered and hostile files for every importer, which reads them in a process of its own.

``python tests/fuzz.py COUNT MEGABYTES SEED FOLDER [IMPORTER...]`` reads COUNT small files of each importer and, unless
MEGABYTES is 0, some that are about as large or would unpack to much more. It prints one JSON line for each importer:
how many were read and refused, what was wrong, and the memory that it took. Each importer is a fork of one
process, so that modules are imported once.
"""

from __future__ import annotations

import base64
import bz2
import collections
import gzip
import io
import json
import os
import pickle
import re
import resource
import signal
import struct
import sys
import traceback
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from official_files import CELLS, TEXTS, entry, hardware, hostile_pickles, naslib, old_torch, rows_360, whole

from nastk.data import hw_nas_bench_360, imported, measured
from nastk.data.official import nasbench101_tfrecord, nats_bench_mcu
from nastk.errors import DataWarning, NastkError
from nastk.spaces.nasbench201 import NASBench201
from nastk.spaces.nasbench301 import NASBench301

SECONDS = 100
"""Processor time that no file may take; sound ones of this size take a hundredth."""
FREE, SHARE = 500 << 20, 10
"""Memory that a file may take: beyond a fixed part, so many times its size."""
LINE = 10_000
"""Most characters of a message."""
CEILING = 6 << 30
"""Address space of a process, so that a failure of this test is not one of the machine."""

# ---- sound files, as small as they can be


def _csv(heading: str, *columns: Any) -> bytes:
    rows = [";".join(map(str, row)) for row in zip(*columns, strict=True)]
    return "\n".join([heading, *rows, ""]).encode()


def _pth() -> dict[str, Any]:
    return {**whole([3]), "meta_archs": TEXTS[:20]}


def _eagle() -> bytes:
    return pickle.dumps({tuple(map(int, cell)): 1e-3 * (i + 1) for i, cell in enumerate(CELLS[:120])})


def _tfrecord() -> bytes:
    """The content of one record."""
    run_of = struct.pack("<BdBdBd", 2 << 3 | 1, 5.0, 4 << 3 | 1, 0.9, 5 << 3 | 1, 0.8)
    metrics = base64.b64encode(bytes([1 << 3 | 2, len(run_of)]) + run_of + bytes([2 << 3, 100])).decode()
    fields = ("ab", 108, "010001000", "input,conv3x3-bn-relu,output", metrics)
    return json.dumps(fields).encode()


def _record(content: bytes) -> bytes:
    head = struct.pack("<Q", len(content))
    checked = [struct.pack("<I", nasbench101_tfrecord._masked_crc(part)) for part in (head, content)]
    return head + checked[0] + content + checked[1]


def _predictions() -> list[bytes]:
    space = NASBench301()
    texts = space.format_all(space.sample(3, 4))
    rows = "".join(f'"{text}",{90 + i},{1000 + i}\n' for i, text in enumerate(texts))
    objects = [json.dumps({"genotype": text, "val_accuracy": 90 + i}) for i, text in enumerate(texts)]
    return [f"genotype,val_accuracy,runtime\n{rows}".encode(), "\n".join(objects).encode()]


def _transbench() -> bytes:
    scores = {"model_info": {}, "total_epochs": 2, "metrics": {"valid_top1": [1.0, 50.0], "test_top1": [2.0, 49.0]}}
    return pickle.dumps({"data": {"micro": {"64-41414-1_02_333": {"class_scene": scores}}, "macro": {}}}, 2)


def _parquet() -> list[bytes]:
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        return []
    values = np.linspace(10, 90, 20)
    return [_as_parquet({"arch": archs, "acc": values, "ms": values}) for archs in (TEXTS[:20], CELLS[:20].tolist())]


def _hw_nas_bench_360() -> list[bytes]:
    return [_as_parquet(rows_360())] if _parquet() else []


def _as_parquet(columns: dict[str, Any]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), file)
    return file.getvalue()


def _own() -> list[bytes]:
    values = np.linspace(10, 90, 20)
    names = "edge 0-1;edge 0-2;edge 1-2;edge 0-3;edge 1-3;edge 2-3"
    return [
        _csv("arch;acc;ms", TEXTS[:20], values, values),
        _csv("arch;acc;ms", [",".join(map(str, cell)) for cell in CELLS[:20]], values, values),
        _csv("x0;x1;x2;x3;x4;x5;acc;ms", *CELLS[:20].T, values, values),
        _csv(f"{names};acc;ms", *CELLS[:20].T, values, values),
    ]


def _mcu() -> bytes:
    heading = ["arch_idx", "arch_str", *nats_bench_mcu.COLUMNS]
    return _csv(";".join(heading), np.arange(20), TEXTS[:20], *np.tile(np.arange(1.0, 21), (len(heading) - 2, 1)))


def _gzip(content: bytes) -> bytes:
    return gzip.compress(content, 1, mtime=0)


OWN = {"space": "nasbench201", "columns": ["acc:test_accuracy", "ms:latency"], "device": "d"}
SUITE = json.dumps({"cifar10": {"(4, 3, 2, 1, 0, 0)": entry(2.0), "(0, 0, 0, 0, 0, 1)": entry(3.0)}}).encode()

Wrap = Callable[[bytes], bytes]


def _torch_zip(content: bytes) -> bytes:
    """A torch file of today around a pickle."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/data.pkl", content)
    return file.getvalue()


def _old_torch(content: bytes) -> bytes:
    """A torch file of before 1.6 around a pickle."""
    return old_torch("?").replace(pickle.dumps("?", 2), content)


def _bring(form: str, **options: Any) -> Callable[[Path], object]:
    return lambda path: imported.bring(form, [path], "fuzz", **options)


def _measured(path: Path) -> object:
    return measured.read(path, NASBench201(), lambda archs: np.full(3, 20.0))


IMPORTERS: dict[str, tuple[str, Callable[[Path], object], Callable[[], list[bytes]], tuple[Wrap, ...]]] = {
    "csv": ("mine.csv", _bring("csv", **OWN), _own, (bytes,)),
    "csv.gz": ("mine.csv.gz", _bring("csv", **OWN), _own, (_gzip,)),
    "parquet": ("mine.parquet", _bring("parquet", **OWN), _parquet, (bytes,)),
    "hw-nas-bench-360": (
        "dataset.parquet",
        lambda path: hw_nas_bench_360.draft(lambda _: path),
        _hw_nas_bench_360,
        (bytes,),
    ),
    "measured": (
        "mine.csv",
        _measured,
        _own,
        (bytes,),
    ),
    "eagle": ("device.pickle", _bring("eagle"), lambda: [_eagle()], (bytes,)),
    "hw-nas-bench": ("hw.pickle", _bring("hw-nas-bench"), lambda: [_hardware()], (bytes,)),
    "nasbench101-tfrecord": (
        "a.tfrecord",
        _bring("nasbench101-tfrecord"),
        lambda: [_tfrecord()],
        (_record,),
    ),
    "nasbench201-pth": (
        "a.pth",
        _bring("nasbench201-pth"),
        lambda: [pickle.dumps(_pth(), 2)],
        (_old_torch, _torch_zip),
    ),
    "nasbench301-predictions": ("a.txt", _bring("nasbench301-predictions"), _predictions, (bytes,)),
    "naslib-pickle": (
        "a.pickle",
        _bring("naslib-pickle"),
        lambda: [pickle.dumps(naslib([1, 2], 5), protocol) for protocol in (2, 4)],
        (bytes,),
    ),
    "nats-bench": (
        "a.pickle.pbz2",
        _bring("nats-bench"),
        lambda: [pickle.dumps({**whole([3], "12", "200"), "meta_archs": TEXTS[:20]}, 4)],
        (bz2.compress,),
    ),
    "nats-bench-mcu": ("hw_metrics.csv", _bring("nats-bench-mcu"), lambda: [_mcu()], (bytes,)),
    "suite-zero": ("zc_nasbench201.json", _bring("suite-zero"), lambda: [SUITE], (bytes,)),
    "transbench101-pth": (
        "a.pth",
        _bring("transbench101-pth"),
        lambda: [_transbench()],
        (_torch_zip, _old_torch),
    ),
}
"""Of each importer: the name of its file, what reads it, sound contents, and what is wrapped around them."""
PARQUET = ("parquet", "hw-nas-bench-360")
"""Those that need pyarrow: without it they have no sound content, and nothing is read."""


def _hardware() -> bytes:
    content = hardware()
    for part in content["nasbench201"].values():
        part.pop("config", None)
    return pickle.dumps(content)


# ---- hostile ones


def bombs(megabytes: int) -> list[bytes]:
    """Pickles that a few bytes make large: objects of a byte each, copies of copies, colliding keys, deep nesting."""
    n = megabytes << 20
    text = b"X" + struct.pack("<I", 1 << 20) + b"x" * (1 << 20) + b"q\x00"
    encode = b"c_codecs\nencode\nq\x01X\x06\x00\x00\x00latin1q\x020"
    listed = b"](" + b"K\x01" * 100_000 + b"eq\x00"
    ordered = b"ccollections\nOrderedDict\nq\x010"
    pairs = b"](" + b"".join(b"K" + bytes([i % 250]) + b"K\x01\x86" for i in range(1000)) + b"eq\x00"
    wide = b"".join(b"\x8a\x0a" + ((2**61 - 1) * (i + 2**12)).to_bytes(10, "little") + b"N" for i in range(n // 16))
    return [
        b"\x80\x02" + b"}" * n,
        b"\x80\x02](" + b"]" * n + b"e.",
        b"\x80\x02](" + b"N" * n + b"e.",
        b"\x80\x02" + b"(" * n + b"t" * 10,
        b"\x80\x02" + text + encode + b"](" + b"h\x01h\x00h\x02\x86R" * (n // 8) + b"e.",
        b"\x80\x02" + listed + b"c__builtin__\nset\nq\x010](" + b"h\x01h\x00\x85R" * (n // 6) + b"e.",
        b"\x80\x02" + pairs + ordered + b"](" + b"h\x01h\x00\x85R" * (n // 6) + b"e.",
        b"\x80\x02}(" + wide + b"u.",
        b"\x80\x02" + b"]q\x00" + b"h\x00\x85" * (n // 3) + b".",
    ]


def texts(megabytes: int) -> list[bytes]:
    """Tables and documents of many small parts, or of one without end."""
    n = megabytes << 20
    return [
        b"arch,acc,ms\n" + b"1,2,3\n" * (n // 6),
        b"arch,acc,ms\n" + b"12345,23,45\n" * (n // 12),
        b"arch,acc,ms\n" + b'"' + b"a,\n" * (n // 3),
        b"arch,acc,ms\n" + b"\n" * n,
        b"arch,acc,ms\n" + b"1" * n,
        b",".join(b"c%d" % i for i in range(n // 8)) + b"\n",
        b"[" * n,
        b"[" + b"[]," * (n // 3) + b"[]]",
        b'{"cifar10": {' + b",".join(b'"(%d,)": {}' % i for i in range(n // 16)) + b"}}",
        b'{"cifar10": {"(4, 3, 2, 1, 0, 0)": {"nwot": ' + b"9" * min(n, 1 << 20) + b"}}}",
        b"{}\n" * (n // 3),
        b"genotype,val_accuracy\n" + b"(" * min(n, 1 << 20) + b",90\n",
        b"genotype,val_accuracy\n" + b"Genotype(normal=" + b"[" * 50_000 + b",90\n",
        bytes(n),
        struct.pack("<Q", 2**40) + struct.pack("<I", nasbench101_tfrecord._masked_crc(struct.pack("<Q", 2**40))),
        _record(b"[" * 60_000),
    ]


def packed(megabytes: int) -> list[bytes]:
    """Archives that unpack to a thousand times their size, or have a million members."""
    n = megabytes << 20
    pickled = b"\x80\x02" + b"}" * (n // 4)
    body = zlib.compress(pickled + b"." * n, 6)
    deflated, many = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(deflated, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", pickled + bytes(16 * n))
    with zipfile.ZipFile(many, "w") as archive:
        for number in range(n // 400):
            archive.writestr(str(number), b"")
    block = bz2.compress(b"}" * (1 << 20))
    return [
        deflated.getvalue(),
        many.getvalue(),
        bz2.compress(b"\x80\x02") + block * (64 * megabytes),
        bz2.compress(b"\x80\x02](") + bz2.compress(b"N" * (1 << 20)) * (64 * megabytes),
        _gzip(b"arch,acc,ms\n" + b"1,2,3\n" * (16 * n // 6)),
        body,
    ]


def dense_parquet(rows: int) -> list[bytes]:
    """Tables whose entries are all alike, so that a million of them take no room; one of long texts."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        return []
    found = []
    for arch in (pyarrow.scalar(TEXTS[0]), pyarrow.scalar("x" * 100_000), pyarrow.scalar(7)):
        file = io.BytesIO()
        many = pyarrow.repeat(arch, min(rows, 20_000 if len(str(arch)) > 1000 else rows))
        values = pyarrow.repeat(pyarrow.scalar(1.5), len(many))
        pyarrow.parquet.write_table(pyarrow.table({"arch": many, "acc": values, "ms": values}), file)
        found.append(file.getvalue())
    return found


def _in_files(pickles: list[bytes]) -> list[bytes]:
    """Pickles by themselves, packed, and as both kinds of torch files."""
    wraps: tuple[Wrap, ...] = (bytes, _torch_zip, _old_torch, bz2.compress)
    return [wrap(content) for content in pickles for wrap in wraps]


def hostile() -> list[bytes]:
    """Small files that no importer must fall for."""
    odd = ["9_0.5", "٣", "²", "1e999", "True", "NaN", "-0", "0x1", "1" * 5000, "9" * 25, "\x1b[2J", "=1+1", "\\"]
    lines = [f"arch;acc;ms\n{TEXTS[0]};{value};{value}\n{value};1;1\n".encode() for value in odd]
    lines += [f"{value};acc;ms\n{TEXTS[0]};1;1\n".encode() for value in odd]
    marks = [b"", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\xff\xfeA", b"PK\x05\x06" + bytes(18), b"PAR1", b"\x1f\x8b"]
    return [*lines, *marks, *_in_files(list(hostile_pickles().values()))]


def large(name: str, megabytes: int) -> list[bytes]:
    """Files of about so many megabytes of an importer's own sort, or of few bytes that become as many."""
    _, _, contents, wraps = IMPORTERS[name]
    if name in PARQUET:
        return [*dense_parquet(megabytes << 20), b"PAR1" + bytes(megabytes << 20) + b"PAR1"]
    if contents()[0].startswith(b"\x80"):
        return [*packed(megabytes), *(wrap(content) for content in bombs(megabytes) for wrap in wraps)]
    return [*packed(megabytes), *(wrap(content) for content in texts(megabytes) for wrap in {*wraps, bytes})]


ODD = [
    b"\xff",
    b"\x00",
    b'"',
    b";",
    b",",
    b"\n",
    b"}",
    b"]",
    b"null",
    b"true",
    b"[]",
    b"{}",
    b"[[1]]",
    b'"x"',
    "²".encode(),
]
ODD += [b"-1", b"0", b"120", b"1e999", b"9_0.5", b"nan", b"inf", b"9" * 30, b"1" * 5000, b"1e-320", b"%", b"1,5"]
"""What is inserted, or takes the place of a number or word."""
OPCODES = bytes(ord(code) for code in ".0]})(tueasbRcqrhjKMJGXUNQ\x85\x86\x87\x88\x8a\x8c\x93\x94\x95")
"""Bytes that mean something in a pickle."""


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """The content truncated, or with some bytes replaced, left out, repeated or inserted."""
    where = int(rng.integers(len(content) + 1))
    length = int(rng.integers(1, 20))
    kind = rng.choice(["truncated", "bytes", "opcodes", "word", "word", "left out", "repeated", "inserted"])
    odd = ODD[rng.integers(len(ODD))]
    words = list(re.finditer(rb"[-\w.]+", content[where : where + 2000])) if kind == "word" else []
    if words:
        start, end = words[rng.integers(len(words))].span()
        return content[: where + start] + odd + content[where + end :]
    if kind == "truncated":
        return content[:where]
    if kind == "left out":
        return content[:where] + content[where + length :]
    if kind == "repeated":
        return content[: where + length] + content[where:]
    if kind == "inserted":
        return content[:where] + odd * length + content[where:]
    altered = bytearray(content)
    for place in rng.integers(len(content), size=rng.integers(1, 9)) if content else []:
        altered[place] = OPCODES[rng.integers(len(OPCODES))] if kind == "opcodes" else rng.integers(256)
    return bytes(altered)


# ---- reading them


def _wrong(read: Callable[[Path], object], path: Path) -> str | None:
    """What is wrong with how a file is read; None if it is read, "refused" if it is refused in one line."""
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            read(path)
        return None
    except NastkError as error:
        said = str(error)
        return "refused" if "\n" not in said and len(said) < LINE else f"not one line: {said[:500]!r}"
    except BaseException:
        return traceback.format_exc(limit=-3)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _peak() -> int:
    """Bytes that this process held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _write_large(name: str, megabytes: int, folder: Path) -> None:
    """Write the large files; to make some takes more memory than to read them may."""
    for number, content in enumerate(large(name, megabytes)):
        (folder / f"large-{number:03}").write_bytes(content)


def check(name: str, count: int, seed: int, folder: Path) -> dict[str, Any]:
    """Read `count` damaged and hostile files of an importer, and every large one in its folder."""
    filename, reader, contents, wraps = IMPORTERS[name]
    path = folder / filename
    os.environ["NASTK_HOME"] = str(folder / "home")
    rng = np.random.default_rng([seed, *name.encode()])
    outcomes: collections.Counter[str] = collections.Counter()
    wrong: list[str] = []
    sound = [(content, wrap) for content in contents() for wrap in wraps]
    for content, wrap in sound:
        path.write_bytes(wrap(content))
        assert (problem := _wrong(reader, path)) is None, f"a sound file is not read: {problem}"
    small = hostile()
    before = _peak()

    def read(what: str) -> None:
        size = path.stat().st_size
        problem = _wrong(reader, path)
        outcomes["read" if problem is None else "refused" if problem == "refused" else "wrong"] += 1
        taken, allowed = _peak() - before, FREE + SHARE * size
        if taken > allowed:
            problem = f"it takes {taken >> 20} MiB, more than {allowed >> 20} MiB; {problem}"
        if problem not in (None, "refused"):
            wrong.append(f"{what}: {problem}")
            os.replace(path, folder / f"wrong-{len(wrong)}")

    for number in range(count if sound else 0):
        if number % 4 == 0:
            content, wrap = small[int(rng.integers(len(small)))], bytes
        else:
            content, wrap = sound[int(rng.integers(len(sound)))]
        inside = number % 2 == 1  # below the checksums of the form, if it has any
        path.write_bytes(wrap(damaged(content, rng)) if inside else damaged(wrap(content), rng))
        read(f"file {number}")
    for file in sorted(folder.glob("large-*"), key=lambda file: (file.stat().st_size, file)):
        os.replace(file, path)
        read(file.name)
    return {"importer": name, **outcomes, "MiB": (_peak() - before) >> 20, "problems": wrong[:5]}


def _forked(action: Callable[[], Any]) -> None:
    """Do something in a process of its own, and wait for its end."""
    if child := os.fork():
        os.waitpid(child, 0)
        return
    try:
        action()
        sys.stdout.flush()
        os._exit(0)
    except BaseException:
        print(json.dumps({"problems": [traceback.format_exc()]}), flush=True)
        os._exit(1)


def main(count: int, megabytes: int, seed: int, folder: Path, names: list[str]) -> None:
    """Check importers, each in a process of its own, and print what was found."""

    def out_of_time(*_: Any) -> None:
        raise TimeoutError(f"more than {SECONDS} s of processor time")

    signal.signal(signal.SIGPROF, out_of_time)
    resource.setrlimit(resource.RLIMIT_AS, (CEILING, CEILING))
    for name in names or IMPORTERS:
        own = folder / name
        own.mkdir(parents=True)
        if megabytes and IMPORTERS[name][2]():
            _forked(lambda name=name, own=own: _write_large(name, megabytes, own))
        _forked(lambda name=name, own=own: print(json.dumps(check(name, count, seed, own))))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]), sys.argv[5:])
