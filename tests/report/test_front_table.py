"""front.csv and result.json: one column a choice, values with kind, interval and unit, a versioned schema."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from json_schema import problems
from toy import Toy, oracle

import nastk
from nastk.cli import run
from nastk.data.measured import read_archs
from nastk.errors import DataError
from nastk.predictors._adapted_latency import AdaptedLatency
from nastk.report.front_table import front_table, headings
from nastk.report.summary import Summary
from nastk.result import SCHEMA, Result
from nastk.spaces.base import Archs

SHIPPED = json.loads(files("nastk.report").joinpath("result.schema.json").read_text(encoding="utf-8"))


class Towers(nastk.SearchSpace):
    """Kernels of layers that the depth leaves out make no difference; one choice is called like an objective."""

    name = "towers"
    choices = (
        nastk.Choice("depth", ("1", "2")),
        nastk.Choice("kernel 1", ("k3", "k5")),
        nastk.Choice("kernel 2", ("k3", "k5")),
        nastk.Choice("latency", ("low", "high")),
    )

    def canonical(self, archs: Archs) -> Archs:
        archs = np.array(archs)
        archs[archs[:, 0] == 0, 2] = 0
        return archs

    def build(self, arch: Archs, **options: Any) -> Any:
        raise NotImplementedError


def searched(**options: Any) -> Result:
    space = Towers()

    def latency(archs: Archs) -> Any:
        return 1.0 + space.canonical(archs) @ np.array([1.0, 2.0, 3.0, 5.0])

    def accuracy(archs: Archs) -> Any:
        return 60.0 + 10.0 * np.sqrt(space.canonical(archs) @ np.array([1.0, 1.0, 2.0, 1.0]))

    goals = [
        nastk.FunctionOracle(space, accuracy, "accuracy", "%", "max", False),
        nastk.FunctionOracle(space, latency, "latency", "ms", "min", True),
    ]
    return nastk.search(space, goals, budget=8, **{"searcher": "random", **options})


def test_front_csv_has_a_column_for_each_choice_and_reads_back_from_them_alone(tmp_path: Path) -> None:
    result = searched()
    result.to_csv(tmp_path / "front.csv")
    table = pd.read_csv(tmp_path / "front.csv", keep_default_na=False, dtype=str)
    before = ["arch", "index", "accuracy", "accuracy_std", "accuracy_source", "latency", "latency_std"]
    assert list(table.columns)[: len(before) - 2] == before[:-2], "what there was before is where it was"
    assert set(before) < set(table.columns)
    assert list(table.columns)[-4:] == ["depth", "kernel 1", "kernel 2", "choice latency"]
    shallow = table["depth"] == "1"
    assert shallow.any()
    assert (~shallow).any()
    assert (table["kernel 2"][shallow] == "").all()
    assert set(table["kernel 2"][~shallow]) <= {"k3", "k5"}
    assert set(table["latency_unit"]) == {"ms"}
    assert set(table["latency_kind"]) == {"measured"}
    assert "the choice 'latency' is the column 'choice latency'" in " ".join(Summary(result).chart.notes)
    table.drop(columns=["arch", "index"]).to_csv(tmp_path / "choices.csv", index=False)
    archs = read_archs(tmp_path / "choices.csv", Towers())
    assert Towers().keys(archs) == Towers().keys(Towers().as_archs(list(table["arch"])))


def test_an_empty_cell_of_a_choice_that_matters_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("depth,kernel 1,kernel 2,choice latency\n1,k3,,low\n2,k3,,low\n")
    with pytest.raises(DataError, match=r"line 3, column 'kernel 2': an empty cell is no option of kernel 2"):
        read_archs(file, Towers())


@pytest.fixture
def uncalibrated(monkeypatch: pytest.MonkeyPatch) -> None:
    """The few-shot predictor of searches is like those whose deviation is no interval."""
    monkeypatch.setattr(AdaptedLatency, "calibrated", False)


def predicted_latency(measurements: int) -> Result:
    """A search that measures latency no more often, and whose proposals' latencies are predictions."""
    few = oracle("latency")
    few.few_shot = True
    goals = [oracle("accuracy", expensive=False), few]
    return nastk.search(Toy(), goals, budget=measurements, measurements=measurements, verify=0)


@pytest.mark.usefixtures("uncalibrated")
def test_intervals_of_predictions_are_those_that_hold_wherever_they_are_shown(tmp_path: Path) -> None:
    result = predicted_latency(6)
    result.to_csv(tmp_path / "front.csv")
    result.to_json(tmp_path / "result.json")
    table = pd.read_csv(tmp_path / "front.csv")
    guessed = table[table["latency_source"] == "predicted"]
    assert len(guessed)
    assert set(guessed["latency_kind"]) == {"estimate"}
    assert (guessed["latency_low"] < guessed["latency"]).all()
    searcher: Any = result.searcher
    low, high = searcher.models.fitted("latency").interval(list(guessed["arch"]))
    assert np.allclose(guessed["latency_low"], np.maximum(low, 0.0), rtol=1e-4)
    assert np.allclose(guessed["latency_high"], high, rtol=1e-4)
    assert not np.allclose(high, guessed["latency"] + 1.96 * guessed["latency_std"], rtol=0.01)
    ends = guessed[["latency_low", "latency_high"]].to_numpy()
    points = {p.arch: p.shown["latency"].interval for p in result.chart().front}
    assert np.allclose([points[arch] for arch in guessed["arch"]], ends)
    rows = {row["arch"]: row for row in json.loads((tmp_path / "result.json").read_text())["front"]}
    assert np.allclose([[rows[a]["latency_low"], rows[a]["latency_high"]] for a in guessed["arch"]], ends)


def test_what_is_computed_has_the_interval_that_its_oracle_tells() -> None:
    estimate = oracle("accuracy", expensive=False)
    answer = estimate._evaluate
    estimate._evaluate = lambda archs, fidelity: replace(answer(archs, fidelity), std=np.full(len(archs), 2.0))
    result = nastk.search(Toy(), [estimate, oracle("latency")], budget=6, verify=0)
    table = front_table(result)
    told = table[table["accuracy_std"] > 0]
    assert len(told)
    assert np.allclose(told["accuracy_high"] - told["accuracy"], 1.96 * told["accuracy_std"], rtol=1e-3)


@pytest.mark.usefixtures("uncalibrated")
def test_predictions_from_too_few_values_have_no_interval() -> None:
    result = predicted_latency(4)
    table = front_table(result)
    guessed = table[table["latency_source"] == "predicted"]
    assert len(guessed)
    assert (guessed["latency_std"] > 0).all()
    assert guessed["latency_low"].isna().all()
    assert {p.shown["latency"].interval for p in result.chart().front if p.estimated("latency")} == {None}


def test_headings_are_unique() -> None:
    assert headings(["arch", "width", "width", "choice arch"], {"arch"}) == [
        "choice arch",
        "width",
        "width (2)",
        "choice arch (2)",
    ]


@pytest.mark.parametrize("name", ["mobilenetv3", "gpt", "nasbench-macro", "fbnet"])
def test_choices_that_are_not_active_change_no_network(name: str) -> None:
    space = nastk.space(name)
    archs = space.sample(40, 0)
    active = space.active(archs)
    first = np.where(active, archs, 0)
    assert space.keys(first) == space.keys(archs)
    assert active.all() == (name not in ("mobilenetv3", "gpt"))


def test_every_choice_is_active_where_encodings_run_differently() -> None:
    assert nastk.space("nasbench201").active(np.zeros((3, 6), dtype=np.int64)).all()


# ---- result.json


@pytest.mark.parametrize("options", [{}, {"constraints": "latency<=4"}, {"constraints": "latency<=0.5"}])
def test_results_keep_the_shipped_schema(tmp_path: Path, options: dict[str, Any]) -> None:
    result = searched(**options)
    Summary(result).write(tmp_path)
    written = json.loads((tmp_path / "result.json").read_text())
    assert written["schema"] == SCHEMA == SHIPPED["properties"]["schema"]["const"]
    assert problems(written, SHIPPED) == []
    assert written.keys() <= SHIPPED["properties"].keys(), "every field is documented"
    assert written["front"][0]["choices"].items() >= {"depth": "1"}.items()
    assert set(SHIPPED["$defs"]["record"]["required"]) <= written["history"][0].keys()
    assert written["history"][0].keys() <= SHIPPED["$defs"]["record"]["properties"].keys()


def test_a_result_with_predictions_and_failures_keeps_the_schema(tmp_path: Path) -> None:
    def fails(archs: Archs) -> Any:
        if archs[0, 0] == 1:
            raise RuntimeError("no memory")
        return 1.0 + archs @ np.array([1.0, 2.0, 3.0, 5.0])

    few = nastk.FunctionOracle(Toy(), fails, "latency", "ms", "min")
    few.few_shot = True
    result = nastk.search(Toy(), [oracle("accuracy", expensive=False), few], measurements=5, verify=6, retries=0)
    result.to_json(tmp_path / "result.json")
    written = json.loads((tmp_path / "result.json").read_text())
    assert problems(written, SHIPPED) == []
    assert written["verification"]
    assert written["failures"]
    assert written["search"]["measurements"] == 5


def test_the_check_of_the_schema_sees_what_is_wrong(tmp_path: Path) -> None:
    searched().to_json(tmp_path / "result.json")
    written = json.loads((tmp_path / "result.json").read_text())
    written["front"][0]["choices"] = ["1"]
    written["history"][0]["kind"] = "guessed"
    del written["space"]
    found = " ".join(problems(written, SHIPPED))
    assert "$.front[0].choices" in found
    assert "'guessed' is none of" in found
    assert "$ lacks space" in found


@pytest.mark.parametrize(
    ("version", "message"),
    [(SCHEMA + 1, "was written by a newer version of nastk (schema 2"), ("1", "its schema is '1', must be a whole")],
)
def test_a_newer_result_is_refused_in_one_line(
    version: Any, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = searched()
    result.to_json(tmp_path / "result.json")
    assert run(["report", str(tmp_path)]) == 0
    written = json.loads((tmp_path / "result.json").read_text())
    (tmp_path / "result.json").write_text(json.dumps({k: v for k, v in written.items() if k != "schema"}))
    assert run(["report", str(tmp_path)]) == 0, "a file from before there were versions"
    capsys.readouterr()
    (tmp_path / "result.json").write_text(json.dumps({**written, "schema": version}))
    assert run(["report", str(tmp_path)]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert message in said
