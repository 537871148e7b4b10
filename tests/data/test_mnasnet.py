"""The table of Accel-NASBench: every value is its source's, repeats are one with a spread, what failed is unknown."""

from __future__ import annotations

import copy
import io
import json
import tarfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nastk.data import mnasnet, readers, tables
from nastk.data.fetch import Store
from nastk.data.tables import Draft
from nastk.errors import DataError
from nastk.spaces.mnasnet import MnasNet

SPACE = MnasNet()
DEVICES = {
    "a100": "a100",
    "rtx3090": "3090",
    "tpuv2": "tpuv2",
    "tpuv3": "tpuv3",
    "zcu102": "zcu102",
    "vck190": "vck190",
}


def run(arch: np.ndarray, top1: float, **lacking: bool) -> dict[str, Any]:
    """A file of the form."""
    rows = arch.reshape(7, 4).tolist()
    described = {}
    for b, (e, k, layers, s) in enumerate(rows):
        described |= {f"block{b}_e": (1, 4, 6)[e], f"block{b}_k": (3, 5)[k], f"block{b}_l": layers + 1}
        described[f"block{b}_se"] = bool(s)
    performance = {f"throughput_{d}": {"throughput_mean": 100.0, "throughput_std": 2.0} for d in DEVICES.values()}
    for device in ("zcu102", "vck190"):
        performance[f"throughput_{device}"]["throughput_std"] = None
        performance[f"latency_{device}"] = {"latency_mean": 5.0, "latency_std": None}
    if lacking.get("tpuv2"):
        performance["throughput_tpuv2"] = {"throughput_mean": None, "throughput_std": None}
    return {
        "architecture": described,
        "metrics": {"val_top1": top1, "val_top5": 80.0, "train_time": 1000.0},
        "model_info": {"macs": 300.5, "params": 4.000001},
        "platform_perf": performance,
    }


def packed(runs: list[Any], names: list[str] | None = None) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for i, content in enumerate(runs):
            body = json.dumps(content).encode()
            info = tarfile.TarInfo(names[i] if names else f"./anb_dataset_jsons/result_{i}.json")
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return file.getvalue()


@pytest.fixture
def draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[Any]], Draft]:
    monkeypatch.setattr(mnasnet, "RUNS", 4)
    monkeypatch.setattr(mnasnet, "N", 3)

    def made(runs: list[Any]) -> Draft:
        path = tmp_path / "a.tar.gz"
        path.write_bytes(packed(runs))
        return mnasnet.draft(lambda name: path)

    return made


def good() -> list[dict[str, Any]]:
    a, b, c = SPACE.sample(3, 0)
    twice = run(a, 62.0)
    twice["platform_perf"]["throughput_a100"] = {"throughput_mean": 104.0, "throughput_std": 4.0}
    return [run(a, 60.0), run(b, 50.0, tpuv2=True), run(c, 55.0), twice]


def test_a_network_that_was_trained_twice_has_one_value_with_a_spread(draft) -> None:
    made = draft(good())
    assert np.array_equal(made.archs, SPACE.sample(3, 0))
    column = {c.label: (values, rows) for c, values, rows in made.columns}
    assert column["val_accuracy ImageNet"][0].tolist() == [61, 50, 55]
    values, rows = column["val_accuracy_std ImageNet"]
    assert (rows.tolist(), values.tolist()) == ([0], [np.sqrt(2)])
    assert column["throughput a100"][0].tolist() == [102, 100, 100]
    # both measurements' runs: the mean of their variances (4 and 16), and the variance of the two means (4)
    np.testing.assert_allclose(column["throughput_std a100"][0], [np.sqrt(10 + 4), 2, 2])
    assert column["throughput tpuv2"][1].tolist() == column["throughput_std tpuv2"][1].tolist() == [0, 2]
    assert column["params"][0].tolist() == [4_000_001] * 3
    assert column["macs"][0].tolist() == [300_500_000] * 3


def change(path: str, value: Any, of: int = 0) -> Callable[[list[Any]], None]:
    def apply(runs: list[Any]) -> None:
        *parents, last = path.split("/")
        place = runs[of]
        for key in parents:
            place = place[key]
        if value is KeyError:
            del place[last]
        else:
            place[last] = value

    return apply


@pytest.mark.parametrize(
    "alter",
    [
        change("architecture/block0_e", 3),
        change("architecture/block0_l", 4),
        change("architecture/block0_se", "no"),
        change("architecture/block0_k", KeyError),
        change("architecture/block7_k", 3),
        change("architecture", None),
        change("metrics/val_top1", 101.0),
        change("metrics/val_top1", "high"),
        change("metrics/val_top1", True),
        change("metrics/train_time", -1.0),
        change("metrics", [1, 2, 3]),
        change("model_info/params", 5.0),
        change("model_info/macs", KeyError),
        change("platform_perf/throughput_a100/throughput_std", None),
        change("platform_perf/latency_zcu102/latency_mean", 0.0),
        lambda runs: runs.pop(),
        lambda runs: runs.append(copy.deepcopy(runs[0])),
        lambda runs: runs.__setitem__(3, run(SPACE.sample(9, 5)[8], 60.0)),
        lambda runs: runs.__setitem__(0, 7),
    ],
)
def test_the_importer_checks_its_file(draft, alter: Callable[[list[Any]], Any]) -> None:
    runs = good()
    alter(runs)
    with pytest.raises(DataError, match="accel-nasbench") as refused:
        draft(runs)
    assert "\n" not in str(refused.value)


# ---- archives


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", ["/etc/passwd", "../a.json", "a/../../b.json", "a/../b.json"])
def test_a_member_that_leaves_the_archive_is_refused(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / "a.tar.gz", packed([1, 2], ["good.json", name]))
    with pytest.raises(DataError, match="would leave"):
        readers.read_tar(path, "good.json")


def test_links_repeated_names_and_damaged_archives_are_refused(tmp_path: Path) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        link = tarfile.TarInfo("a.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    whole = packed([1, 2])
    twice = packed([1, 2], ["a.json", "./a.json"])
    for content in (file.getvalue(), twice, whole[:-40], whole[: len(whole) // 2], b"", b"nonsense"):
        with pytest.raises(DataError) as refused:
            readers.read_tar(written(tmp_path / "b.tar.gz", content))
        assert "\n" not in str(refused.value)
    path = written(tmp_path / "c.tar.gz", packed(["x" * 100_000]))
    assert list(readers.read_tar(path)) == ["anb_dataset_jsons/result_0.json"]
    with pytest.raises(DataError, match="unpacks to more"):
        readers.read_tar(path, limit=50_000)


# ---- the real table


def of_block(a: dict[str, Any], block: int) -> list[int]:
    e, k, layers, squeezed = (a[f"block{block}_{what}"] for what in ("e", "k", "l", "se"))
    return [(1, 4, 6).index(e), (3, 5).index(k), layers - 1, int(squeezed)]


@pytest.mark.data
def test_every_value_is_its_sources(fetched: Callable[..., Path], raw: Path) -> None:
    table = tables.load("mnasnet", Store(fetched("accel-nasbench")))
    assert table.archs.shape == (5125, 28)
    row = {arch.tobytes(): i for i, arch in enumerate(table.archs)}
    assert len(row) == 5125
    runs: dict[int, list[dict[str, Any]]] = defaultdict(list)
    with tarfile.open(raw / "accel-nasbench/anb_dataset_jsons.tar.gz") as archive:
        for member in archive:
            if member.isfile():
                content = json.load(archive.extractfile(member))  # type: ignore[arg-type]
                a = content["architecture"]
                key = np.array([v for b in range(7) for v in of_block(a, b)], dtype=np.int8)
                runs[row[key.tobytes()]].append(content)
    assert sorted(map(len, runs.values())) == [1] * 5112 + [2] * 13

    def source(*path: str) -> np.ndarray:
        values = np.full((5125, 2), np.nan)
        for i, contents in runs.items():
            for j, content in enumerate(contents):
                for key in path:
                    content = content[key]
                values[i, j] = np.nan if content is None else content
        return values

    places = {
        "val_accuracy ImageNet": ("metrics", "val_top1"),
        "val_top5_accuracy ImageNet": ("metrics", "val_top5"),
        "train_seconds ImageNet": ("metrics", "train_time"),
        "params": ("model_info", "params"),
        "macs": ("model_info", "macs"),
        **{f"throughput {d}": ("platform_perf", f"throughput_{n}", "throughput_mean") for d, n in DEVICES.items()},
        **{f"latency {d}": ("platform_perf", f"latency_{d}", "latency_mean") for d in ("zcu102", "vck190")},
    }
    column = {c.label: table.values(i) for i, c in enumerate(table.columns)}
    assert set(places) == {label for label, _ in column.items() if "_std" not in label}
    for label, path in places.items():
        known = source(*path)
        mean = np.where(np.isnan(known[:, 1]), known[:, 0], known.mean(axis=1))
        np.testing.assert_allclose(column[label] / (1e6 if "model_info" in path else 1), mean, rtol=1e-7)
    for device in ("a100", "rtx3090", "tpuv2", "tpuv3"):
        spread = source("platform_perf", f"throughput_{DEVICES[device]}", "throughput_std")
        once = np.isnan(spread[:, 1])
        np.testing.assert_allclose(column[f"throughput_std {device}"][once], spread[once, 0], rtol=1e-6)
    repeated = source("metrics", "val_top1")
    repeated = np.abs(np.diff(repeated, axis=1)).ravel() / np.sqrt(2)
    np.testing.assert_allclose(column["val_accuracy_std ImageNet"], repeated, rtol=1e-5)
    assert np.isfinite(repeated).sum() == 13


@pytest.mark.data
def test_the_best_network_and_what_could_not_be_measured(fetched: Callable[..., Path]) -> None:
    table = tables.load("mnasnet", Store(fetched("accel-nasbench")))
    column = {c.label: table.values(i) for i, c in enumerate(table.columns)}
    assert column["val_accuracy ImageNet"].max() == pytest.approx(67.052, abs=1e-4)
    unknown = {d: int(np.isnan(column[f"throughput {d}"]).sum()) for d in DEVICES}
    assert unknown == {"a100": 0, "rtx3090": 3, "tpuv2": 37, "tpuv3": 44, "zcu102": 2, "vck190": 2}
