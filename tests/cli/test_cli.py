"""The command line: what a user can get wrong ends as one line that says what would be right, and status 2."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nastk.cli import run
from nastk.cli.config import RunOptions
from nastk.errors import InvalidValue, UnknownName, installing

PLAIN = "|nor_conv_3x3~0|+|nor_conv_3x3~0|skip_connect~1|+|none~0|none~1|nor_conv_3x3~2|"


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line of an error that ends with status 2 and shows no traceback."""
    status = run([str(a) for a in arguments])
    said = capsys.readouterr()
    assert status == 2, said
    assert "Traceback" not in said.err
    lines = said.err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("nastk: error: ")
    return lines[0]


# ---- names


@pytest.mark.parametrize(
    ("arguments", "cure"),
    [
        (("serch",), "did you mean 'search'"),
        (("search", "--spce", "x"), "--space"),
        (("search", "--budget", "many"), "budget"),
        (("list", "predictor"), "did you mean 'predictors'"),
        (("search", "--space", "nasbench21"), "did you mean 'nasbench201'"),
        (("search", "--searcher", "predictr"), "did you mean 'predictor'"),
        (("search", "--predictor", "rigde"), "did you mean 'ridge'"),
        (("search", "--objective", "latncy"), "latency"),
        (("search", "--objective", "carbon"), "--device"),
        (("search", "--runtime", "tensorflow"), "torch"),
        (("search", "--constraint", "latency<10"), "write name<=number"),
        (("search", "--constraint", "latncy<=10"), "did you mean 'latency'"),
        (("search", "--constraint", "latency<=fast"), "such as latency<=10"),
        (("search", "--accuracy", "nowhere.py:evaluate"), "no such file"),
        (("search", "--accuracy", "evaluate"), "file.py:name"),
        (("search", "--space", "nowhere.py:Space"), "no such file"),
        (("search", "--predictor", "latncy=gp"), "expensive: latency"),
        (("search", "--budget", "0"), "budget"),
        (("search", "--config", "nowhere.toml"), "No such file"),
        (("search", "--storage", "nonsense"), "nonsense"),
        (("search", "--space", "fbnet"), "--accuracy"),
        (("measure",), "--random"),
        (("measure", "15625"), "0 to 15624"),
        (("measure", "|conv~0|"), "conv~0"),
        (("measure", "--check-predictor", "12"), "remove other architectures"),
        (("measure", "12", "--device", "tpu"), "tpu"),
        (("predict", "--measured", "nowhere.csv", "--all"), "No such file"),
        (("predict", "--measurements", "nowhere.csv", "--all"), "No such file"),
        (("predict", "--all"), "--measured FILE.csv"),
        (("predict", "--measured", "a.csv", "--measurements", "a.csv"), "give one of them"),
        (("search", "--space", "nasbench21", "--dataset", "cifar10"), "unknown space 'nasbench21'; did you mean"),
        (("search", "--space", "nasbench21", "--device", "pixel3"), "unknown space 'nasbench21'; did you mean"),
        (("bench", "search", "--space", "nasbench21"), "unknown space 'nasbench21'; did you mean"),
        (("bench", "zcp", "--space", "nasbench21", "--agreement", "9"), "unknown space 'nasbench21'; did you mean"),
        (("reproduce", "accuracy", "--space", "nasbench21"), "unknown space 'nasbench21'; did you mean"),
        (("data", "forget", "mine", "--space", "nasbench21"), "unknown space 'nasbench21'; did you mean"),
        (("search", "--space", ""), "--space is empty"),
        (("search", "--dataset="), "--dataset is empty"),
        (("measure", " "), "an argument is empty"),
        (("search", "--seed", "-1"), "--seed must be at least 0"),
        (("search", "--seed", str(2**32)), "--seed must be at most 4,294,967,295"),
        (("measure", "--seed", "-1", "--random", "2"), "--seed"),
        (("zcp", "--seed", "-1", "--random", "2"), "--seed"),
        (("search", "--out", "a" * 300), "File name too long"),
        (("search", "--json", "a" * 300), "File name too long"),
        (("measure", "12", "--csv", "a" * 300), "File name too long"),
        (("report", "a" * 300), "File name too long"),
        (("data", "import", "a" * 300), "File name too long"),
        (("search", "--space", f"{'a' * 300}.py:Space"), "File name too long"),
        (("measure", "9" * 5000), "write |op~0|"),
        (("search", "--objective", "params", "--device", "pixel3"), "no objective depends on it"),
        (("search", "--objective", "params", "--dataset", "cifar10"), "no objective is a table's"),
        (("search", "--objective", "params", "--threads", "4"), "nothing is measured here"),
        (("search", "--objective", "latency", "--objective", "latency:this"), "are the same"),
        (("search", "--objective", "max:latency"), "latency is always minimised"),
        (("search", "--objective", "params:pixel3"), "does not depend on a device"),
        (("search", "--objective", "latency:"), "write METRIC, METRIC:DEVICE"),
        (("report", "nowhere.json"), "nowhere.json"),
        (("data", "fetch", "nasbench21"), "did you mean 'nasbench201'"),
    ],
)
def test_a_wrong_name_or_value_is_one_line_with_a_cure(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple, cure: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cure.lower() in refused(capsys, *arguments).lower()
    written = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert not written


def test_a_malformed_architecture_names_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert "conv_9x9" in refused(capsys, "measure", PLAIN.replace("nor_conv_3x3~2", "conv_9x9~2"))


@pytest.mark.data
@pytest.mark.parametrize(
    ("arguments", "cure"),
    [(("--device", "pixel33"), "did you mean 'pixel3'"), (("--dataset", "cifar11"), "did you mean 'cifar1")],
)
def test_a_wrong_device_or_dataset_of_a_table(
    nastk_home: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: tuple, cure: str
) -> None:
    assert cure in refused(capsys, "search", *arguments, "--out", tmp_path)


def test_a_table_that_is_not_fetched_names_the_command(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NASTK_HOME", str(tmp_path))
    assert "run: nastk data fetch nasbench201" in refused(capsys, "search", "--device", "pixel3", "--out", tmp_path)


def test_a_missing_extra_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for module in ("onnx", "onnxscript", "onnxruntime"):
        monkeypatch.setitem(sys.modules, module, None)
    assert installing("onnx") in refused(capsys, "search", "--runtime", "onnx", "--out", tmp_path)


# ---- files


def test_an_unwritable_output_folder_is_found_before_any_work(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nastk import run as module

    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(module, "compose", lambda *_, **__: pytest.fail("work began"))
    assert "cannot write" in refused(capsys, "search", "--out", tmp_path / "file" / "out")


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("budgt = 3", "did you mean 'budget'"),
        ("budget = 'three'", "must be an integer"),
        ("objective = 3", "list of texts"),
        ("space = ", "not valid TOML"),
        ("budget = -1", "at least 1"),
        ("seed = -1", "at least 0"),
        ("study = ''", "--study is empty"),
        ("objective = " + "[" * 100_000, "not valid TOML"),
        ("json = 'a\\u0000b'".replace("'", '"'), "null"),
    ],
)
def test_a_wrong_configuration_file(capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, cure: str) -> None:
    (tmp_path / "run.toml").write_text(text)
    assert cure in refused(capsys, "search", "--config", tmp_path / "run.toml", "--out", tmp_path / "out")


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("network,time\n1,2\n", "needs a column ms of latencies"),
        ("arch,ms\n12,fast\n", "line 2"),
        ("arch,ms\n12,1.0\n13,-1\n", "line 3"),
        ("arch,ms\n99999,1.0\n", "0 to 15624"),
        ("arch,ms\n12\n", "line 2"),
    ],
)
def test_wrong_measurements(capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, cure: str) -> None:
    (tmp_path / "mine.csv").write_text(text)
    assert cure in refused(capsys, "predict", "--measured", tmp_path / "mine.csv", "--all")


def test_a_damaged_result_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text('{"title": "half a re')
    assert "result.json" in refused(capsys, "report", tmp_path / "result.json", "--png", tmp_path / "f.png")
    assert not (tmp_path / "f.png").exists()


def test_a_report_of_another_file_or_in_another_format_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "front.csv").write_text("arch,accuracy\n1,2\n")
    cure = "give the path of result.json, or of its folder"
    assert f"front.csv is not a result; {cure}" in refused(capsys, "report", tmp_path / "front.csv")
    (tmp_path / "other.json").write_text("{}")
    assert cure in refused(capsys, "report", tmp_path / "other.json")
    assert "holds no result.json" in refused(capsys, "report", tmp_path)
    result = tmp_path / "result.json"
    result.write_text("{}")
    assert f"{result} is not a result" in refused(capsys, "report", tmp_path), "the folder's is read"
    for option, file, ending in (("--png", "f.jpg", ".png"), ("--html", "f.png", ".html")):
        said = refused(capsys, "report", result, option, tmp_path / file)
        assert f"so let its name end in {ending}" in said
        assert not (tmp_path / file).exists()
    (tmp_path / "result.json").write_text("[" * 100_000)
    assert "result.json is damaged" in refused(capsys, "report", tmp_path / "result.json")


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no /dev/full here")
def test_a_full_disk_on_standard_output_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "nastk", "list"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["nastk: error: disk full: cannot write the output"]


# ---- what answers without work


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("nastk 0.")


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    assert "search" in capsys.readouterr().out


def test_list_names_everything_registered_and_writes_tidy_rows(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from nastk.registry import REGISTRIES

    assert run(["list", "--json", str(tmp_path / "list.json")]) == 0
    rows = json.loads((tmp_path / "list.json").read_text())
    for kind, registry in REGISTRIES.items():
        assert [r["name"] for r in rows if r["kind"] == kind] == registry.names()
        assert all(r["description"] for r in rows if r["kind"] == kind)
    assert "few-shot-gp" in capsys.readouterr().out


def test_the_command_line_wins_over_the_configuration_file(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text('space = "fbnet"\nbudget = 7\nobjective = ["flops", "latency"]\n')
    options = RunOptions.gather({"budget": 9, "space": None, "objective": []}, tmp_path / "run.toml")
    assert (options.space, options.budget, options.objective) == ("fbnet", 9, ["flops", "latency"])
    described = options.describe()
    assert (described.space, described.budget, described.seed) == ("fbnet", 9, 0)
    assert [entry["name"] for entry in described.objectives] == ["flops", "latency"]


def test_every_option_can_stand_in_a_configuration_file(tmp_path: Path) -> None:
    import inspect
    from dataclasses import fields

    from nastk.cli.search import search

    options = {"json" if p == "json_file" else p for p in inspect.signature(search).parameters} - {"config"}
    assert options == {f.name for f in fields(RunOptions)}


def test_configuration_refuses_what_is_no_option(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("[search]\nbudget = 3\n")
    with pytest.raises(UnknownName, match=r"option in run\.toml"):
        RunOptions.gather({}, tmp_path / "run.toml")
    with pytest.raises(InvalidValue, match="--threads must be at least 1"):
        RunOptions.gather({"threads": 0})
