"""The shipped columns of proxies that nastk computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import nastk
from nastk.data import computed_proxies
from nastk.data.computed_proxies import ComputedProxies
from nastk.oracles.zerocost import ZeroCost
from nastk.weights.proxies import NETWORKS, PROXIES


@pytest.mark.parametrize("space", NETWORKS)
def test_columns_are_of_networks_of_the_space_and_nearly_all_known(space: str) -> None:
    columns = computed_proxies.read(space)
    assert columns is not None
    assert columns.names == PROXIES
    assert len(columns.archs) == columns.facts["networks"] == len(np.unique(columns.archs, axis=0))
    assert np.array_equal(nastk.space(space).as_archs(columns.archs), columns.archs)
    assert np.isfinite(columns.values).mean() > 0.95
    assert np.array_equal(columns(columns.archs[::-1]), columns.values[::-1], equal_nan=True)


def test_the_file_is_small() -> None:
    assert computed_proxies.FILE.stat().st_size < 300_000


def test_values_are_those_that_the_proxies_give() -> None:
    columns = computed_proxies.read("nasbench201")
    assert columns is not None
    space = nastk.space("nasbench201")
    source = ZeroCost(space, PROXIES, "random", NETWORKS["nasbench201"].images, init="kaiming", cache=False)
    assert source(columns.archs[:2]) == pytest.approx(columns.values[:2], rel=0.02, nan_ok=True)
    assert source.source == columns.facts["source"]


def test_what_is_unknown_is_missing_and_what_is_written_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ComputedProxies(("a", "b"), np.array([[1, 2], [0, 2]]), np.array([[1.23456, np.nan], [-2e-7, 4.0]]), {})
    computed_proxies.write({"toy": given}, tmp_path / "columns.npz")
    monkeypatch.setattr(computed_proxies, "FILE", tmp_path / "columns.npz")
    computed_proxies.read.cache_clear()
    try:
        found = computed_proxies.read("toy")
        assert found is not None
        assert found([[0, 2], [2, 2], [1, 2]]) == pytest.approx(
            np.array([[-2e-7, 4.0], [np.nan, np.nan], [1.235, np.nan]]), rel=1e-6, nan_ok=True
        )
        assert computed_proxies.read("other") is None
    finally:
        computed_proxies.read.cache_clear()
    with pytest.raises(ValueError, match="same proxies"):
        computed_proxies.write({"toy": given, "other": ComputedProxies(("a",), given.archs, given.values, {})})
