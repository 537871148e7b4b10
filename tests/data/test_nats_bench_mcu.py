"""NATS-Bench-MCU's CSV: each column with its unit, networks that are absent stay unknown, other files are refused."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest

import nastk
from nastk.cli import run
from nastk.data import official
from nastk.data.official import nats_bench_mcu
from nastk.errors import DataError

SPACE = nastk.space("nasbench201")
HEADING = [
    *("arch_idx", "arch_str", "int8_kb", "rom_kb", "ram_kb", "latency_s", "current_uA", "power_mW", "energy_mJ"),
    *("board", "g_model_kb", "arena_used_kb", "arena_size_kb", "arena_used_pct", "operators"),
    *("rom_categories_json", "ram_categories_json"),
]


def table(rows: list[int], heading: list[str] = HEADING) -> list[list[str]]:
    """Rows of the file's form for architectures of these indices."""
    made = [heading]
    for i, index in enumerate(rows):
        json = '{"(no paths)": 233.2, "/": 0.5}'
        text = SPACE.format(SPACE.from_index(index)[0])
        values = [190.5 + i, 470.25 + i, 366.2861, 2.5 + i, 3400.5, 11.25, 30.5 + i, "nrf5340dk_2", 190.5 + i, 100.5]
        made.append([str(index), text, *map(str, values), "350.0", "30", str(100 + i), json, json])
    return made


@pytest.fixture
def write(tmp_path: Path) -> Callable[[list[list[str]]], Path]:
    def write(rows: list[list[str]]) -> Path:
        text = io.StringIO()
        csv.writer(text).writerows(rows)
        path = tmp_path / "hw_metrics.csv"
        path.write_text(text.getvalue())
        return path

    return write


def test_every_column_has_its_unit_and_device(write) -> None:
    (found,) = nats_bench_mcu.read([write(table([7, 0, 3]))])
    assert found.space == "nasbench201"
    assert SPACE.index(found.archs).tolist() == [7, 0, 3]
    columns = {c.metric: (c, values.tolist()) for c, values in found.columns}
    assert {name: (c.unit, values) for name, (c, values) in columns.items()} == {
        "latency": ("ms", [2500, 3500, 4500]),
        "energy": ("mJ", [30.5, 31.5, 32.5]),
        "power": ("mW", [11.25] * 3),
        "current": ("µA", [3400.5] * 3),
        "rom": ("KiB", [470.25, 471.25, 472.25]),
        "int8": ("KiB", [190.5, 191.5, 192.5]),
        "arena": ("KiB", [100.5] * 3),
        "operators": ("", [100, 101, 102]),
    }
    assert {(c.dataset, c.device, c.direction) for c, _ in columns.values()} == {("cifar10", "nrf5340", "min")}
    assert {name for name, (c, _) in columns.items() if c.expensive} == {"latency", "energy", "power", "current"}


def test_networks_that_the_file_leaves_out_are_unknown(write, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("NASTK_HOME", str(tmp_path / "home"))
    path = write(table([7, 0, 3, 15_000]))
    assert run(["data", "import", "nats-bench-mcu", str(path)]) == 0
    assert "latency 2500 to 5500 ms" in capsys.readouterr().out.replace(",", "")
    benchmark = nastk.benchmark("nasbench201", dataset="cifar10")
    rom = benchmark.oracle("rom", device="nrf5340")
    assert rom(SPACE.from_index([7, 0, 3, 15_000])).tolist() == [470.25, 471.25, 472.25, 473.25]
    assert len(benchmark.table) == 4
    assert not rom.expensive
    assert "nats-bench-mcu" in official.forms()


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (lambda rows: rows.append(rows[1]), "comes twice"),
        (lambda rows: rows[2].__setitem__(0, "4"), "line 3, column 'arch_idx': '4' is not the index"),
        (lambda rows: rows[2].__setitem__(1, "|conv~0|"), "line 3, column 'arch_str'"),
        (lambda rows: rows[2].__setitem__(5, ""), "line 3, column 'latency_s': '' must be positive"),
        (lambda rows: rows[1].__setitem__(3, "-1"), "'-1' must be positive"),
        (lambda rows: rows[1].__setitem__(8, "much"), "is not a number"),
        (lambda rows: rows[0].__setitem__(3, "flash"), "has no column 'rom_kb'"),
        (lambda rows: rows.__delitem__(slice(1, None)), "has no rows"),
    ],
)
def test_what_is_not_such_a_file_is_refused_in_one_line(write, alter: Callable, message: str) -> None:
    rows = [list(row) for row in table([7, 0, 3])]
    alter(rows)
    with pytest.raises(DataError) as refused:
        nats_bench_mcu.read([write(rows)])
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
