"""Correlations of devices and proxies."""

from __future__ import annotations

from pathlib import Path

import pytest

from nastk.cli import run as command
from nastk.metrics import spearman
from nastk.oracles.table import first_dataset
from nastk.reproduce import correlations


@pytest.mark.data
def test_devices_and_proxies_are_correlated_over_the_table(nastk_home: Path, tmp_path: Path) -> None:
    rows = correlations.run("nasbench201")
    rho = {(row["kind"], row["a"], row["b"]): row for row in rows}
    table = first_dataset("nasbench201")
    pixel3, raspi4 = (table.values("latency", device=name) for name in ("pixel3", "raspi4"))
    row = rho["devices", "pixel3", "raspi4"]
    assert row["spearman"] == pytest.approx(spearman(pixel3, raspi4))
    assert row["architectures"] == len(pixel3)
    assert rho["devices", "raspi4", "pixel3"]["spearman"] == pytest.approx(row["spearman"])
    assert ("proxies-devices", "flops", "fpga") in rho
    assert ("devices", "fpga", "fpga") not in rho
    (_, closest), (_, distances) = correlations.tables(rows)
    assert {"device", "closest", "spearman", "close (from 0.7)", "from 0.5", "far"} == set(closest[0])
    fpga = next(line for line in distances if (line["task"], line["target"]) == ("ND", "fpga"))
    assert 0.82 < fpga["least"] < fpga["spearman"] < 0.98, "0.83 to 0.97 in the paper (appendix A.5)"
    drawn = correlations.draw(rows, tmp_path)
    assert len(drawn) == 3
    assert all((tmp_path / name).stat().st_size > 10_000 for name in drawn)


def test_a_wrong_name_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["reproduce", "correlations", "--space", "fbnets"]) == 2
    assert "did you mean 'fbnet'" in capsys.readouterr().err
