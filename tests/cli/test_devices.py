"""Devices behind commands on the command line: searched, measured, predicted, and measured where nastk is not."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, select

import nastk
from nastk.cli import run
from nastk.data.measured import has_values
from nastk.database import RECORDS
from nastk.oracles.for_device import check_folder, write_for_device

SCRIPT = r"""#!/bin/sh
echo x >> calls
size=$(echo "$1" | tr -cd 3 | wc -c)
echo "{\"latency\": $((size * 400 + 900)), \"energy\": $((size * 2 + 5))}"
"""
DEVICES = """
[phone]
command = ["./run.sh", "{arch}"]
unit = { latency = "us", energy = "mJ" }
repeats = 1

[meter]
command = ["./run.sh", "{arch}"]
unit = { energy = "mJ" }
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with devices.toml and its command, which logs that it is called."""
    (tmp_path / "run.sh").write_text(SCRIPT)
    (tmp_path / "run.sh").chmod(0o755)
    (tmp_path / "devices.toml").write_text(DEVICES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def calls(folder: Path) -> int:
    log = folder / "calls"
    return len(log.read_text().splitlines()) if log.exists() else 0


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def fill_in(file: Path, heading: str = "ms") -> None:
    """What a lab does with a table."""
    table = rows(file)
    lines = [(r["file"], r["arch"], str(1 + r["arch"].count("3x3"))) for r in table if "file" in r]
    write(file, ("file", "arch", heading), lines)


def write(file: Path, heading: Iterable[str], lines: Iterable[Iterable[str]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([heading, *lines])


def records(database: Path) -> list[dict[str, Any]]:
    """All records of a database."""
    found = create_engine(f"sqlite:///{database}")
    with found.connect() as connection:
        rows = [dict(row._mapping) for row in connection.execute(select(RECORDS))]
    found.dispose()
    return rows


# ---- a command


@pytest.mark.slow
def test_a_search_on_a_device_of_the_file_calls_it_once_a_network(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [
        "search",
        "--device",
        "phone",
        "--objective",
        "accuracy",
        "--objective",
        "latency",
        "--objective",
        "energy",
    ]
    asked += ["--constraint", "energy<=9", "--measurements", "6", "--verify", "2", "--storage", "sqlite:///all.db"]
    assert run([*asked, "--json", "rows.json"]) == 0
    said = capsys.readouterr().out
    assert "latency (ms): measured on phone by ./run.sh ..., one call" in said
    assert "6 of latency (also by calls for energy)" in said
    made = records(folder / "all.db")
    of = Counter((r["objective"], r["purpose"]) for r in made)
    assert of["latency", "search"] == of["energy", "search"] == 6
    assert calls(folder) == 6 + of["latency", "verify"]
    # two of the front, as many others where these break the limit, and two that show how far the device moved
    assert of["latency", "verify"] == of["energy", "verify"] <= 6
    assert {r["kind"] for r in made} == {"measured"}
    tidy = json.loads((folder / "rows.json").read_text())
    assert {row["measurements"] for row in tidy} == {6}, "latency and energy of one call are one measurement"
    assert {row["device"] for row in tidy} == {"phone"}


def test_measure_shows_what_the_command_answers(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["measure", "--device", "phone", "7", "1462", "--csv", "ms.csv"]) == 0
    found = rows(folder / "ms.csv")
    assert [float(r["ms"]) for r in found] == pytest.approx([0.9 + 0.4 * r["arch"].count("3") for r in found])
    assert [float(r["mJ"]) for r in found] == [5 + 2 * r["arch"].count("3") for r in found]
    assert {r["repeats"] for r in found} == {"1"}
    assert calls(folder) == 2
    assert run(["measure", "--device", "meter", "7", "--csv", "mj.csv"]) == 0
    assert list(rows(folder / "mj.csv")[0]) == ["arch", "params", "flops", "mJ", "mJ spread", "repeats"]
    capsys.readouterr()


def test_measure_takes_a_command_line_and_architectures_of_a_file(folder: Path) -> None:
    write(folder / "mine.csv", ("predicted_ms", "arch"), [("3", "55"), ("4", "7"), ("3", "55")])
    line = "sh -c 'echo 2.5' x {arch}"
    assert run(["measure", "--device-command", line, "--archs-file", "mine.csv", "--csv", "ms.csv"]) == 0
    space = nastk.space("nasbench201")
    assert [(r["arch"], r["ms"], r["repeats"]) for r in rows(folder / "ms.csv")] == [
        (space.format_all(space.from_index([i]))[0], "2.5", "3") for i in (55, 7)
    ]


def test_networks_that_a_command_cannot_measure_have_its_last_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "run.sh").write_text('#!/bin/sh\ncase "$1" in *avg*) echo "no pooling here" >&2; exit 4 ;; esac; echo 3')
    line = "./run.sh {arch}"
    pooled = "|avg_pool_3x3~0|+|none~0|none~1|+|none~0|none~1|none~2|"
    plain = pooled.replace("avg_pool_3x3", "nor_conv_3x3")
    assert run(["measure", "--device-command", line, pooled, plain, "--csv", "ms.csv"]) == 0
    assert "the command failed with exit status 4: no pooling here" in capsys.readouterr().err
    broken, fine = rows(folder / "ms.csv")
    assert (broken["ms"], fine["ms"]) == ("", "3.0")
    assert broken["reason"] == "the command failed with exit status 4: no pooling here"
    assert run(["measure", "--device-command", line, pooled]) == 2
    assert "could not be measured: the command failed with exit status 4" in capsys.readouterr().err


def test_options_of_a_command_are_those_that_it_uses(folder: Path) -> None:
    from nastk.run import SearchDescription, compose, describe

    table = DEVICES + '[board]\ncommand = ["./run.sh", "{arch}", "{threads}"]\n'
    (folder / "devices.toml").write_text(table)
    found = describe(objectives=["latency:phone", "latency:board", "latency:this"], threads=3, runtime="torch")
    phone, board, this = (entry["oracle"] for entry in found.objectives)
    assert (phone.get("threads"), board["threads"], this["threads"]) == (None, 3, 3)
    again = SearchDescription.from_dict(json.loads(json.dumps(found.to_dict())))
    oracles = [o.oracle for o in compose(again).searcher.objectives]
    assert [o.source.rpartition(", ")[2] for o in oracles] == ["one call", "3 threads", "3 threads"]
    assert [o.name for o in compose(again).searcher.objectives] == ["latency-phone", "latency-board", "latency-this"]


def test_predict_adapts_to_what_the_command_measures(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["predict", "--device", "phone", "--adapt", "5", "--seed", "3", "7", "1462"]
    assert run([*asked, "--save-measured", "kept.csv", "--csv", "a.csv"]) == 0
    assert calls(folder) == 5
    assert "from 5 measurements" in capsys.readouterr().out
    assert len(rows(folder / "kept.csv")) == 5
    assert run(["predict", "--measured", "kept.csv", "7", "1462", "--csv", "b.csv"]) == 0
    assert rows(folder / "a.csv") == rows(folder / "b.csv"), "the same measurements, from a file"


def test_an_interrupted_measurement_keeps_what_there_is(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from nastk.oracles.command import Command

    measure, begun = Command.measure, []

    def interrupted(self: Command, arch: Any) -> Any:
        begun.append(arch)
        if len(begun) % 3 == 0:
            raise KeyboardInterrupt
        return measure(self, arch)

    monkeypatch.setattr(Command, "measure", interrupted)
    assert run(["measure", "--device", "phone", "--random", "5", "--csv", "ms.csv"]) == 130
    assert "interrupted: 2 of 5 measured, saved to ms.csv" in capsys.readouterr().err
    assert len(rows(folder / "ms.csv")) == 2
    assert run(["predict", "--device", "phone", "7", "--save-measured", "kept.csv"]) == 130
    assert "interrupted: 2 of 10 measured, saved to kept.csv" in capsys.readouterr().err


# ---- a laboratory that is not connected


@pytest.mark.slow
def test_a_laboratory_gets_files_and_gives_back_a_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["measure", "--for-device", "lab", "--choose", "2", "--format", "torchscript", "--batch", "2"]
    assert run(asked) == 0
    assert "2 networks, measurements.csv to fill in and README.txt are in lab" in capsys.readouterr().out
    files = ["001.pt", "002.pt"]
    assert sorted(p.name for p in (folder / "lab").iterdir()) == [*files, "README.txt", "measurements.csv"]
    table = rows(folder / "lab" / "measurements.csv")
    assert [(r["file"], r["ms"]) for r in table] == [(name, "") for name in files]
    space = nastk.space("nasbench201")
    few = nastk.predictor("few-shot-gp", pretrained="nasbench201")
    assert [r["arch"] for r in table] == list(space.format_all(few.choose(2, seed=0, space=space)))
    readme = (folder / "lab" / "README.txt").read_text()
    assert "Input: 2 x 3 x 32 x 32, batch first, float32" in readme
    assert "put the table back as lab/measurements.csv" in readme
    assert "nastk search --space nasbench201 --measured lab/measurements.csv\n" in readme
    fill_in(folder / "lab" / "measurements.csv")
    before = (folder / "lab" / "measurements.csv").read_text()
    assert run(asked) == 2
    assert "measurements.csv has been filled in, and would be replaced" in capsys.readouterr().err
    assert (folder / "lab" / "measurements.csv").read_text() == before


@pytest.mark.parametrize("there", ["measurements.csv", "001.onnx", "012.onnx.data", "1000.pt"])
def test_networks_of_two_calls_are_never_in_one_folder(
    folder: Path, capsys: pytest.CaptureFixture[str], there: str
) -> None:
    (folder / "lab").mkdir()
    (folder / "lab" / there).write_text("file,arch,ms\n001.onnx,7,\n")
    assert run(["measure", "--for-device", "lab", "55", "--format", "torchscript"]) == 2
    assert f"lab/{there} is there already, of other networks; give a new folder" in capsys.readouterr().err
    assert [p.name for p in (folder / "lab").iterdir()] == [there]
    (folder / "lab" / there).rename(folder / "lab" / "notes.txt")
    check_folder("lab")


def test_the_commands_for_a_laboratory_name_the_table_and_the_space_as_given(tmp_path: Path) -> None:
    space = nastk.space("nasbench201")
    archs = space.from_index([7])
    folder = tmp_path / "a lab"
    write_for_device(folder, space, archs, "torchscript", space_name="my file.py:Mine", needs_accuracy=True)
    asked = f"--space 'my file.py:Mine' --measured '{folder}/measurements.csv'"
    predict, search = (folder / "README.txt").read_text().splitlines()[-2:]
    assert predict.strip() == f"nastk predict {asked}"
    assert search.strip() == f"nastk search {asked} --accuracy YOUR_FILE.py:function"


def test_any_filled_column_counts_as_filled_in(tmp_path: Path) -> None:
    file = tmp_path / "m.csv"
    assert not has_values(file)
    write(file, ("file", "arch", "ms"), [("001.onnx", "7", "")])
    assert not has_values(file)
    write(file, ("file", "arch", "lat_us"), [("001.onnx", "7", "12")])
    assert has_values(file)
    file.write_bytes(b"\0\0")
    assert has_values(file), "what cannot be read is not replaced"


@pytest.mark.slow
def test_a_search_with_a_table_of_measurements_measures_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from nastk.oracles.latency import Latency

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("this machine is measured")

    monkeypatch.setattr(Latency, "__init__", refused)
    space = nastk.space("nasbench201")
    archs = space.format_all(space.sample(9, seed=1, unique=True))
    write(folder / "phone.csv", ("arch", "ms"), [(a, str(1.5 + a.count("3x3"))) for a in archs])
    asked = ["search", "--space", "nasbench201", "--measured", "phone.csv", "--out", "found"]
    assert run(asked) == 0
    out = capsys.readouterr().out
    command = "nastk measure --space nasbench201 --for-device more --archs-file found/measure-next.csv"
    assert out.splitlines()[-1] == f"Files of these networks, for the device: {command}"
    said = " ".join(out.split())
    made = records(folder / "found" / "history.db")
    assert sorted(r["value"] for r in made) == sorted(1.5 + a.count("3x3") for a in archs)
    assert {(r["objective"], r["kind"], r["source"], r["charged"], r["purpose"]) for r in made} == {
        ("latency", "measured", "phone.csv", 0, "search")
    }
    following = rows(folder / "found" / "measure-next.csv")
    assert set(following[0]) == {"arch", "ms", "predicted_ms"}
    assert {r["ms"] for r in following} == {""}
    assert all(float(r["predicted_ms"]) > 0 for r in following)
    assert not {r["arch"] for r in following} & set(archs)
    assert f"latency of {len(following)} of the" in said
    assert "is only predicted, from phone.csv: nothing was measured. measure-next.csv lists them" in said
    file = folder / "found" / "measure-next.csv"
    write(file, ("arch", "ms"), [(r["arch"], "3.5") for r in following])
    filled = file.read_text()
    assert run([*asked, "--resume"]) == 0
    assert file.read_text() == filled, "a table that was filled in is not replaced"
    assert has_values(file)
    assert not has_values(folder / "found" / "measure-next-1.csv")
    assert len(records(folder / "found" / "history.db")) == 9
    capsys.readouterr()


@pytest.mark.data
@pytest.mark.slow
def test_measurements_of_a_table_serve_a_search_that_evaluates_accuracies(
    nastk_home: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = nastk.space("nasbench201")
    archs = space.format_all(space.sample(9, seed=1, unique=True))
    write(folder / "phone.csv", ("arch", "ms"), [(a, str(1.5 + a.count("3x3"))) for a in archs])
    asked = ["search", "--measured", "phone.csv", "--dataset", "cifar10", "--budget", "4", "--out", "found"]
    assert run(asked) == 0
    made = Counter((r["objective"], r["charged"]) for r in records(folder / "found" / "history.db"))
    assert made == {("latency", 0): 9, ("test_accuracy", 1): 4}
    assert run(["bench", "search", "--devices", "phone", "--seeds", "1", "--budgets", "5"]) == 2
    assert "phone is a device of devices.toml, and a benchmark needs the values of all" in capsys.readouterr().err
    assert run(["search", "--device", "phon", "--dataset", "cifar10"]) == 2
    assert "unknown device 'phon'; did you mean 'phone'?" in capsys.readouterr().err


# ---- what cannot be meant


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        ("search --device-command=ls", "does not say which network it measures; it needs one of {onnx}"),
        ("search --device-command=ls'{arch}", "no closing quotation"),
        ("search --device-command=no-such-thing\\ {arch}", "device command: there is no program 'no-such-thing'"),
        (
            "search --device-command=ls\\ {arhc}",
            "unknown placeholder of device command: '{arhc}'; did you mean '{arch}'",
        ),
        ("search --device-command=ls\\ {arch} --device=cuda", "a device cannot be called 'cuda'"),
        ("search --device-command=ls\\ {arch} --objective=params", "--device command: no objective depends on it"),
        ("search --device=phone --runtime=onnx", "--runtime onnx: the command of phone runs networks by itself"),
        (
            "search --objective=latency:phone --runtime=onnx",
            "--runtime onnx: the command of phone runs networks by itself",
        ),
        (
            "search --device=phone --precision=int8",
            "--precision int8: the command of phone runs networks by itself and gets float32 files: quantise them",
        ),
        ("search --device=phone --threads=2", "--threads 2: the command of phone does not use {threads}"),
        ("search --device=phone --batch=2", "--batch 2: the command of phone does not use {batch}, nor a file"),
        ("search --device=phone --objective=memory", "device phone measures latency, energy, not memory"),
        ("search --device=meter", "device meter measures energy, not latency"),
        ("search --device=phone --objective=speed", "there are accuracy, latency, energy, memory, params, flops"),
        ("search --device=phone --objective=max:latency", "latency is always minimised"),
        ("search --device=phone --objective=energy@3", "energy has no epochs here"),
        ("search --devices=devices.toml", "--devices devices.toml: no objective is measured by it"),
        ("search --device=phone --devices=nowhere.toml", "cannot read nowhere.toml: No such file"),
        ("search --measured=nowhere.csv", "nowhere.csv"),
        ("search --measured=ms.csv --objective=params", "--measured ms.csv: no objective is measured by it"),
        ("search --measured=ms.csv --searcher=random", "latency is known from ms.csv alone, and can only be predicted"),
        ("search --measured=ms.csv --predictor=gp", "latency is known from ms.csv alone, and can only be predicted"),
        ("measure --device=tablet 7", "unknown device to measure: 'tablet'; known: meter, phone, this"),
        ("measure --device=phone --runtime=onnx 7", "--runtime onnx: the command of phone runs networks by itself"),
        ("measure --for-device=lab --device=phone", "--for-device is for a device that is not connected"),
        ("measure --for-device=lab --csv=a.csv", "--for-device measures nothing; leave out"),
        ("measure --for-device=lab --runtime=onnx", "--runtime onnx: --for-device measures nothing"),
        (
            "measure --for-device=lab --precision=int8",
            "--precision int8: --for-device measures nothing and writes float32 files: quantise them",
        ),
        ("measure --for-device=lab --seconds=3", "--for-device measures nothing; leave out --seconds and --repeat"),
        (
            "measure --for-device=lab --repeatability=3",
            "--for-device measures nothing; leave out --seconds and --repeat",
        ),
        ("device test --device=phone", "nastk measure --device phone --random 1 tries it"),
        (
            "search --device=phone --measured=ms.csv",
            "--measured ms.csv has the latencies, and device phone has a command that would measure them; leave one",
        ),
        (
            "search --device=phone --measured=ms.csv --objective=latency --objective=energy",
            "--measured ms.csv has the latencies, and device phone has a command that would measure them; leave one",
        ),
        ("measure --for-device=lab --format=tf", "unknown format of a network's file 'tf'"),
        ("measure --format=pt2 7", "--choose and --format are for --for-device DIR"),
        (
            "measure --device=meter --check-predictor",
            "--check-predictor is of latency, and device meter measures energy",
        ),
        ("measure --archs-file=nowhere.csv", "nowhere.csv"),
        ("predict --device=meter 7", "device meter measures energy, and latency is predicted"),
        ("predict --device=phone --measured=ms.csv 7", "--device: the measurements are those of a file"),
        ("predict --measured=ms.csv --save-measured=a.csv 7", "--save-measured: the measurements are those of a file"),
    ],
)
def test_one_line_says_what_cannot_be_meant(
    folder: Path, capsys: pytest.CaptureFixture[str], words: str, cure: str
) -> None:
    write(folder / "ms.csv", ("arch", "ms"), [("7", "3"), ("55", "4")])
    assert run([word.replace("\0", " ") for word in words.replace("\\ ", "\0").split()]) == 2
    out, err = capsys.readouterr()
    assert cure in err
    assert len(err.splitlines()) == 1
    assert not out
    assert calls(folder) == 0
    assert not (folder / "nastk-out").exists()
    assert not (folder / "lab").exists()
