"""The comparison of PIT on time series: its figures by hand, and a small run from start to end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nastk.errors import InvalidValue, UnknownName
from nastk.reproduce import tcn
from nastk.reproduce.tcn import Plan, Row, is_met, parse_data, smaller, volume
from nastk.spaces.tcn import TCN


def row(validation: float, test: float, params: float, **more: object) -> Row:
    return {"method": "pit", "validation": validation, "test": test, "params": params, "flops": 1.0, **more}


def test_names_of_data() -> None:
    assert parse_data("plaid") == ("plaid", None)
    assert parse_data("plaid:64") == ("plaid", 64)
    assert parse_data("C:\\x.npz") == ("C:\\x.npz", None)
    with pytest.raises(InvalidValue):
        parse_data("plaid:1")


def test_the_smaller_network_is_chosen_by_validation() -> None:
    seed = row(90, 88, 10_000)
    some = [row(99, 50, 5_000), row(80, 85, 900), row(80, 70, 1_000), row(70, 99, 100)]
    assert smaller(some, seed) == some[2]
    assert smaller(some[:1], seed) is None


def test_volumes_are_of_the_front_by_validation_scored_by_the_test() -> None:
    seed = row(90, 90, 10_000)
    both = [row(90, 60, 1_000), row(80, 100, 1_000)]  # the second is worse on validation data
    assert volume(both, seed, 80.0) == pytest.approx((1 - 40 / 80) * 0.5)
    assert volume([row(90, 60, 50)], seed, 80.0) == pytest.approx(0.5)


def test_a_limit_is_met_within_two_percent() -> None:
    assert is_met(row(1, 1, 1, over_params=1.019, over_flops=0.2))
    assert not is_met(row(1, 1, 1, over_params=0.5, over_flops=1.03))


def test_equal_trainings_have_equal_steps() -> None:
    plan = Plan(("plaid", 64), 0, "random", 150, 200, 80)
    assert plan.trainings == 5
    assert plan.trainings * plan.steps == 150 + 4 * 280


def test_a_run_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "x.npz", series=rng.normal(size=(40, 2, 8)), labels=np.arange(40) % 2)
    monkeypatch.setattr(tcn, "STRENGTHS", (5.0,))
    monkeypatch.setattr(tcn, "LIMITS", ({"params": 0.3, "flops": 0.5},))
    data = [(str(tmp_path / "x.npz"), None)]
    found = tcn.run(data, 1, tmp_path / "out", 1, warmup=2, search=3, finetune=1)
    kept = (tmp_path / "out" / "runs.jsonl").read_text()
    assert tcn.run(data, 1, tmp_path / "out", 1, warmup=2, search=3, finetune=1).networks == found.networks
    assert (tmp_path / "out" / "runs.jsonl").read_text() == kept
    methods = [row["method"] for row in found.networks]
    each = ("pit", "seed", "random", "predictor", "limits", "tenth", "tenth, from scratch")
    assert [methods.count(name) for name in each] == [2, 1, 2, 2, 1, 1, 1]
    rows = {(each["method"], each["metric"]): each["mean"] for each in tcn.rows_of(found, data)}
    assert rows["limits", "limits_met"] == 100.0
    assert {(row["over_params"] <= 1.0) for row in found.of(method="tenth")} == {True}
    assert {method for method, metric in rows if metric == "points_lost"} >= {"tenth", "tenth, from scratch"}
    assert rows["limits", "met_by_the_search_alone"] == 0.0, "three steps are too few"
    assert {"pit - random", "pit - predictor"} <= {method for method, _ in rows}
    assert tcn.tables(tcn.rows_of(found, data))[0][0] == data[0][0]


def test_a_part_of_the_comparison(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "x.npz", series=rng.normal(size=(40, 2, 8)), labels=np.arange(40) % 2)
    data = [(str(tmp_path / "x.npz"), None)]
    found = tcn.run(data, 1, None, 1, methods=("tenth",), first_seed=7, warmup=2, search=3, finetune=1)
    seed, tenth, scratch = (found.of(seed=7, method=name)[0] for name in ("seed", "tenth", "tenth, from scratch"))
    assert len(found.networks) == 3
    assert tenth["params"] == scratch["params"] <= seed["params"] / 10
    rows = {(each["method"], each["metric"]): each["mean"] for each in tcn.rows_of(found, data)}
    assert rows["tenth", "points_lost"] == pytest.approx(seed["test"] - tenth["test"])
    assert rows["tenth, from scratch", "points_lost"] == pytest.approx(seed["test"] - scratch["test"])
    assert not {"hypervolume", "limits_met"} & {metric for _, metric in rows}
    with pytest.raises(UnknownName, match="tenths"):
        tcn.run(data, 1, methods=("tenths",))


def test_a_network_with_new_weights() -> None:
    network = TCN().build(TCN().seed, num_classes=3, input_size=8)
    again, other = tcn.untrained(network, 0), tcn.untrained(network, 1)
    weights = [made.classifier.weight for made in (tcn.untrained(network, 0), again, other, network)]
    assert bool((weights[0] == weights[1]).all())
    assert not bool((weights[1] == weights[2]).any())
    assert not bool((weights[1] == weights[3]).any())
