"""The table of once-for-all MobileNetV3: read safely, checked, and golden values of the real one."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from effort import calls
from scipy.stats import spearmanr

from nastk.data import _pickles, mobilenetv3, tables
from nastk.data.fetch import Store
from nastk.data.tables import Draft
from nastk.errors import DataError
from nastk.spaces.mobilenetv3 import MobileNetV3

SPACE = MobileNetV3()

# ---- reading torch files with NumPy scalars


def torch_file(content: bytes, *more: tuple[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", content)
        for name, other in more:
            archive.writestr(name, other)
    return file.getvalue()


def scalar(
    data: bytes = b"\x02", dtype: bytes = b"X\x02\x00\x00\x00i8", encode: bytes = b"c_codecs\nencode\n"
) -> bytes:
    """The opcodes of a NumPy integer in a pickle of protocol 2; its data are shorter than 64 bits unless given."""
    text = data.decode("latin1").encode()
    made = (
        b"cnumpy\ndtype\n"
        + dtype
        + b"K\x00K\x01\x87R"
        + b"(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    coded = encode + b"X" + len(text).to_bytes(4, "little") + text + b"X\x06\x00\x00\x00latin1\x86R"
    return b"cnumpy.core.multiarray\nscalar\n" + made + coded + b"\x86R"


def pickled(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


@pytest.fixture
def read(tmp_path: Path) -> Callable[[bytes], object]:
    def read(content: bytes) -> object:
        path = tmp_path / "file.pt"
        path.write_bytes(content)
        return _pickles.load_torch(path, 1 << 20)

    return read


def test_numpy_scalars_become_numbers(read):
    whole = scalar((204).to_bytes(8, "little"))
    found = read(torch_file(pickled(b"]" + whole + b"a")))
    assert found == [204]
    assert type(found[0]) is int


def test_what_torch_saves_today_is_read(tmp_path: Path):
    content = {"a": [1, 2.5, "x", None, True], "r": np.int64(204), "f": np.float32(0.5), 3: (4,)}
    torch.save(content, tmp_path / "file.pt")
    assert _pickles.load_torch(tmp_path / "file.pt", 1 << 20) == {**content, "r": 204, "f": 0.5}


class Run:
    def __init__(self, function: object, *arguments: object):
        self.parts = (function, arguments)

    def __reduce__(self):
        return self.parts


def hostile(marker: str) -> dict[str, bytes]:
    """Pickles that would leave a file at `marker` if they were run, take all memory, or hold more than values."""
    run = f"open({marker!r}, 'w').close()"
    eight = (2).to_bytes(8, "little")
    return {
        "os.system": pickle.dumps(Run(os.system, f"touch {marker}"), 2),
        "builtins.eval": pickle.dumps({"arch": Run(eval, run)}, 2),
        "protocol 0": pickle.dumps(Run(os.system, f"touch {marker}"), 0),
        "protocol 4": pickle.dumps([Run(exec, run)], 4),
        "a codec that runs code": pickled(scalar(eight, encode=b"cbuiltins\neval\n")),
        "another codec": pickled(b"c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00utf-8\x86R"),
        "a codec without text": pickled(b"c_codecs\nencode\nK\x01X\x06\x00\x00\x00latin1\x86R"),
        "decode": pickled(b"c_codecs\ndecode\nX\x01\x00\x00\x00aX\x06\x00\x00\x00latin1\x86R"),
        "an object scalar": pickled(scalar(eight, b"X\x02\x00\x00\x00O8")),
        "a structured scalar": pickled(scalar(eight, b"X\x05\x00\x00\x00i4,i4")),
        "too few bytes": pickled(scalar(b"\x01\x02")),
        "a dotted name": pickled(b"cnumpy\ndtype.__class__\nX\x02\x00\x00\x00i8\x85R"),
        "a state of the class": pickled(b"c_codecs\nencode\n}X\x07\x00\x00\x00__doc__K\x01sb"),
        "a gigantic memo": pickled(b"K\x01r\xff\xff\xff\x7f"),
        "a persistent reference": pickled(b"Pstorage\n"),
        "an extension": pickled(b"\x82\x01"),
        "truncated": pickle.dumps([1, 2, 3], 2)[:-3],
        "nothing": b"",
    }


@pytest.mark.parametrize("name", hostile(""))
def test_hostile_files_are_refused_and_run_nothing(name: str, read, tmp_path: Path):
    marker = tmp_path / "marker"
    with pytest.raises(DataError) as refused:
        read(torch_file(hostile(str(marker))[name]))
    assert not marker.exists()
    assert "\n" not in str(refused.value)


def test_files_of_another_form_are_refused(read):
    plain = pickle.dumps([1], 2)
    for content in (b"", plain, torch_file(plain)[:60], torch_file(plain, ("other/data.pkl", plain))):
        with pytest.raises(DataError):
            read(content)
    with pytest.raises(DataError):
        read(torch_file(plain, ("../data.pkl", plain)))


def test_shared_parts_are_looked_at_once(read):
    """Each of 12 lists holds the one before it twice: 2^12 lists to whoever looks at all of them."""
    nested = b"]q\x00" + b"".join(
        b"]q" + bytes([i + 1]) + b"(h" + bytes([i]) + b"h" + bytes([i]) + b"e" for i in range(12)
    )
    file = torch_file(pickled(nested))
    assert len(read(file)) == 2
    assert calls(lambda: read(file)) < 2**12


# ---- the importer


def test_the_importer_checks_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mobilenetv3, "N", 3)
    subnets = [SPACE.to_ofa(arch) for arch in SPACE.sample(3, 0)]
    good = {
        mobilenetv3.ARCHS: {"dataset": "imagenet", "num_classes": 1000, "arch": subnets},
        **{mobilenetv3.LATENCY.format(d): [1.0, 2.0, 3.0] for d in mobilenetv3.DEVICES},
    }

    def draft(**changes: object) -> Draft:
        for name, value in {**good, **changes}.items():
            torch.save(value, tmp_path / name.replace("/", "-"))
        return mobilenetv3.draft(lambda name: tmp_path / name.replace("/", "-"))

    assert len(draft().columns) == 12
    assert np.array_equal(draft().archs, [SPACE.from_ofa(s) for s in subnets])
    latency = mobilenetv3.LATENCY.format("v100_32")
    other = {**subnets[0], "ks": [9] * 20}
    for changes in (
        {latency: [1.0, 2.0]},
        {latency: [1.0, 2.0, -3.0]},
        {latency: [1.0, 2.0, float("nan")]},
        {latency: {"a": 1}},
        *({mobilenetv3.ARCHS: arch} for arch in ([], {}, {"arch": {}}, {"arch": 3}, {"arch": subnets[:2]})),
        *({mobilenetv3.ARCHS: {"arch": [*subnets[:2], last]}} for last in (other, subnets[0], {"d": [2] * 5}, 7)),
        {mobilenetv3.ARCHS: {"arch": [{**s, "r": [s["r"]] * 2} for s in subnets]}},
        {mobilenetv3.ARCHS: {"arch": [{**s, "d": "22222"} for s in subnets]}},
    ):
        with pytest.raises(DataError):
            draft(**changes)


# ---- the real table


@pytest.fixture(scope="module")
def table(fetched: Callable[..., Path]) -> tables.ColumnTable:
    return tables.load("mobilenetv3", Store(fetched("mobilenetv3")))


@pytest.mark.data
def test_holds_5000_different_networks_of_the_space(table: tables.ColumnTable):
    archs = SPACE.as_archs(table.archs)
    assert archs.shape == (5000, 46)
    assert len(set(SPACE.keys(archs))) == 5000
    assert np.array_equal(SPACE.canonical(archs), archs)
    assert len(np.unique(archs[:, :45], axis=0)) == 5000
    assert np.array_equal(np.unique(archs[:, 45]), np.arange(25))
    first = SPACE.to_ofa(archs[0])
    assert (first["d"], first["r"], first["ks"][:4], first["e"][:4]) == (
        [2, 2, 2, 2, 3],
        204,
        [7, 5, 3, 3],
        [6, 4, 3, 3],
    )


@pytest.mark.data
def test_has_the_latencies_of_twelve_gpu_settings(table: tables.ColumnTable, raw: Path):
    assert [c.device for c in table.columns] == list(mobilenetv3.DEVICES)
    assert len(set(mobilenetv3.DEVICES)) == 12
    for i, column in enumerate(table.columns):
        source = np.array(_pickles.load_torch(raw / f"help/ofa/latency/{column.device}.pt", 1 << 20))
        np.testing.assert_allclose(table.values(i), source, rtol=1e-7)
        assert (column.unit, column.direction) == ("ms", "min")
    notes = {c.device: c.note for c in table.columns}
    assert notes["v100_1"] == "of a batch of 1 image; networks of width 1.2"
    assert notes["v100_64"] == "of a batch of 64 images; networks of width 1.2"


@pytest.mark.data
def test_multiply_adds_of_our_networks_rank_the_latencies_of_large_batches(table: tables.ColumnTable):
    archs = table.archs.astype(np.int64)
    wide, narrow = (SPACE.statics(archs, width=width)["flops"] for width in (1.2, 1.0))
    for device in ("titan_rtx_64", "v100_64"):
        latency = table.values(mobilenetv3.DEVICES.index(device))
        assert spearmanr(wide, latency)[0] > 0.995
        assert spearmanr(wide, latency)[0] > spearmanr(narrow, latency)[0] + 0.001


@pytest.mark.data
def test_latencies_of_single_images_follow_the_number_of_layers_and_not_the_resolution(table: tables.ColumnTable):
    archs = table.archs.astype(np.int64)
    for device in ("2080ti_1", "titan_xp_1", "v100_1", "titan_rtx_1"):
        latency = table.values(mobilenetv3.DEVICES.index(device))
        assert spearmanr(archs[:, :5].sum(axis=1), latency)[0] > 0.7
        assert abs(spearmanr(archs[:, 45], latency)[0]) < 0.05
