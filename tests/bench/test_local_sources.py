"""What networks measured here are worth as sources: measured once, evaluated again from the file."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nastk
from nastk.bench import local_sources as bench
from nastk.bench.local_sources import LOOKUP, WITH, WITHOUT, Latencies, evaluate, table
from nastk.cli import run
from nastk.errors import DataError, InvalidValue
from nastk.predictors import _local_sources

SPACE = "nasbench201"


def made_up(networks: int = 40, sources: int = 60) -> Latencies:
    """Two devices whose latency is one weight an option of an edge, alike but for noise, and one that is the other's
    opposite: what sources tell of the first two, counts do not."""
    space = nastk.space(SPACE)
    archs = space.sample_networks(networks + sources, 0)
    rng = np.random.default_rng(0)
    weights = rng.exponential(size=int(space.sizes.sum()))
    ms = {name: 1.0 + space.one_hot(archs) @ (weights * rng.lognormal(0, 0.1, len(weights))) for name in ("a", "b")}
    return Latencies(
        SPACE,
        test=archs[:networks].tolist(),
        remotes={name: values[:networks].tolist() for name, values in ms.items()},
        sources={
            name: {"archs": archs[networks:].tolist(), "ms": values[networks:].tolist()} for name, values in ms.items()
        },
    )


def of(rows: list[dict[str, Any]], metric: str, method: str, device: str = "*") -> dict[str, Any]:
    found = [r for r in rows if (r["metric"], r["method"], r["device"]) == (metric, method, device)]
    assert len(found) == 1
    return found[0]


def test_sources_that_tell_of_the_device_win_and_the_difference_is_paired() -> None:
    rows = evaluate(made_up(), adapt=6, draws=3)
    gained = of(rows, "spearman", WITH)["mean"] - of(rows, "spearman", WITHOUT)["mean"]
    assert gained > 0.05
    apart = of(rows, "spearman_difference", WITH)
    assert apart["mean"] == pytest.approx(gained)
    assert apart["pairs"] == 6
    assert apart["p"] < 0.05
    assert of(rows, "median_error_difference", WITH)["mean"] < 0
    assert of(rows, "spearman", WITH, "a")["sources"] == "b", "the remote device is none of its own sources"
    assert {r["method"] for r in rows} == {WITH, WITHOUT, LOOKUP}
    assert [line["remote"] for line in table(rows)] == ["a", "b", "*"]


def test_networks_that_are_tested_are_not_learned_from_sources() -> None:
    latencies = made_up()
    leaking = replace(
        latencies,
        sources={
            name: {
                "archs": source["archs"] + latencies.test,
                "ms": source["ms"] + [1e6 * (i + 1) for i in range(len(latencies.test))],
            }
            for name, source in latencies.sources.items()
        },
    )
    assert evaluate(leaking, adapt=6, draws=2) == evaluate(latencies, adapt=6, draws=2)


def test_networks_that_failed_in_a_setting_are_left_out_of_it() -> None:
    latencies = made_up()
    latencies.remotes["a"][3] = None
    rows = evaluate(latencies, adapt=6, draws=2)
    assert np.isfinite(of(rows, "spearman", WITH, "a")["mean"])


def test_latencies_are_read_as_they_were_written_and_nonsense_is_refused(tmp_path: Path) -> None:
    latencies = made_up()
    latencies.write(tmp_path / "kept.json")
    assert Latencies.read(tmp_path / "kept.json") == latencies
    wrong = tmp_path / "wrong.json"
    for text in ("", "[1]", "{}", json.dumps({**asdict(latencies), "test": []}), json.dumps({"space": 3})):
        wrong.write_text(text)
        with pytest.raises(DataError, match=r"wrong\.json holds no latencies"):
            Latencies.read(wrong)
    with pytest.raises(DataError, match="cannot read"):
        Latencies.read(tmp_path / "none.json")
    with pytest.raises(DataError, match="another space"):
        evaluate(replace(latencies, space="fbnet"), adapt=6, draws=2)
    with pytest.raises(InvalidValue, match="at least 25"):
        evaluate(made_up(networks=24), adapt=10, draws=2)


def test_the_command_evaluates_a_file_and_measures_into_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    asked: dict[str, Any] = {}

    def measure(*arguments: Any, **build: Any) -> Latencies:
        asked.update(build)
        made_up().write(arguments[5])
        return made_up()

    monkeypatch.setattr(bench, "measure", measure)
    how = ["bench", "local-sources", "--adapt", "6", "--draws", "2"]
    assert run([*how, "--build", "channels=4,cells_per_stage=1", "--keep", "kept.json", "--json", "a.json"]) == 0
    assert asked == {"channels": 4, "cells_per_stage": 1}
    assert run([*how, "--from", "kept.json", "--json", "b.json"]) == 0
    assert json.loads(Path("a.json").read_text()) == json.loads(Path("b.json").read_text())
    assert "from-scratch" in capsys.readouterr().out
    assert run([*how, "--from", "kept.json", "--build", "channels=4"]) == 2
    assert run([*how, "--build", "channels"]) == 2
    assert "--build 'channels': write options" in capsys.readouterr().err


def test_networks_are_measured_in_every_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NASTK_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(_local_sources, "SETTINGS", ("torch",))
    monkeypatch.setattr(_local_sources, "LEAST_QUALITY", -2.0)  # other programs may use this machine
    kept = tmp_path / "kept.json"
    small = {"channels": 4, "cells_per_stage": 1, "input_size": 8}
    found = bench.measure(SPACE, 3, 30, 600.0, ["torch", "torch batch 2"], kept, **small)
    assert {name: len(values) for name, values in found.remotes.items()} == {"torch": 3, "torch batch 2": 3}
    assert all(v > 0 for values in found.remotes.values() for v in values if v is not None)
    assert {name: len(source["ms"]) for name, source in found.sources.items()} == {"torch": 30}
    assert Latencies.read(kept) == found
