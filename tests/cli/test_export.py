"""``nastk export``: from a search on the command line to files that ship."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nastk.cli import run

OWN = """
import nastk, torch
from torch import nn


class Net(nn.Module):
    input_shape = (6,)

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, nastk.choice("width", [4, 8, 16, 32]))

    def forward(self, x):
        return self.layer(x)


def train(network):
    with torch.no_grad():
        network.layer.bias += 1
    return 50.0 + network.layer.out_features


def untrained(network):
    return 50.0 + network.layer.out_features
"""
SEARCH = ["search", "--space", "own.py:Net", "--objective", "accuracy", "--objective", "params", "--budget", "3"]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NASTK_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN, encoding="utf-8")
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    before = sorted(Path().rglob("*"))
    assert run(["export", *words]) == 2
    assert sorted(Path().rglob("*")) == before, "nothing is lost or half-written"
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_from_a_search_to_files(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*SEARCH, "--accuracy", "own.py:train", "--searcher", "random"]) == 0
    found = json.loads(Path("nastk-out/result.json").read_text())
    assert found["command"].startswith("nastk")
    assert {"nastk", "torch", "python"} <= found["versions"].keys()
    Path("nastk-out").rename("moved")  # its networks move with it
    capsys.readouterr()
    asked = ["export", "moved", "--pick", "accuracy, params<=1000", "--format", "python,torchscript"]
    assert run([*asked, "--name", "net"]) == 0
    said = capsys.readouterr()
    assert "The weights were trained by" in said.out
    assert "PyTorch has deprecated TorchScript: prefer pt2." in said.out
    assert "Written to nastk-export/net: .json, .md, .pt, .py, .safetensors\n" in said.out
    assert not said.err
    card = json.loads(Path("nastk-export/net.json").read_text())
    assert card["weights"]["trained"]
    assert card["search"]["command"] == found["command"]
    assert card["objectives"][0]["kind"] == "measured"
    assert "untrained" not in Path("nastk-export/net.md").read_text()
    assert "nothing of the front keeps params<=1" in refused(capsys, "moved", "--pick", "accuracy, params<=1")
    assert "unknown objective 'acc'" in refused(capsys, "moved", "--pick", "acc", "--format", "python")
    assert "say what to write: --format" in refused(capsys, "moved", "--pick", "accuracy")
    assert "expected" in refused(capsys, "moved", "--arch", "5_5", "--format", "python")
    Path("own.py").rename("elsewhere.py")
    line = refused(capsys, "moved", "--pick", "accuracy", "--format", "python")
    assert "no such file" in line
    assert "--space my_file.py:Class" in line
    assert run(["export", "moved", "--space", "elsewhere.py:Net", "--pick", "accuracy", "--format", "safetensors"]) == 0


def test_weights_can_be_left_out_of_a_search(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*SEARCH, "--accuracy", "own.py:train", "--searcher", "random", "--no-weights"]) == 0
    assert not Path("nastk-out/history.db-networks").exists()
    capsys.readouterr()
    line = refused(capsys, "nastk-out", "--pick", "accuracy", "--format", "python")
    assert "this search kept none; --weights FILE takes your own, --untrained random ones" in line
    assert run([*SEARCH, "--no-weights", "--out", "other"]) == 2
    assert "--no-weights is of your own function" in capsys.readouterr().err


def test_a_space_alone(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "export what?" in refused(capsys, "--format", "python")
    assert "a space alone has none" in refused(capsys, "--space", "own.py:Net", "--arch", "8", "--format", "python")
    assert "a front" in refused(capsys, "--space", "own.py:Net", "--pick", "accuracy", "--format", "python")
    assert "say which network" in refused(capsys, "--space", "own.py:Net", "--format", "python")
    assert "unknown space 'nasbench2012'" in refused(capsys, "--space", "nasbench2012", "--arch", "0")
    assert "result.json" in refused(capsys, "own.py", "--format", "python")
    assert "cannot read none" in refused(capsys, "none", "--format", "python")
    words = ["export", "--space", "own.py:Net", "--arch", "8", "--untrained", "--format", "safetensors"]
    assert run(words) == 0
    assert "The weights are random (seed 0): the network is not trained." in capsys.readouterr().out
