"""What a history costs: every figure is there, and the studies of the measurement are gone afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from nastk.bench.storage import WAYS, run
from nastk.errors import InvalidValue, StorageError
from nastk.studies import studies


def test_each_way_of_writing_has_its_figures(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/run.db"
    rows = run(300, url)
    metrics = {"write_cpu_seconds", "write_seconds", "write_memory_mb", "open_cpu_seconds", "open_seconds", "memory_mb"}
    for name, _, _ in WAYS:
        assert {row["metric"] for row in rows if row["method"] == name} == metrics
    assert all(row["records"] == 300 for row in rows)
    assert all(row["mean"] > 0 for row in rows if "seconds" in row["metric"])
    assert studies(url) == []


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(InvalidValue, match="at least one record"):
        run(0)
    with pytest.raises(StorageError, match="in memory"):
        run(10, "sqlite://")
