"""``nastk predict``: from a file of measurements to latencies with intervals, and what they are worth."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest

import nastk
from nastk.cli import run
from nastk.cli.predict import _resemblance
from nastk.metrics import spearman


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """Ten measurements of a device that is one of the sources, half as fast and noisy."""
    few = nastk.predictor("few-shot-gp", pretrained="nasbench201")
    archs = few.choose(10, seed=0)
    values = 2.0 * few.sources_(archs)[:, few.devices.index("gold_6226")]
    values *= np.exp(0.02 * np.random.default_rng(0).standard_normal(10))
    path = tmp_path / "mine.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["arch", "ms"])
        writer.writerows(zip(few.source_space.format_all(archs), values, strict=True))
    return path


def test_the_whole_space_with_intervals_and_what_they_are_worth(
    mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "all.csv"
    asked = ["--space", "nasbench201", "--pretrained", "--measured", str(mine), "--csv", str(out)]
    assert run(["predict", *asked]) == 0
    printed = capsys.readouterr().out
    alike = printed.partition("resembles ")[2].splitlines()[0]
    assert float(alike.partition("(")[2].partition(")")[0]) > 0.97, "several sources rank ten architectures alike"
    assert "predicted from the others: Spearman" in printed
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 15625
    few = nastk.predictor("few-shot-gp", pretrained="nasbench201")
    truth = 2.0 * few.sources_(few.source_space.as_archs([r["arch"] for r in rows]))
    truth = truth[:, few.devices.index("gold_6226")]
    ms, low, high = (np.array([float(r[c]) for r in rows]) for c in ("ms", "low", "high"))
    assert spearman(ms, truth) > 0.97
    assert ((low <= truth) & (truth <= high)).mean() > 0.8


def test_named_architectures_in_the_order_that_they_were_asked(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["predict", "--measured", str(mine), "7", "3"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    space = nastk.space("nasbench201")
    assert [line.split()[0] for line in lines] == space.format_all(space.from_index([7, 3]))


def test_a_device_that_ranks_networks_in_another_order_resembles_none(
    mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with mine.open() as file:
        rows = list(csv.DictReader(file))
    turned = [f'"{row["arch"]}",{1 / float(row["ms"])}' for row in rows]
    mine.write_text("\n".join(["arch,ms", *turned]) + "\n")
    assert run(["predict", "--measured", str(mine), "7"]) == 0
    (said,) = (line for line in capsys.readouterr().out.splitlines() if "resembles" in line)
    assert re.fullmatch(r"the device resembles no known device \(best: \w+, -?0\.\d\d\); more measurements help", said)


def test_only_devices_of_like_ranks_are_named_even_beside_undefined_ones() -> None:
    nan = float("nan")
    said = _resemblance([("b", nan), ("a", 0.91), ("c", 0.5), ("d", -0.8)], 10)
    assert said == "the device resembles a (0.91) (Spearman with the 10 measurements)"
    said = _resemblance([("b", nan), ("d", -0.8), ("c", 0.2)], 10)
    assert said == "the device resembles no known device (best: c, 0.20); more measurements help"
    assert "(best" not in _resemblance([("b", nan)], 10)


def test_networks_that_failed_when_they_were_measured_are_not_listed(
    mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space, out = nastk.space("nasbench201"), tmp_path / "all.csv"
    bad = space.format_all(space.from_index([7, 3]))
    lines = mine.read_text().split("\n")
    rows = [f"{line}," for line in lines[1:] if line.strip()] + [f"{text},,killed" for text in bad]
    mine.write_text("\n".join([f"{lines[0].strip()},reason", *(row.replace("\r", "") for row in rows)]) + "\n")
    assert run(["predict", "--measured", str(mine), "--all", "--csv", str(out)]) == 0
    told, warned = capsys.readouterr()
    assert "no value, because of killed (2 rows); 2 rows are left out" in warned
    assert f"2 networks that failed according to {mine}: left out" in told
    with out.open() as file:
        listed = {row["arch"] for row in csv.DictReader(file)}
    assert len(listed) == 15623
    assert not listed & set(bad)
    assert run(["predict", "--measured", str(mine), "7", "8"]) == 0
    assert f"1 network that failed according to {mine}: predicted all the same" in capsys.readouterr().out


def test_from_scratch_uses_no_weights(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["predict", "--measured", str(mine), "--from-scratch", "12"]) == 0
    assert "resembles" not in capsys.readouterr().out


def test_the_old_name_of_the_measurements_still_works_and_warns(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["predict", "--measured", str(mine), "7", "3"]) == 0
    now = capsys.readouterr()
    assert run(["predict", "--measurements", str(mine), "7", "3"]) == 0
    before = capsys.readouterr()
    assert (before.out, now.err) == (now.out, "")
    assert before.err.startswith("nastk: warning: --measurements FILE is now --measured FILE")
    assert run(["predict", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--measured" in shown
    assert "--measurements" not in shown


@pytest.mark.parametrize(
    ("arguments", "cure"),
    [
        (("--space", "fbnet", "--measured", "mine.csv"), "name architectures"),
        (("--pretrained", "--predictor", "ridge", "--measured", "mine.csv"), "no weights of ridge"),
        (("--measured", "mine.csv", "--all", "3"), "not both"),
        (("--measured", "one.csv"), "at least 2 measurements"),
        (("--measured", "flat.csv"), "nothing to learn"),
        (("--measured", "nan.csv"), "nan.csv, line 3"),
        (("--measured", "other.csv"), "k3_e1"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple, cure: str
) -> None:
    monkeypatch.chdir(tmp_path)
    files = {"mine": "1,2.5\n2,3.0\n", "one": "1,2\n", "flat": "1,2\n2,2\n", "nan": "1,2\n2,nan\n"}
    files["other"] = "k3_e1,2\n"
    for name, text in files.items():
        Path(f"{name}.csv").write_text("arch,ms\n" + text)
    assert run(["predict", *arguments]) == 2
    said = capsys.readouterr().err
    assert cure in said
    assert said.count("\n") == 1


def test_the_whole_space_lists_each_network_once(tmp_path: Path) -> None:
    space = nastk.space("nasbench-macro")
    archs = space.sample_networks(6, 0)
    rows = [f'"{",".join(map(str, arch))}",{1.0 + arch.sum()}' for arch in archs]
    (tmp_path / "mine.csv").write_text("\n".join(["arch,ms", *rows]) + "\n", encoding="utf-8")
    asked = ["--space", "nasbench-macro", "--measurements", str(tmp_path / "mine.csv"), "--local-sources", "0"]
    assert run(["predict", *asked, "--csv", str(tmp_path / "all.csv")]) == 0
    with (tmp_path / "all.csv").open(encoding="utf-8") as file:
        listed = space.as_archs([row["arch"] for row in csv.DictReader(file)])
    assert len(listed) == len(set(space.keys(listed))) == len(set(space.keys(space.enumerate())))
