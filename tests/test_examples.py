"""Every program in examples/ runs from start to end; those whose parts other tests check run with the long ones."""

from __future__ import annotations

import ast
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tomllib
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from effort import HANGS

import nastk
from nastk.oracles.counts import count_network

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name: str, folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=HANGS,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_tested() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert all(f'"{p.name}"' in text for p in EXAMPLES.glob("*.py"))


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.py")), ids=lambda file: file.stem)
def test_every_example_says_how_to_run_it_and_what_to_expect(file: Path) -> None:
    said = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    assert said is not None
    assert "\nRun: " in said
    assert "\nExpect: " in said
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 95


@pytest.mark.long
def test_search_this_machine(tmp_path: Path) -> None:
    said = run("search_this_machine.py", tmp_path, "out")
    assert "measured" in said
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["front.html", "front.png"]


@pytest.mark.data
@pytest.mark.long
def test_search_table(nastk_home: Path, tmp_path: Path) -> None:
    lines = run("search_table.py", tmp_path).splitlines()
    volumes = {line.split()[0]: float(line.split()[-1]) for line in lines}
    assert 0.5 < volumes["predictor"] <= volumes["true"]
    assert volumes["true"] == pytest.approx(0.9742, abs=1e-4)  # MODNAS protocol, fpga


def test_search_table_says_how_to_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NASTK_HOME", str(tmp_path))
    assert run("search_table.py", tmp_path).startswith("skipped: ")


@pytest.mark.long
def test_own_predictor(tmp_path: Path) -> None:
    assert "measured" in run("own_predictor.py", tmp_path)


def test_own_searcher(tmp_path: Path) -> None:
    lines = run("own_searcher.py", tmp_path).splitlines()
    volumes = {name: float(volume) for name, volume in (line.split(": hypervolume ") for line in lines)}
    assert volumes["FrontMutants"] > volumes["random"]


@pytest.mark.alone
@pytest.mark.long
def test_my_device_in_ten_measurements(tmp_path: Path) -> None:
    said = run("my_device_in_ten_measurements.py", tmp_path)
    assert "this machine resembles" in said
    assert float(said.split()[-1]) > 0.3, "ranks of fresh architectures; a busy machine measures little but its load"


@pytest.mark.long
def test_front_generator(tmp_path: Path) -> None:
    lines = run("front_generator.py", tmp_path).splitlines()
    assert lines[0].startswith("trained on 27 devices")
    accuracies = [float(line.split()[0]) for line in lines[2:]]
    assert 3 <= len(accuracies) <= 8
    assert max(accuracies) > 93


@pytest.mark.data
@pytest.mark.long
def test_compare_my_predictor(nastk_home: Path, tmp_path: Path) -> None:
    lines = run("compare_my_predictor.py", tmp_path).splitlines()
    found = {line.split()[0]: float(line.split()[1]) for line in lines}
    assert found["few-shot-gp"] > max(found["Blend"], found["flops"])
    assert found["Blend"] > 0.8


def test_compare_my_predictor_says_how_to_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NASTK_HOME", str(tmp_path))
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "compare_my_predictor.py")], capture_output=True, text=True, check=False
    )
    assert "skipped: " in done.stderr
    assert "nastk data fetch" in done.stderr


@pytest.mark.long
def test_own_space(tmp_path: Path) -> None:
    said = run("own_space.py", tmp_path)
    assert "Conv2d" in said
    assert "measured" in said


@pytest.mark.slow
def test_own_runtime(tmp_path: Path) -> None:
    eager, exported = run("own_runtime.py", tmp_path).splitlines()
    assert ", torch " in eager
    assert ", exported-graph " in exported
    assert eager.count(" ms") == exported.count(" ms") == 2


@pytest.mark.long
def test_device_by_command(tmp_path: Path) -> None:
    said = run("device_by_command.py", tmp_path).splitlines()
    assert said[:2] == ["measured on board by ./on_board.sh ..., one call", "16 values of 8 measured networks"]
    assert len(said) > 4


@pytest.mark.long
def test_train_command(tmp_path: Path) -> None:
    said = run("train_command.py", tmp_path).splitlines()
    assert said[0] == "function accuracy at 1, 3, 9"
    values = {name: _values(tmp_path / f"by-{name}.db") for name in ("function", "command")}
    assert values["function"] == values["command"], "the same trainings, continued from the same checkpoints"
    assert {epochs for _, epochs, _ in values["command"]} == {"1.0", "3.0", ""}


@pytest.mark.long
def test_ship_own_network(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnx runs the networks")
    folder = EXAMPLES / "ship_own_network"
    shutil.copy(folder / "network.py", tmp_path)
    program = tmp_path / "bin" / "nastk"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m nastk "$@"\n')
    program.chmod(0o755)
    path = os.pathsep.join([str(program.parent), os.environ["PATH"]])
    done = subprocess.run(
        ["sh", str(folder / "ship.sh"), "1"], cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    trained = json.loads((tmp_path / "nastk-trained" / "trained.json").read_text())
    assert len(trained["networks"]) == 3
    exported = {file.suffix for file in (tmp_path / "nastk-trained" / "export").iterdir()}
    assert {".onnx", ".py", ".safetensors", ".md", ".json"} <= exported


def _values(database: Path) -> list[tuple[str, str, float]]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute("select arch, fidelity, value from nastk_records order by arch, fidelity").fetchall()


def test_the_phone_of_device_by_command_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nastk.data.device_file import read_devices
    from nastk.oracles._child import run_child

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    phone = read_devices(EXAMPLES / "device_by_command" / "devices.toml")["phone"]
    network = tmp_path / "a network.onnx"
    network.write_bytes(bytes(7_000))
    ended = run_child([phone.program(), *phone.words({"onnx": str(network), "threads": "1"})], phone.folder, HANGS)
    assert (ended.status, ended.output.split()[-1]) == (0, "310.0")  # us: 300, and one for each 700 bytes
    assert not list(tmp_path.glob("fake-phone-*/*")), "it leaves nothing on the phone"


@pytest.mark.long
def test_own_network_to_model(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="the network is exported to ONNX")
    lines = run("own_network_to_model.py", tmp_path).splitlines()
    test = next(line for line in lines if ": test accuracy " in line)
    assert 80 < float(test.split(": test accuracy ")[1].split()[0]) <= 100
    assert {Path(line).suffix for line in lines[lines.index(test) + 1 :]} >= {".onnx", ".py"}


def test_limit_and_three_objectives(tmp_path: Path) -> None:
    lines = run("limit_and_three_objectives.py", tmp_path).splitlines()
    front = [line.split() for line in lines[1:-3]]
    assert len(front) >= 5
    assert all(float(row[-2]) <= 500_000 for row in front)
    best = [float(line.split()[-2]) for line in lines[-3:]]
    assert best == sorted(best, reverse=True), "a tighter limit costs accuracy"


@pytest.mark.data
@pytest.mark.long
def test_benchmark_to_latex(nastk_home: Path, tmp_path: Path) -> None:
    said = run("benchmark_to_latex.py", tmp_path)
    assert "\\begin{tabular}" in said
    assert all(name in said for name in ("random", "pymoo:nsga2", "predictor"))
    row = next(line for line in said.splitlines() if line.startswith("predictor"))
    assert row.count("\\textbf") == 2, "the best at both budgets"


@pytest.mark.data
@pytest.mark.long
def test_transfer_between_spaces(suite_home: Path, tmp_path: Path) -> None:
    lines = run("transfer_between_spaces.py", tmp_path).splitlines()
    prior, without = (float(line.split("Spearman ")[1].split()[0]) for line in lines[1:])
    assert prior > without > 0.5


@pytest.mark.parametrize("name", ["benchmark_to_latex.py", "transfer_between_spaces.py"])
def test_examples_of_tables_say_how_to_fetch(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NASTK_HOME", str(tmp_path))
    said = run(name, tmp_path)
    assert said.startswith("skipped: ")
    assert "nastk data fetch" in said


@pytest.mark.long
def test_many_workers(tmp_path: Path) -> None:
    said = run("many_workers.py", tmp_path, "2")
    assert said.startswith("20 trainings by 2 workers")
    assert "its process ended itself with status 3" in said
    assert "20 trainings" in run("many_workers.py", tmp_path, "2"), "nothing is evaluated again"


@pytest.mark.long
def test_time_series(tmp_path: Path) -> None:
    found = [line.split() for line in run("time_series.py", tmp_path).splitlines()]
    assert len(found) >= 2
    assert max(float(row[0]) for row in found) > 60


@pytest.mark.long
def test_optuna_sampler(tmp_path: Path) -> None:
    lines = run("optuna_sampler.py", tmp_path).splitlines()[1:]
    accuracies, sizes = zip(*[(float(line.split()[0]), float(line.split()[1])) for line in lines], strict=True)
    assert max(accuracies) > 90
    assert list(sizes) == sorted(sizes)


@pytest.mark.long
def test_prune_my_network(tmp_path: Path) -> None:
    lines = run("prune_my_network.py", tmp_path).splitlines()
    before, after = (line.split() for line in lines[:2])
    share = float(after[after.index("parameters") - 1].replace(",", "")) / float(before[-4].replace(",", ""))
    assert share < 1 / 14
    assert float(after[2]) > 85, "validation accuracy"
    assert all(float(word.rstrip("%,")) <= 100 for word in lines[2].split() if word.rstrip(",").endswith("%"))


@pytest.mark.long
def test_several_tasks(tmp_path: Path) -> None:
    lines = run("several_tasks.py", tmp_path).splitlines()
    errors = [float(word) for word in lines[0].replace("%", " ").split() if word.replace(".", "", 1).isdigit()][:2]
    assert max(errors) < 20
    assert lines[1].split() != ["open:", ""]
    assert all(0 <= float(pair.split()[-1]) <= 1 for pair in lines[2].partition(":")[2].split(","))
    assert len(lines) >= 5


@pytest.mark.long
def test_count_things(tmp_path: Path) -> None:
    lines = run("count_things.py", tmp_path).splitlines()
    assert all(float(line.split(" digits wrong")[0].split()[-1]) < 2 for line in lines[:2])
    assert len(lines) >= 4


def test_the_own_predictor_and_space_keep_their_contracts() -> None:
    from nastk.registry import load_object
    from nastk.spaces.factory import space
    from nastk.testing import check_predictor, check_space

    check_predictor(load_object(f"{EXAMPLES / 'own_predictor.py'}:Nearby"), space("nasbench201"))
    check_predictor(load_object(f"{EXAMPLES / 'compare_my_predictor.py'}:Blend"), space("nasbench201"))
    folder = EXAMPLES / "own_backend"
    points = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["entry-points"]["nastk.predictors"]
    module, _, name = points["nearby"].partition(":")
    check_predictor(load_object(f"{folder / module}.py:{name}"), space("nasbench201"))
    check_space(space(f"{EXAMPLES / 'own_space.py'}:DigitNet"))


def test_elastic_networks() -> None:
    folder = EXAMPLES / "elastic_cnn"
    space = nastk.space(f"{folder / 'network.py'}:ElasticCNN")
    assert space.size == 373_248
    small = nastk.space(f"{folder / 'small_mobilenetv3.py'}:SmallMobileNetV3")
    narrow = nastk.space(f"{folder / 'small_mobilenetv3.py'}:NarrowMobileNetV3")
    for each, side in ((space, 8), (small, 16), (narrow, 8)):
        arch = each.sample(1, 0)[0]
        network = each.build(arch).eval()
        with torch.no_grad():
            assert network(torch.zeros(2, 1, side, side)).shape == (2, 10)
        if each is not space:  # what params and FLOPs are compared with must be of the small networks
            counts = each.statics(arch[None], input_size=side)
            assert {n: counts[n][0] for n in ("params", "flops")} == count_network(network, (1, side, side))
    assert any((m.weight == 0).all() for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d))
    drawn = narrow.sample(300, 0)
    assert np.ptp(narrow.statics(drawn)["params"]) > 35_000  # uniform over rows: 22,000
    assert not drawn[:, -1].any()


def test_bottlenecks_have_equal_parameters() -> None:
    assert (EXAMPLES / "bottlenecks.py").is_file()
    for shape in ("Early", "Last"):
        space = nastk.space(f"{EXAMPLES / 'bottlenecks.py'}:{shape}")
        counts = nastk.oracles.Count(space, "params")(space.enumerate())
        assert len(counts) == 12
        assert counts.max() <= 1.05 * counts.min()
