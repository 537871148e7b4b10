"""EAGLE's files: read safely, refused when they are not of its form, columns of the table once imported."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nastk
from nastk.bench import latency
from nastk.bench.latency_tasks import TASKS
from nastk.cli import run
from nastk.data import imported
from nastk.data.fetch import Store, sha256_of
from nastk.data.official import eagle
from nastk.errors import DataError, InvalidValue
from nastk.spaces.nasbench201 import NASBench201

DEVICES = ("desktop_gpu_gtx_1080ti_fp32", "embedded_tpu_edge_tpu_int8")


def _seconds(n: int = 15625) -> dict[tuple[int, ...], float]:
    space = NASBench201()
    archs = np.random.default_rng(0).permutation(space.enumerate())[:n]
    cost = np.array([0.0, 0.1, 1.0, 2.0, 0.5])
    return {tuple(int(v) for v in a): float(1e-3 * (1 + cost[a].sum())) for a in archs}


def _write(path: Path, content: Any, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_seconds_become_milliseconds(tmp_path: Path, protocol: int) -> None:
    path = _write(tmp_path / "edge-tpu.pickle", _seconds(500), protocol)
    store = Store(tmp_path / "home")
    (found,) = imported.bring("eagle", [path], store=store)
    assert (found.label, found.rows) == ("edge_tpu", 500)
    content = imported.load("nasbench201", store)
    assert content.archs.shape == (500, 6)
    assert content.values(0) == pytest.approx([1000 * _seconds(500)[tuple(a)] for a in content.archs.tolist()])
    column = content.columns[0]
    assert (column.metric, column.unit, column.device, column.variant) == ("latency", "ms", "edge_tpu", None)
    assert (column.source, column.sha256) == ("imported from edge-tpu.pickle", sha256_of(path))


def test_arch_strings_and_numpy_numbers_are_read_too(tmp_path: Path) -> None:
    space = NASBench201()
    content = {space.format(np.array(k)): np.float64(v) for k, v in _seconds(200).items()}
    texts, plain = eagle.read([_write(tmp_path / "a.pkl", content), _write(tmp_path / "b.pkl", _seconds(200))])
    assert np.array_equal(texts.archs, plain.archs)
    assert np.array_equal(texts.columns[0][1], plain.columns[0][1])


class _Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch pwned",)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (_Evil(), "asks for"),
        ({**_seconds(200), (0, 0, 0, 0, 0, 9): 1.0}, "must be 0 to 4"),
        ({**_seconds(200), (0, 0, 0, 0, 0): 1.0}, "6 choices"),
        ({**_seconds(200), (0, 0, 0, 0, 0, 0): -1.0}, "must be positive"),
        ({**_seconds(200), (0, 0, 0, 0, 0, 0): "fast"}, "not a number"),
        ({**_seconds(200), 7: 1.0}, "not an architecture"),
        (_seconds(20), "at least 100"),
        ([1, 2, 3], "not a dictionary"),
        (dict.fromkeys(_seconds(200), float("nan")), "no latency"),
        ({**_seconds(200), (0, 0, 0, 0, 0, 0): np.zeros(3)}, "not a number"),
    ],
)
def test_other_content_is_refused_and_nothing_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: Any, what: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = _write(tmp_path / "device.pickle", content)
    with pytest.raises(DataError, match=what):
        eagle.read([path])
    assert not (tmp_path / "pwned").exists()


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "device.pickle", _seconds(200))
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(DataError, match="truncated"):
        eagle.read([path])


def test_one_bad_file_keeps_all_out(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    _write(folder / "good.pickle", _seconds(200))
    _write(folder / "wrong.pickle", [1])
    store = Store(tmp_path / "home")
    with pytest.raises(DataError, match=r"wrong\.pickle"):
        imported.bring("eagle", [folder], store=store)
    assert not imported.saved("nasbench201", store)
    with pytest.raises(InvalidValue, match="no such file"):
        imported.bring("eagle", [tmp_path / "nowhere"], store=store)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidValue, match="holds no file"):
        imported.bring("eagle", [tmp_path / "empty"], store=store)
    (folder / "again").mkdir()
    _write(folder / "again/good.pkl", _seconds(200))
    (folder / "wrong.pickle").unlink()
    with pytest.raises(InvalidValue, match="two files are of the device good"):
        imported.bring("eagle", [folder], store=store)


@pytest.mark.data
def test_imported_devices_are_columns_and_make_their_tasks_run(
    nastk_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nastk.benchmark("nasbench201")  # compiled before it is shared
    home = tmp_path / "home"
    home.mkdir()
    for part in ("raw", "tables"):
        (home / part).symlink_to(Path(os.environ["NASTK_HOME"]) / part)
    monkeypatch.setenv("NASTK_HOME", str(home))
    monkeypatch.setattr(latency, "open_table", latency.open_table.__wrapped__)
    monkeypatch.setattr(latency, "_latency", latency._latency.__wrapped__)
    assert latency.missing(TASKS["NA"]) == (False, list(DEVICES))
    files = [str(_write(tmp_path / f"{d}.pickle", _seconds())) for d in DEVICES]
    assert run(["data", "import", "eagle", *files]) == 0
    assert f"imported {DEVICES[1]}: latency 1 to 13 ms of 15625" in capsys.readouterr().out
    table = nastk.benchmark("nasbench201", dataset="cifar10")
    arch, seconds = next(iter(_seconds().items()))
    answer = table.oracle("latency", device=DEVICES[0]).evaluate(np.array([arch])).value
    assert answer[0] == pytest.approx(1000 * seconds)
    assert latency.missing(TASKS["NA"]) == (False, [])
    rows = latency.run(["NA"], ["lookup-table"], [20], seeds=1, workers=1)
    found = {r["device"]: r for r in rows if r["metric"] == "spearman"}
    assert found["*"]["devices"] == 3
    assert found["*"]["reference"] is not None
    assert found[DEVICES[0]]["mean"] > 0.95
    assert run(["data", "status"]) == 0
    assert DEVICES[1] in capsys.readouterr().out
    (imported.saved("nasbench201")[0]).write_bytes(b"half a file")
    with pytest.raises(DataError, match="run: nastk data forget desktop_gpu_gtx_1080ti_fp32"):
        nastk.benchmark("nasbench201")


def test_the_command_refuses_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "import", "eagel", str(tmp_path)]) == 2
    assert "did you mean 'eagle'" in capsys.readouterr().err
    path = _write(tmp_path / "device.pickle", _Evil())
    assert run(["data", "import", "eagle", str(path)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "device.pickle" in said
