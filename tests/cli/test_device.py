"""``nastk device``: what can be measured, and the same networks in several runtimes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nastk.bench import runtimes as bench
from nastk.cli import run
from nastk.errors import InvalidValue, MissingExtra, Unsupported
from nastk.registry import RUNTIMES
from nastk.runtimes.base import Runtime, runtime_class
from nastk.runtimes.openvino import OpenVino

FILE = '''
import torch
from torch import nn

import nastk
from nastk.runtimes.base import Runtime


class Tiny(nn.Module):
    input_shape = (4,)

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, nastk.choice("width", [2, 3, 5, 7, 500]))
        self.last = nn.Linear(self.first.out_features, 3)

    def forward(self, x):
        return self.last(torch.relu(self.first(x)))


class Broken(Tiny):
    def forward(self, x):
        raise TypeError("an error of its own")


class Own(Runtime):
    """Keeps a file; has a lower precision whose outputs are others."""

    name = "own"
    precisions = ("fp32", "bf16")
    suffix = ".pt"
    reports_memory = True

    def describe(self):
        return "own 1.0"

    def export(self, network, inputs, file):
        if network.first.out_features == 3:
            raise RuntimeError("cannot convert: no operator Linear3")
        torch.save(network, file)
        file.with_suffix(".bin").write_bytes(b"0" * 1_000_000)

    def _prepare(self, source, inputs):
        network = torch.load(source, weights_only=False)
        return lambda: network(inputs) if self.precision == "fp32" else -network(inputs)

    def peak_memory(self, network, inputs):
        return 12.5


class Wrong(Own):
    name = "wrong"
    precisions = ("fp32",)

    def _prepare(self, source, inputs):
        return lambda: torch.ones(1, 3)
'''


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "networks_of_device_tests.py"
    path.write_text(FILE)
    return str(path)


def rows_of(file: str, rows: Path, *arguments: str) -> list[dict[str, Any]]:
    assert run(["device", "test", "--space", f"{file}:Tiny", "--json", str(rows), *arguments]) == 0
    found: list[dict[str, Any]] = json.loads(rows.read_text())
    return found


def test_all_runtimes_are_listed_with_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import nastk.runtimes.base as base

    real = base.import_extra

    def missing(module: str, extra: str) -> object:
        if extra == "onnx":
            raise MissingExtra("this needs onnxruntime; install it with: pip install 'nastk[onnx]'")
        return real(module, extra)

    monkeypatch.setattr(base, "import_extra", missing)
    assert run(["device", "list", "--json", str(tmp_path / "rows.json")]) == 0
    lines = {line.split()[1]: line for line in capsys.readouterr().out.splitlines() if line.startswith("this ")}
    assert set(lines) == set(RUNTIMES.names())
    assert "fp32, fp16, bf16" in lines["torch"]
    assert "pip install 'nastk[onnx]'" in lines["onnx"]
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert {(r["runtime"], r["precision"], r["available"]) for r in rows if r["runtime"] in ("torch", "onnx")} == {
        *(("torch", precision, True) for precision in ("fp32", "fp16", "bf16")),
        *(("onnx", precision, False) for precision in ("fp32", "int8")),
    }


def test_devices_behind_a_command_are_listed_with_their_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, rows = tmp_path / "devices.toml", tmp_path / "rows.json"
    file.write_text('[phone]\ncommand = ["no-such-program-here", "{onnx}"]\nunit = "ms"\n')
    assert run(["device", "list", "--devices", str(file), "--json", str(rows)]) == 0
    assert "behind a command" in capsys.readouterr().out
    last = json.loads(rows.read_text())[-1]
    assert (last["device"], last["available"]) == ("phone", False)
    assert "no-such-program-here" in last["reason"]


def test_one_network_in_all_runtimes_has_all_figures(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = rows_of(file, tmp_path / "rows.json", "7", "--runtime", f"torch,{file}:Own", "--precision", "fp32,bf16")
    assert [(Path(r["runtime"]).name, r["precision"]) for r in rows] == [
        ("torch", "fp32"),
        ("torch", "bf16"),
        ("networks_of_device_tests.py:Own", "fp32"),
        ("networks_of_device_tests.py:Own", "bf16"),
    ]
    for row in rows:
        assert 0 < row["low"] <= row["ms"] <= row["high"]
        assert row["examples"] == 1
        assert row["reason"] == ""
    assert rows[0]["difference"] == 0.0
    assert rows[1]["cosine"] > 0.99
    assert rows[2]["file MB"] == pytest.approx(1.0, abs=0.1)
    assert rows[2]["peak MB"] == 12.5
    assert rows[0]["file MB"] is None
    assert rows[3]["cosine"] == pytest.approx(-1.0)
    out = capsys.readouterr().out
    assert out.startswith("7; ")
    assert "failed" not in out


def test_several_networks_are_summed_up_and_failures_listed_by_operator(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = rows_of(
        file, tmp_path / "rows.json", "--random", "5", "--runtime", f"torch,{file}:Own", "--precision", "fp32"
    )
    assert len(rows) == 10
    own = [row for row in rows if row["runtime"] != "torch"]
    assert [row["reason"] for row in own if row["reason"]] == ["cannot convert: no operator Linear3"]
    assert [row["ms"] for row in own if row["reason"]] == [None]
    out = capsys.readouterr().out
    assert "5 networks of Tiny" in out
    assert "5 of 5" in out
    assert "4 of 5" in out
    assert "cannot convert: no operator Linear3" in out


def test_the_summary_is_over_all_networks() -> None:
    def row(arch: str, runtime: str, ms: float, **more: object) -> dict[str, Any]:
        found = {"arch": arch, "runtime": runtime, "precision": "fp32", "ms": ms, "reason": ""}
        outputs = {"difference": 0.0, "cosine": 1.0, "first class": 1.0, "examples": 4}
        return {**found, **outputs, "file MB": 2.0, "peak MB": 1.0, "seconds": 1.0, **more}

    rows = [row(arch, "torch", ms) for arch, ms in zip("abcd", (1.0, 2.0, 3.0, 4.0), strict=True)]
    rows += [
        row("a", "other", 30.0, difference=0.5, cosine=0.9, **{"first class": 0.5}),
        row("b", "other", 20.0, difference=0.1),
        row("c", "other", 10.0, difference=0.2),
        row("d", "other", float("nan"), reason="no operator", difference=9.0),
    ]
    torch_row, other = bench.summary(rows)
    assert torch_row["spearman"] == pytest.approx(1.0)
    assert other["ran"] == "3 of 4"
    assert other["worst difference"] == 0.5
    assert other["least cosine"] == 0.9
    assert other["low cosine"] == 1
    assert other["first class"] == pytest.approx((2 + 4 + 4) / 12)
    assert other["median ms"] == 20.0
    assert other["spearman"] == pytest.approx(-1.0)
    assert bench.failures(rows) == [{"runtime": "other", "precision": "fp32", "networks": 1, "reason": "no operator"}]


def test_float32_outputs_that_differ_are_a_failure(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = rows_of(file, tmp_path / "rows.json", "7", "--runtime", f"torch,{file}:Wrong", "--precision", "fp32")
    assert rows[1]["ms"] is None
    assert rows[1]["difference"] > 1e-3
    assert "answers other outputs than PyTorch" in rows[1]["reason"]


def test_where_nothing_runs_the_reason_is_the_error(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["device", "test", "--space", f"{file}:Broken", "2", "--runtime", "torch", "--precision", "fp32"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "nastk: error: no runtime runs it; the first reason: TypeError: an error of its own"


def test_ctrl_c_keeps_the_networks_of_before(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole: Callable[..., Any] = bench._run
    calls = []

    def interrupted(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        whole(*arguments)

    monkeypatch.setattr(bench, "_run", interrupted)
    rows = tmp_path / "rows.json"
    command = ["device", "test", "--space", f"{file}:Tiny", "--random", "4", "--runtime", "torch"]
    assert run([*command, "--precision", "fp32", "--json", str(rows)]) == 130
    assert len(json.loads(rows.read_text())) == 2
    assert f"interrupted: 2 of 4 networks, saved to {rows}" in capsys.readouterr().err
    calls[:] = [None, None]
    assert run(command) == 130
    assert "interrupted: nothing was measured yet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--runtime", "torhc"], "unknown runtime 'torhc'; did you mean 'torch'"),
        (["--precision", "fp31"], "unknown precision 'fp31'; there are fp32, fp16, bf16, int8"),
        (["--runtime", "torch", "--precision", "int8"], "nothing can be measured on this with torch in int8"),
        (["--runtime", "torch,"], "write names separated by commas"),
        (["--space", "toy-without-networks"], "unknown space"),
        (["--device", "tpu"], "unknown device 'tpu'; this machine can measure: this"),
        (["--device", "cuda:99"], "this machine has no cuda:99; it can measure: this"),
    ],
)
def test_what_cannot_be_tested_is_said_in_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["device", "test", *arguments]) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert message in said


def test_a_long_wait_is_announced(capsys: pytest.CaptureFixture[str]) -> None:
    from nastk.cli.device import say_duration

    say_duration(bench.seconds_to_prepare([bench.Setting("torch", "fp32")], 50), [])
    assert capsys.readouterr().err == ""
    chosen = [bench.Setting("torch", "fp32"), bench.Setting("compile", "fp32")]
    say_duration(bench.seconds_to_prepare(chosen, 6), chosen)
    assert "takes up to about 5 minutes on one thread, most of it for compile" in capsys.readouterr().err


def test_a_precision_that_the_machine_lacks_is_left_out_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(cls: type[Runtime], device: str, threads: int, precision: str, calibration: object) -> Runtime:
        if precision in ("fp16", "bf16") and cls is OpenVino:
            raise Unsupported(f"no instructions for {precision}")
        return runtime_class("torch")(device, threads)

    monkeypatch.setattr(bench, "make_runtime", lacking)
    assert [one.precision for one in bench.settings(["openvino"], None)] == ["fp32", "int8"]
    with pytest.raises(Unsupported, match="no instructions for bf16"):
        bench.settings(["openvino"], ["bf16"])
    assert "openvino" not in {one.runtime for one in bench.settings(None, ["bf16"])}
    with pytest.raises(InvalidValue, match="unknown precision"):
        bench.settings(["openvino"], ["int4"])
