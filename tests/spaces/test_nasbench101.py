"""NAS-Bench-101: 423,624 cells, canonical as the benchmark's, parameters exact; its table and its own record files."""

from __future__ import annotations

import ast
import base64
import json
import struct
from itertools import permutations
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import torch

import nastk
from nastk.data import nasbench101 as importer
from nastk.data import readers
from nastk.data.official import nasbench101_tfrecord as records
from nastk.errors import DataError, InvalidArchitecture
from nastk.oracles.counts import count_network
from nastk.oracles.table import benchmark
from nastk.spaces._nasbench101_shapes import vertex_channels
from nastk.spaces.nasbench101 import OPERATIONS, PAIRS, canonicalise, members
from nastk.testing import check_space

SPACE = nastk.space("nasbench101")


def test_it_keeps_the_contract() -> None:
    check_space(SPACE, n=32, channels=8, cells_per_stack=1, input_size=16)


def test_there_are_as_many_cells_as_the_paper_counts() -> None:
    everything = members()
    assert len(everything) == SPACE.size == 423_624
    assert len(np.unique(everything, axis=0)) == 423_624
    canonical, good = canonicalise(everything)
    assert good.all()
    assert np.array_equal(canonical, everything)


@pytest.mark.filterwarnings("ignore:The hashes produced for directed graphs")
def test_isomorphic_cells_are_one_and_others_are_not() -> None:
    archs = SPACE.sample(300, seed=0)
    rng = np.random.default_rng(1)
    for arch in archs[:100]:
        matrix, labels = SPACE.matrix(arch)
        inner = len(labels) - 2
        for order in rng.permutation(list(permutations(range(1, inner + 1))))[:6]:
            place = [0, *(int(i) for i in order), inner + 1]
            moved = np.zeros_like(matrix)
            for a, b in zip(*np.nonzero(matrix), strict=True):
                moved[place[a], place[b]] = 1
            if not np.tril(moved).any():
                names = ["input", *("" for _ in range(inner)), "output"]
                for i in range(1, inner + 1):
                    names[place[i]] = labels[i]
                assert np.array_equal(SPACE.from_matrix(moved, names), arch)
    hashes = {nx.weisfeiler_lehman_graph_hash(SPACE.graph(a), node_attr="op", iterations=7) for a in archs}
    assert len(hashes) == len(np.unique(archs, axis=0))


def test_of_isomorphic_cells_the_benchmark_keeps_the_first_in_its_order() -> None:
    """By brute force: the least number of the graph, then of the operations, over all orders of the inner vertices."""
    for arch in SPACE.sample(60, seed=2):
        matrix, labels = SPACE.matrix(arch)
        v = len(labels)
        forms = []
        for order in permutations(range(1, v - 1)):
            old = [0, *order, v - 1]
            moved = matrix[np.ix_(old, old)]
            if not np.tril(moved).any():
                number = sum(int(moved[a, b]) << (a + b * (b - 1) // 2) for b in range(v) for a in range(b))
                forms.append((number, [OPERATIONS.index(labels[i]) for i in order]))
        own = sum(int(matrix[a, b]) << (a + b * (b - 1) // 2) for b in range(v) for a in range(b))
        assert min(forms) == (own, [OPERATIONS.index(x) for x in labels[1:-1]])


def test_what_is_not_connected_is_dropped() -> None:
    matrix = np.zeros((5, 5), dtype=int)
    matrix[0, 1] = matrix[1, 4] = 1
    matrix[0, 2] = 1  # leads nowhere
    matrix[3, 4] = 1  # comes from nowhere
    arch = SPACE.from_matrix(matrix, ["input", *OPERATIONS, "output"])
    assert SPACE.format(arch) == "input,conv3x3-bn-relu,output:10-1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("input,conv3x3-bn-relu,output:00-1", "connected"),
        ("input,conv5x5,output:11-1", "conv5x5"),
        ("input,output:11-1", "write its operations"),
        ("(1, 2)", "NASLib"),
        ("input," * 1 + "maxpool3x3," * 6 + "output:" + "-".join("1" * i for i in range(7, 0, -1)), "2 to 7 vertices"),
        ("input," + "maxpool3x3," * 5 + "output:" + "-".join("1" * i for i in range(6, 0, -1)), "at most 9 edges"),
    ],
)
def test_what_is_no_cell_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(InvalidArchitecture, match=message) as caught:
        SPACE.parse(text)
    assert "\n" not in str(caught.value)


def test_moves_reach_smaller_and_larger_cells() -> None:
    arch = SPACE.parse("input,conv3x3-bn-relu,conv1x1-bn-relu,output:110-01-1")
    sizes = {len(SPACE.matrix(a)[1]) for a in SPACE.neighbours(arch)}
    assert sizes == {3, 4, 5}
    reached = {len(SPACE.matrix(a)[1]) for a in SPACE.mutate(np.repeat(arch[None], 200, axis=0), 0)}
    assert reached == {3, 4, 5}
    smallest = SPACE.parse("input,output:1")
    assert {len(SPACE.matrix(a)[1]) for a in SPACE.neighbours(smallest)} == {3}


def test_a_mutant_is_a_neighbour() -> None:
    for arch in SPACE.sample(20, seed=3):
        around = {a.tobytes() for a in SPACE.neighbours(arch)}
        for child in SPACE.mutate(np.repeat(arch[None], 30, axis=0), 4):
            assert child.tobytes() in around


def test_channels_are_shared_as_in_the_supplement() -> None:
    matrix, _ = SPACE.matrix(
        SPACE.from_matrix(
            [[0, 1, 1, 1, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 1], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]],
            ["input", *OPERATIONS, "output"],
        )
    )
    assert vertex_channels(matrix.astype(bool)[None], 128)[0].tolist() == [0, 43, 43, 42, 128]


def test_statics_are_those_of_built_networks() -> None:
    for arch in SPACE.sample(20, seed=5):
        with torch.device("meta"):
            counted = count_network(SPACE.build(arch), (3, 32, 32))
        statics = SPACE.statics(arch[None])
        assert (statics["params"][0], statics["flops"][0]) == (counted["params"], counted["flops"])


# ---- the table


@pytest.mark.data
def test_parameters_are_the_tables_for_every_cell_as_it_is_written(suite_home: object, raw: Path) -> None:
    entries = readers.read_json(raw / importer.SOURCE)["nasbench101"]["cifar10"]
    written = np.zeros((len(entries), SPACE.d), dtype=np.int64)
    codes = {2: 3, 3: 2, 4: 1}
    for row, text in zip(written, entries, strict=True):
        values = np.array(ast.literal_eval(text))
        graph = nx.DiGraph(values[:49].reshape(7, 7))
        on = (nx.descendants(graph, 0) | {0}) & (nx.ancestors(graph, 6) | {6})
        row[:21] = [bool(graph.has_edge(a, b) and {a, b} <= on) for a, b in PAIRS]
        row[21:] = [codes[int(values[49 + i])] if i in on else 0 for i in range(1, 6)]
    millions = SPACE.statics(written)["params"] / 1e6
    assert np.array_equal(millions.round(6), [e["params"] for e in entries.values()])


@pytest.mark.data
def test_the_table_is_a_pool_of_292_cells(suite_home: object) -> None:
    table = benchmark("nasbench101", dataset="cifar10")
    assert len(table.table) == table.space.size == 292
    assert 90 < table.values("val_accuracy").max() < 96
    assert len(table.proxies().names) == 11
    assert np.isfinite(table.proxies().values).all()


def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    for content in ([], {"nasbench101": {"cifar10": {"(1, 2)": {}}}}, {"nasbench101": {"cifar10": {}}}):
        path.write_text(json.dumps(content))
        with pytest.raises(DataError, match="zc_nasbench101"):
            importer.draft(lambda name: path)


# ---- the benchmark's own files


def _double(number: int, value: float) -> bytes:
    return bytes([number << 3 | 1]) + struct.pack("<d", value)


def _metrics(params: int, runs: list[tuple[float, float, float]]) -> str:
    content = b""
    for seconds, validation, test in runs:
        data = _double(1, 108.0) + _double(2, seconds) + _double(3, 1.0) + _double(4, validation) + _double(5, test)
        data += b"\x32\x04path"
        content += bytes([1 << 3 | 2, len(data)]) + data
    varint = b""
    while params >= 0x80:
        varint += bytes([params & 0x7F | 0x80])
        params >>= 7
    return base64.b64encode(content + bytes([2 << 3]) + varint + bytes([params])).decode()


def _record(*fields: object) -> bytes:
    content = json.dumps(fields).encode()
    head = struct.pack("<Q", len(content))
    masked = struct.pack("<I", records._masked_crc(content))
    return head + struct.pack("<I", records._masked_crc(head)) + content + masked


CELL = ("010001000", "input,conv3x3-bn-relu,output")
OTHER = ("0100" + "0010" + "0001" + "0000", "input,maxpool3x3,conv1x1-bn-relu,output")


def _file(tmp_path: Path) -> Path:
    path = tmp_path / "nasbench_full.tfrecord"
    half = (5.0, 0.5, 0.5)
    content = _record("ab", 108, *CELL, _metrics(8555530, [half, (10.0, 0.9, 0.8)]))
    content += _record("ab", 108, *CELL, _metrics(8555530, [half, (20.0, 0.8, 0.9)]))
    content += _record("ab", 4, *CELL, _metrics(8555530, [half]))
    content += _record("cd", 108, *OTHER, _metrics(300, [half, (30.0, 0.7, 0.6)]))
    path.write_bytes(content)
    return path


def test_the_checksum_is_the_published_one() -> None:
    crc = (records._masked_crc(b"123456789") - 0xA282EAD8) & 0xFFFFFFFF
    assert (crc << 15 | crc >> 17) & 0xFFFFFFFF == 0xE3069283, "CRC-32C of the digits (RFC 3720, B.4)"


def test_record_files_are_read_without_tensorflow(tmp_path: Path) -> None:
    (found,) = records.read([_file(tmp_path)])
    assert SPACE.format_all(found.archs) == [
        "input,conv3x3-bn-relu,output:10-1", "input,maxpool3x3,conv1x1-bn-relu,output:100-10-1"
    ]  # fmt: skip
    values = {(c.metric, c.fidelity): v.tolist() for c, v in found.columns}
    assert values["val_accuracy", 108] == pytest.approx([85.0, 70.0])
    assert values["test_accuracy", 108] == pytest.approx([85.0, 60.0])
    assert values["training_seconds", 108] == pytest.approx([15.0, 30.0])
    assert values["val_accuracy", 4][0] == pytest.approx(50.0)
    assert np.isnan(values["val_accuracy", 4][1])
    assert values["params", None] == [8555530.0, 300.0]


@pytest.mark.parametrize("at", [3, 9, 40, -2, -60])
def test_an_altered_record_file_is_refused(tmp_path: Path, at: int) -> None:
    path = _file(tmp_path)
    content = bytearray(path.read_bytes())
    content[at] ^= 0x10
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"altered|cut off"):
        records.read([path])


def test_a_truncated_or_foreign_record_file_is_refused(tmp_path: Path) -> None:
    path = _file(tmp_path)
    content = path.read_bytes()
    for end in (5, 30, len(content) - 1):
        path.write_bytes(content[:end])
        with pytest.raises(DataError, match="cut off"):
            records.read([path])
    for fields in ([1, 2], ["ab", 108, "0110", "input,output", "!!"], ["ab", 108, *CELL, ""]):
        path.write_bytes(_record(*fields))
        with pytest.raises(DataError, match="record 1"):
            records.read([path])
    path.write_bytes(_record("ab", 108, "0100", "input,output,x", _metrics(1, [(1, 0.5, 0.5)])))
    with pytest.raises(DataError, match="no cell"):
        records.read([path])
    path.write_bytes(b"")
    with pytest.raises(DataError, match="no records"):
        records.read([path])
    with pytest.raises(DataError, match="cannot read"):
        records.read([tmp_path / "nope"])
