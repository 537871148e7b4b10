"""The benchmark of searchers: tidy rows, paid values only, results that do not depend on what else is compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nastk
from nastk.bench import figures as search_figures
from nastk.bench import problems as search_problems
from nastk.bench import search as search_bench
from nastk.bench._virtual import VirtualWorkers
from nastk.bench.problems import problems
from nastk.data import imported
from nastk.errors import InvalidValue, UnknownName
from nastk.metrics import ModnasProtocol
from nastk.oracles.goals import Goal
from nastk.oracles.table import benchmark
from nastk.workers.base import Call

pytestmark = pytest.mark.data

COLUMNS = {
    "experiment", "space", "dataset", "device", "method", "samples", "evaluations", "measurements",
    "source_measurements", "metric", "mean", "ci95", "seeds", "reference", "reference_source",
}  # fmt: skip


TEST = ["test_accuracy", "latency"]


def _run(searchers: list[str], budgets: tuple[int, ...] = (8, 12), **options: Any) -> list[dict[str, Any]]:
    settings: dict[str, Any] = {"seeds": 2, "workers": 1}
    if "objectives" not in options:
        settings |= {"devices": ["fpga", "eyeriss"], "objectives": TEST}
    found = search_bench.compare(searchers=searchers, budget=max(budgets), **{**settings, **options})
    rows = found.rows(budgets)
    assert all(row.pop("mean") >= 0 for row in rows if row["metric"] == "overhead_ms")
    return [row for row in rows if row["metric"] != "overhead_ms"]


def _only(rows: list[dict[str, Any]], metric: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["metric"] == metric]


def test_rows_are_tidy_and_a_method_does_not_change_another(nastk_home: object) -> None:
    rows = _run(["random", "pareto-local-search"])
    assert len(rows) == 2 * 2 * 3 * 2, "searchers x budgets x (devices and their mean) x metrics"
    assert all(set(row) >= COLUMNS for row in rows)
    alone = [row for row in rows if row["method"] == "random"]
    assert _run(["random"]) == alone
    volumes = _only(alone, "hypervolume")
    mean = next(r for r in volumes if r["device"] == "*" and r["samples"] == 12)
    parts = [r["mean"] for r in volumes if r["device"] != "*" and r["samples"] == 12]
    assert mean["mean"] == pytest.approx(sum(parts) / 2)
    assert (mean["evaluations"], mean["measurements"], mean["source_measurements"]) == (24, 12, 0)
    assert mean["searched"] == "test_accuracy, latency"
    assert all(0 < r["mean"] <= r["reference"] <= 1 for r in volumes)
    by_budget = {r["samples"]: r["mean"] for r in volumes if r["device"] == "*"}
    assert by_budget[12] >= by_budget[8]


def test_the_predictor_pays_few_latencies_and_learns_from_the_named_sources_only(nastk_home: object) -> None:
    rows = _run(["predictor"], (10,), devices=["fpga"], objectives=TEST, seeds=1, measurements=4, sources=["pixel3"])
    assert {r["measurements"] for r in rows} <= {3, 4}, "a share is kept for what is proposed later"
    assert {r["evaluations"] - r["measurements"] for r in rows} == {10}
    assert {r["source_measurements"] for r in rows} == {900}, "of one source device"
    table = benchmark("nasbench201").table
    assert len(table.source_devices) == 9
    assert set(table.target_devices) == {"titan_rtx_256", "gold_6226", "fpga", "pixel2", "raspi4", "eyeriss"}
    assert not set(table.source_devices) & set(table.target_devices)


def test_latencies_that_are_the_only_paid_objective_are_measurements(nastk_home: object) -> None:
    rows = _run(["random", "predictor"], (8,), space="fbnet", objectives=["max:params", "latency:pixel3"], seeds=1)
    for row in rows:
        assert (row["samples"], row["evaluations"], row["measurements"]) == (8, 8, 8), row["method"]


def test_latencies_of_all_devices_and_no_accuracies_are_measurements(nastk_home: object) -> None:
    two = _run(["random"], (6,), objectives=["test_accuracy", "latency:fpga", "latency:pixel2"], seeds=1)
    assert {(r["evaluations"], r["measurements"]) for r in two} == {(18, 12)}
    trainings = _run(["random"], (6,), objectives=["test_accuracy", "val_accuracy@12"], seeds=1)
    assert {(r["evaluations"], r["measurements"]) for r in trainings} == {(12, 0)}


def test_a_journal_that_does_not_say_what_was_paid_is_run_again(nastk_home: object, tmp_path: Path) -> None:
    journal = tmp_path / "runs.jsonl"
    asked: dict[str, Any] = {"objectives": ["test_accuracy"], "journal": journal}
    rows = _run(["random"], (5,), **asked)
    lines = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    old = [{k: v for k, v in line.items() if k != "evaluations"} | {"rows": [0] * 5} for line in lines]
    journal.write_text("".join(json.dumps(line) + "\n" for line in old), encoding="utf-8")
    assert _only(_run(["random"], (5,), **asked), "regret") == _only(rows, "regret")
    assert len(journal.read_text(encoding="utf-8").splitlines()) == 2 * len(lines)


def test_several_processes_give_the_same_rows(nastk_home: object) -> None:
    assert _run(["random"], workers=2) == _run(["random"])


def test_one_objective_is_scored_by_regret_and_by_evaluations_until_the_best(nastk_home: object) -> None:
    rows = _run(["random"], (5, 40), objectives=["test_accuracy"], with_proxies=True)
    assert [r["metric"] for r in rows] == [
        "regret", "regret", "median_evaluations_to_best", "median_evaluations_to_0.1"
    ]  # fmt: skip
    assert rows[0]["reference"] == pytest.approx(94.3733, abs=1e-4)
    assert rows[0]["mean"] >= rows[1]["mean"] > 0
    assert rows[2]["mean"] != rows[2]["mean"], "random search does not find the best of 9,445 in 40"


def test_what_is_reported_may_be_another_accuracy_than_what_is_searched(nastk_home: object) -> None:
    (problem,) = problems("nasbench201", "ImageNet16-120", devices=[])
    assert (problem.searched, problem.reported) == ("val_accuracy", "test_accuracy")
    scored = search_problems.Scores(problem)
    everything = np.arange(15625)
    regrets = scored.regrets(np.random.default_rng(0).permutation(everything))
    table = benchmark("nasbench201", dataset="ImageNet16-120")
    leader = np.argmax(table.values("val_accuracy"))
    test = table.values("test_accuracy")
    assert regrets[-1] == pytest.approx(test.max() - test[leader])
    assert regrets[-1] > 0
    assert regrets.min() < regrets[-1], "the report of the best by validation can get worse"


def test_hypervolume_is_the_modnas_protocols_for_any_objectives(nastk_home: object) -> None:
    (problem,) = problems("nasbench201", "cifar10", ["test_accuracy", "latency:fpga"])
    scored = search_problems.Scores(problem)
    table = benchmark("nasbench201", dataset="cifar10")
    theirs = ModnasProtocol(100 - table.values("test_accuracy"), table.values("latency", device="fpga"))
    rows = np.random.default_rng(0).choice(15625, 30)
    assert scored.hypervolume(rows) == pytest.approx(theirs.hypervolume(rows))
    assert scored.best_hypervolume == pytest.approx(theirs.front_hypervolume())
    assert scored.igd_plus(rows) == pytest.approx(theirs.igd_plus(rows))


def test_a_table_without_accuracies_is_searched_for_capacity_against_latency(nastk_home: object) -> None:
    (problem,) = problems("fbnet", devices=["fpga"])
    assert problem.searched == "max:params, latency:fpga"
    rows = _run(["random"], space="fbnet", devices=["fpga"], objectives=None)
    assert all(0 < r["mean"] < r["reference"] for r in _only(rows, "hypervolume"))


def test_finished_runs_are_not_repeated(nastk_home: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = tmp_path / "runs.jsonl"
    rows = _run(["random"], journal=journal)
    half = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(half[:3]) + half[3][:40])  # the last run was cut off while it was written
    done = []
    searched = search_bench._search
    monkeypatch.setattr(search_bench, "_search", lambda job: done.append(job) or searched(job))
    assert _run(["random"], journal=journal) == rows
    assert len(done) == 1
    monkeypatch.setattr(search_bench, "_search", None)
    assert _run(["random"], journal=journal) == rows, "what was cut off and then added is whole"


def test_ranks_pictures_and_page(nastk_home: object, tmp_path: Path) -> None:
    found = search_bench.compare(
        searchers=["random", "pareto-local-search"], budget=12, seeds=6, workers=1, objectives=TEST, devices=["fpga"]
    )
    lines = search_figures.ranks([found], 12).rows()
    assert [line["mean rank"] for line in lines] == sorted(line["mean rank"] for line in lines)
    assert sum(line["mean rank"] for line in lines) == pytest.approx(3)
    first, second = (line["method"] for line in lines)
    assert 0 < lines[0][f"p against {second}"] <= 1
    assert lines[0][f"p against {second}"] == lines[1][f"p against {first}"]
    search_figures.write_all([found], found.rows([6, 12]), tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert page.count('<figure class="curves">') == 3
    assert "test accuracy itself is the objective" in page
    written = {path.name for path in tmp_path.iterdir()}
    curves = {f"{n}.{end}" for n in ("hypervolume", "igd_plus", "seconds") for end in ("png", "svg", "pdf")}
    assert written == curves | {"report.html", "rows.json", "rows.csv"} | {
        f"{n}.tex" for n in ("hypervolume", "igd_plus", "overhead_ms")
    }


def test_several_tables_are_ranked_together_and_each_as_if_alone(nastk_home: object, tmp_path: Path) -> None:
    searchers = ["random", "pareto-local-search", "optuna:tpe"]
    settings: dict[str, Any] = {"searchers": searchers, "budget": 10, "seeds": 3}
    one = search_bench.plan(space="nasbench201", dataset="cifar100", objectives=["test_accuracy"], **settings)
    other = search_bench.plan(
        space="fbnet", devices=["fpga", "pixel3"], objectives=["max:params", "latency"], **settings
    )
    journal = tmp_path / "runs.jsonl"
    parts = search_bench.carry_out([one, other], workers=1, journal=journal)
    assert [part.main_metric for part in parts] == ["regret", "hypervolume"]
    alone = search_bench.carry_out([one], workers=1)[0]
    assert _only(alone.rows([10]), "regret") == _only(parts[0].rows([10]), "regret")
    ranked = search_figures.ranks(parts, 10)
    assert list(ranked.costs) == ["nasbench201 cifar100", "fbnet"]
    assert ranked.pairs == 3 + 2 * 3
    assert ranked.mean.tolist() == pytest.approx(np.mean(list(ranked.by_table.values()), axis=0).tolist())
    rows = [row for part in parts for row in part.rows([10])]
    search_figures.write_all(parts, rows, tmp_path)
    assert (tmp_path / "ranked.svg").exists()
    page = (tmp_path / "report.html").read_text()
    assert "Holm" in page
    assert "space fbnet" in page
    lines = len(journal.read_text().splitlines())
    search_bench.carry_out([one, other], workers=1, journal=journal)
    assert len(journal.read_text().splitlines()) == lines, "nothing is run again"


def test_searchers_with_predictors_of_their_own(nastk_home: object) -> None:
    options: dict[str, Any] = {"objectives": ["test_accuracy"], "seeds": 2}
    rows = _run(["npenas@ridge", "npenas@ridge@path-counts", "random"], (14,), **options)
    assert list(dict.fromkeys(r["method"] for r in rows)) == ["npenas@ridge", "npenas@ridge@path-counts", "random"]
    common = _run(["npenas"], (14,), predictor="ridge", **options)
    regret = {r["method"]: r["mean"] for r in _only(rows, "regret")}
    assert regret["npenas@ridge"] == common[0]["mean"], "the same search by either way of asking"
    assert regret["npenas@ridge"] != regret["npenas@ridge@path-counts"]


def test_a_predictor_with_an_encoding_and_fewer_candidates(nastk_home: object, tmp_path: Path) -> None:
    options: dict[str, Any] = {"seeds": 1, "objectives": ["test_accuracy"], "journal": tmp_path / "runs.jsonl"}
    found = {
        name: _run(["multi-predict"], (14,), predictor=f"ridge@{name}", candidates=50, **options)
        for name in ("vec", "path-counts")
    }
    assert found["vec"] != found["path-counts"]
    jobs = [json.loads(line)["run"] for line in (tmp_path / "runs.jsonl").read_text().splitlines()]
    assert [job["candidates"] for job in jobs] == [50, 50]
    assert [job["predictor"] for job in jobs] == ["ridge@vec", "ridge@path-counts"]


def test_bad_input_is_refused_before_any_run(nastk_home: object) -> None:
    with pytest.raises(UnknownName, match="did you mean 'random'"):
        _run(["randm"])
    with pytest.raises(UnknownName, match="did you mean 'fpga'"):
        _run(["random"], devices=["fpgaa"])
    with pytest.raises(UnknownName, match="source device"):
        _run(["random"], sources=["nope"])
    with pytest.raises(InvalidValue, match="at least one"):
        _run([])
    with pytest.raises(InvalidValue, match="METRIC:DEVICE"):
        _run(["random"], objectives=["a b"])
    with pytest.raises(UnknownName, match="metric"):
        _run(["random"], objectives=["nope"])
    with pytest.raises(InvalidValue, match="leaves its device open"):
        _run(["random"], objectives=["test_accuracy"], devices=["fpga"])
    with pytest.raises(InvalidValue, match="flops takes no encoding"):
        _run(["predictor"], predictor="flops@vec")
    with pytest.raises(InvalidValue, match="random learns nothing; write random"):
        _run(["random@gp"])
    with pytest.raises(UnknownName, match="did you mean 'brp-nas'"):
        _run(["npenas@brpnas"])
    with pytest.raises(UnknownName, match="unknown encoding 'vecs'"):
        _run(["predictor"], predictor="ridge@vecs")
    with pytest.raises(InvalidValue, match="leave out --candidates"):
        _run(["random"], candidates=10)
    with pytest.raises(InvalidValue, match="has fidelities 200, 12"):
        _run(["random"], objectives=["test_accuracy@13"])


@pytest.mark.parametrize("text", ["latency:pixel3", "val_accuracy@12", "max:params", "min:energy:edgegpu"])
def test_an_objective_is_written_as_it_is_read(text: str) -> None:
    assert str(Goal.parse(text)) == text


# ---- evaluations in flight


def test_evaluations_on_a_virtual_clock_end_in_the_order_of_their_lengths() -> None:
    class Immediate(Call):
        def here(self) -> Any:
            return [[]]

    workers = VirtualWorkers(3, seed=0)
    now, ends = [], []
    running = {workers.submit(Immediate(None, (), np.zeros((1, 1)), None)) for _ in range(3)}  # type: ignore[arg-type]
    for _ in range(20):
        lengths = {answer: end for answer, (end, _) in workers._ends.items()}
        (done,) = workers.wait(running)
        assert lengths[done] == min(lengths.values())
        ends.append(workers._now)
        now.append(done.result())
        running.remove(done)
        running.add(workers.submit(Immediate(None, (), np.zeros((1, 1)), None)))  # type: ignore[arg-type]
    assert ends == sorted(ends)
    assert now == [[[]]] * 20


def test_overlapping_evaluations_spend_the_same_and_are_another_run(nastk_home: object, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"budget": 8, "seeds": 1, "workers": 1, "devices": ["fpga"], "objectives": TEST}
    journal = tmp_path / "runs.jsonl"
    found = [
        search_bench.compare(searchers=["pareto-local-search"], in_flight=n, journal=journal, **settings)
        for n in (1, 4, 4)
    ]
    assert len(journal.read_text().splitlines()) == 2, "a finished run is not repeated, nor taken for the other"
    traces = [next(iter(comparison.traces.values())) for comparison in found]
    assert [len(trace.rows) for trace in traces] == [8, 8, 8]
    assert [max(trace.evaluations) for trace in traces] == [16, 16, 16]
    assert not np.array_equal(traces[0].rows, traces[1].rows), "proposals that know fewer results are others"
    assert np.array_equal(traces[1].rows, traces[2].rows)
    assert "in_flight" not in journal.read_text().splitlines()[0], "earlier journals stay valid"


def test_there_is_at_least_one_evaluation_in_flight() -> None:
    with pytest.raises(InvalidValue, match="one evaluation in flight"):
        search_bench.compare(in_flight=0)


def test_sources_leave_out_what_could_not_be_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NASTK_HOME", str(tmp_path / "home"))
    space = nastk.space("nasbench-macro")
    archs = space.sample(20, 0, unique=True)
    rows = [f"{space.format(arch)},{'' if i == 4 else 2.5 + i}" for i, arch in enumerate(archs)]
    file = tmp_path / "board.csv"
    file.write_text("\n".join(["arch,latency", *rows]))
    imported.bring("csv", [file], space="nasbench-macro", columns=["latency"], device="board")
    few = search_bench._pretrain("nasbench-macro", None, ("board",), 20, seed=123)
    assert few.devices == ("board",)


# ---- blank tables


def test_a_blank_table_shows_choices_alone(nastk_home: object, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[Any, Any]] = []
    describe = search_bench.run.describe_objects

    def spy(space: Any, goals: Any, *args: Any, **options: Any) -> Any:
        shown.append((space, goals, options))
        return describe(space, goals, *args, **options)

    monkeypatch.setattr(search_bench.run, "describe_objects", spy)
    asked: dict[str, Any] = {"budget": 4, "seeds": 1, "workers": 1, "devices": ["fpga"], "dataset": "cifar10"}
    found = search_bench.compare(searchers=["predictor"], blank=True, **asked)
    ((space, goals, options),) = shown
    real = benchmark("nasbench201")
    archs = space.enumerate()
    assert (space.sizes == real.space.sizes).all()
    assert len(archs) == 15625
    assert space.whole is space
    assert space.name == "nasbench201-blank", "a name for which no weights ship"
    assert (real.space.canonical(archs) != archs).any()
    assert (space.canonical(archs) == archs).all()
    assert real.space.statics(archs[:2])
    assert not space.statics(archs[:2])
    assert not space.has_networks
    assert not space.forms_differ
    assert not {o for c in real.space.choices for o in c.options} & {o for c in space.choices for o in c.options}
    assert dict(space.graph(archs[0]).out_degree()) == dict.fromkeys(["input", *(f"x{j}" for j in range(6))], 1) | {
        "output": 0
    }, "a chain"
    for goal in goals:
        assert goal.oracle.search_proxies() is None
        own = real.oracle(goal.name, dataset="cifar10", device=goal.oracle.device)
        np.testing.assert_array_equal(goal.oracle.oracle(archs), own(archs))
        assert {c.metric.removesuffix("_std") for c in goal.oracle.table.columns} == {"val_accuracy", "latency"}
    assert options["measurements"] is None
    assert not options.get("predictor")
    (trace,) = found.traces.values()
    assert (trace.evaluations[-1], trace.measurements[-1], trace.source_measurements) == (8, 4, 0)
    assert all(row["blank"] for row in found.rows([4]))


def test_a_blank_table_has_counts_measured(nastk_home: object) -> None:
    (problem,) = problems("nasbench201", "cifar10", ["test_accuracy", "flops"])
    scored = search_problems.scores(problem)
    shown = scored.blank.oracle("flops")
    archs = scored.blank.space.sample(20, seed=0)
    assert shown.expensive
    assert not scored.table.oracle("flops").expensive
    np.testing.assert_array_equal(shown(archs), scored.table.oracle("flops")(archs))
    assert scored.blank.nearest_proxies() is None, "a count to be measured is no proxy either: searchers would know it"
    assert scored.blank.search_proxies() is None


def test_a_blank_run_is_another_run_with_the_same_scores(nastk_home: object, tmp_path: Path) -> None:
    journal = tmp_path / "runs.jsonl"
    asked: dict[str, Any] = {"objectives": ["test_accuracy"], "seeds": 1, "workers": 1, "journal": journal}
    informed = search_bench.compare(searchers=["predictor"], budget=4, **asked)
    blank = search_bench.compare(searchers=["predictor"], budget=4, blank=True, **asked)
    entries = [json.loads(line)["run"] for line in journal.read_text(encoding="utf-8").splitlines()]
    assert ["blank" in entry for entry in entries] == [False, True]
    (a,), (b,) = informed.traces.values(), blank.traces.values()
    assert (a.rows != b.rows).any()
    (problem,) = blank.problems
    assert blank.rows([4])[0]["reference"] == informed.rows([4])[0]["reference"]
    assert blank.values("regret", "predictor", problem, 4)[0] == search_problems.scores(problem).regrets(b.rows)[-1]
    assert "blank" not in informed.rows([4])[0]
    search_figures.write_all([blank], blank.rows([4]), tmp_path)
    assert search_figures.BLANK in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_blank_table_that_holds_a_part_of_its_space_is_a_pool_of_choices(nastk_home: object) -> None:
    (problem,) = problems("nasbench201", "cifar10", ["test_accuracy"], with_proxies=True)
    scored = search_problems.scores(problem)
    space = scored.blank.space
    assert space.size == len(scored.table.space.enumerate()) < 15625
    archs = space.sample(50, seed=0)
    np.testing.assert_array_equal(
        scored.blank.values("test_accuracy")[space.index(archs)],
        scored.table.values("test_accuracy")[scored.table.table.rows(archs)],
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sources": ["pixel3"]}, "a blank table has no source devices"),
        ({"searchers": ["predictor@few-shot-gp"]}, "few-shot-gp learns from source devices"),
        ({"searchers": ["predictor@gp@statics"]}, "gp@statics cannot be encoded"),
        ({"searchers": ["predictor@gp@zcp"]}, "gp@zcp cannot be encoded"),
    ],
)
def test_what_a_blank_table_cannot_have_is_refused(nastk_home: object, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        search_bench.plan(**{"searchers": ["random"], "devices": None, "blank": True} | options)
