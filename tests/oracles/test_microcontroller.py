"""Flash, arena and Vela's estimates: read strictly, and for real where the extras litert and mcu are installed."""

from __future__ import annotations

import re
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nastk
from nastk import run
from nastk.cli import run as command
from nastk.errors import InvalidValue, MissingExtra, NastkError, UnknownName, installing
from nastk.oracles import Microcontroller
from nastk.oracles import _native_programs as programs
from nastk.oracles._native_programs import Arena, Compiled, arena_of, compile_with_vela
from nastk.oracles.microcontroller import Figures, figures
from nastk.runtimes.litert import Litert
from nastk.testing import check_oracle

SPACE = nastk.space("nasbench201")
TINY = {"channels": 4, "cells_per_stage": 1, "input_size": 8}

installed = pytest.mark.skipif(
    not all(find_spec(m) for m in ("litert_torch", "ai_edge_litert", "tflite_micro", "ethosu")),
    reason="needs the extras litert and mcu, in an environment of their own (.ci/litert)",
)

ALLOCATIONS = """\
[RecordingMicroAllocator] Arena allocation total 1856 bytes
[RecordingMicroAllocator] Arena allocation head 144 bytes
[RecordingMicroAllocator] Arena allocation tail 1712 bytes
[RecordingMicroAllocator] 'Persistent buffer data' used 264 bytes with alignment overhead (requested 224 bytes)
"""
COLUMNS = (
    "network,accelerator_configuration,system_config,memory_mode,inference_time,sram_memory_used,"
    "on_chip_flash_memory_used,off_chip_flash_memory_used,cycles_total"
)
SUMMARY = f"{COLUMNS}\nnet,Ethos_U55_128,High_End,Shared_Sram,0.00146,46.890625,0.0,76.59375,728724\n"
SAID = """\
Warning (supported operators) operator: SOFTMAX, ofm: 'a'
Reason: Operation has tensor with unsupported DataType Float32 (b)
Feature-map dataTypes must be one of {"INT16", "INT8"}

CPU operators = 1 (2.0%)
   CPU: Passthrough = a (outputs [1, 10])
NPU operators = 49 (98.0%)
"""


# ---- what the programs answer, read without them


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make the programs answer something."""

    def answer(out: str = "", err: str = "", status: int = 0, summary: str | None = None) -> None:
        def fake(command: list[str], program: str, folder: str | None = None) -> Any:
            if summary is not None:
                (Path(str(folder)) / "net_summary_High_End.csv").write_text(summary)
            return subprocess.CompletedProcess(command, status, out, err)

        monkeypatch.setattr(programs, "_run", fake)
        monkeypatch.setattr(programs, "_need", lambda module: None)

    return answer


def test_the_arena_is_read(answers: Any) -> None:
    answers(err=ALLOCATIONS)
    assert arena_of(Path("net.tflite")) == Arena(1856, 144, 1712)


@pytest.mark.parametrize("needed", [1856, 1872, 2368, 9008])
def test_the_arena_is_the_least_in_which_it_starts(answers: Any, monkeypatch: pytest.MonkeyPatch, needed: int) -> None:
    answers()

    def fake(command: list[str], program: str, folder: str | None = None) -> Any:
        enough = int(command[-1]) >= needed
        return subprocess.CompletedProcess(command, 0 if enough else -11, "", ALLOCATIONS)

    monkeypatch.setattr(programs, "_run", fake)
    assert arena_of(Path("net.tflite")) == Arena(needed, 144, 1712)


@pytest.mark.parametrize(
    ("err", "message"),
    [
        ("", "no arena total that can be read; it ends: nothing"),
        (ALLOCATIONS.replace("total", "sum"), "no arena total"),
        (ALLOCATIONS.replace("tail 1712", "tail many"), "no arena tail"),
        (ALLOCATIONS * 2, "no arena total"),
        (ALLOCATIONS.replace("head 144", "head 143"), "143 and 1712 bytes are not 1856"),
    ],
)
def test_an_answer_of_tflite_micro_that_is_not_understood_is_an_error(answers: Any, err: str, message: str) -> None:
    answers(err=err)
    with pytest.raises(NastkError, match=message):
        arena_of(Path("net.tflite"))


@pytest.mark.parametrize(
    ("err", "status", "message"),
    [
        ("Didn't find op for builtin opcode 'GELU'\nRuntimeError: TFLM", 1, "^tflite-micro has no operator GELU$"),
        ("Traceback\nRuntimeError: no room\n", 1, "^tflite-micro: RuntimeError: no room$"),
        ("", -11, r"crashed \(signal 11\): is the file whole"),
    ],
)
def test_what_tflite_micro_cannot_run_says_why(answers: Any, err: str, status: int, message: str) -> None:
    answers(err=err, status=status)
    with pytest.raises(RuntimeError, match=message):
        arena_of(Path("net.tflite"))


def test_velas_summary_is_read_with_the_operators_on_the_cpu(answers: Any) -> None:
    answers(SAID, summary=SUMMARY)
    found = compile_with_vela(Path("net.tflite"), "ethos-u55-128")
    reasons = (("SOFTMAX", "Operation has tensor with unsupported DataType Float32 (b)"),)
    assert found == Compiled(
        "Ethos_U55_128", "High_End", "Shared_Sram", 48016, 78432, 728724, pytest.approx(1.46), 49, 1, reasons
    )
    assert found.on_npu() == (None, None)


@pytest.mark.parametrize(
    ("said", "summary", "message"),
    [
        (SAID, None, "no summary of one network"),
        (SAID, COLUMNS + "\n", "no summary of one network"),
        ("", SUMMARY, "no summary of one network"),
        (SAID, SUMMARY.replace("46.890625", "nan"), "sram_memory_used is nan"),
        (SAID, SUMMARY.replace("728724", ""), "could not convert"),
        (SAID, SUMMARY.replace("cycles_total", "cycles"), "KeyError: 'cycles_total'"),
    ],
)
def test_an_answer_of_vela_that_is_not_understood_is_an_error(
    answers: Any, said: str, summary: str | None, message: str
) -> None:
    answers(said, summary=summary)
    with pytest.raises(NastkError, match=message):
        compile_with_vela(Path("net.tflite"), "ethos-u55-128")


def test_figures_say_what_is_exact_and_what_is_an_estimate() -> None:
    compiled = Compiled("U55", "High_End", "Shared", 100, 200, 300, 0.5, 7, 0, ())
    rows = {r["metric"]: (r["mean"], r["kind"], r["reason"]) for r in Figures(9, Arena(3, 1, 2), compiled).tidy()}
    assert rows == {
        "flash": (9, "computed", ""),
        "arena": (3, "computed", ""),
        "sram": (100, "estimate", ""),
        "npu_cycles": (300, "estimate", ""),
        "cpu_operators": (0, "estimate", ""),
    }
    texts = [" ".join(row) for row in Figures(9, "no operator GELU", compiled).rows()]
    assert "arena none no operator GELU" in texts
    assert "SRAM 100 B Vela's estimate, not measured" in texts
    on_cpu = Compiled("U55", "High_End", "Shared", 0, 0, 0, 0.0, 0, 2, (("GELU", "why"), ("GELU", "why")))
    rows = {r["metric"]: (r["mean"], r["reason"]) for r in Figures(9, Arena(3, 1, 2), on_cpu).tidy()}
    assert rows["npu_cycles"] == (None, "2 operators fall to the CPU (2 GELU)")  # not 0, which would look best
    assert rows["cpu_operators"] == (2, "")


# ---- by name


def test_a_search_has_them_as_objectives_and_limits() -> None:
    found = run.describe(
        objectives=["accuracy", "arena", "sram:ethos-u55-64", "npu_cycles"], constraints=["arena<=200000", "sram<=9e4"]
    )
    facts = [o["oracle"] for o in found.objectives[1:]]
    assert facts == [
        {"oracle": "microcontroller", "metric": "arena"},
        {"oracle": "microcontroller", "metric": "sram", "accelerator": "ethos-u55-64"},
        {"oracle": "microcontroller", "metric": "npu_cycles", "accelerator": "ethos-u55-128"},
    ]
    assert found.constraints == ("arena<=200000", "sram<=90000")


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        ("arena:ethos-u55-64", "arena does not depend on a device"),
        ("sram:ethos-u55", "unknown accelerator 'ethos-u55'; did you mean"),
        ("max:flash", "flash is always minimised"),
        ("flash@5", "flash has no epochs"),
    ],
)
def test_what_they_do_not_have_is_refused(objective: str, message: str) -> None:
    with pytest.raises(NastkError, match=message):
        run.describe(objectives=["accuracy", objective])


def test_without_the_extras_the_one_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nastk.oracles._native_programs.importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=rf"needs ethosu, .*{re.escape(installing('mcu'))}"):
        compile_with_vela(tmp_path / "net.tflite", "ethos-u55-128")
    if find_spec("litert_torch") is None:
        with pytest.raises(MissingExtra, match=rf"{re.escape(installing('litert'))}.* see docs/microcontrollers.md"):
            Microcontroller(SPACE, "flash")


def test_a_wrong_name_is_refused_before_anything_is_imported() -> None:
    with pytest.raises(UnknownName, match="unknown figure of a microcontroller 'arean'; did you mean 'arena'"):
        Microcontroller(SPACE, "arean")
    with pytest.raises(UnknownName, match="unknown accelerator"):
        Microcontroller(SPACE, "sram", accelerator="u55")
    with pytest.raises(InvalidValue, match="flash depends on no accelerator"):
        Microcontroller(SPACE, "flash", accelerator="ethos-u55-64")


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (b"junk", (), "is no .tflite file"),
        (None, (), "No such file"),
        (b"    TFL3", ("--accelerator", "u55"), "unknown accelerator"),
        (b"    TFL3", ("--out", "other.tflite"), "is one already"),
    ],
)
def test_the_command_refuses_what_is_no_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, arguments: tuple[str, ...], message: str
) -> None:
    file = tmp_path / "net.tflite"
    if content is not None:
        file.write_bytes(content)
    assert command(["mcu", str(file), *arguments]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line


# ---- for real


class Small(nn.Module):
    """Weights in proportion to `width`, so that files are small or large."""

    def __init__(self, width: int, activation: nn.Module):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 4, 3, stride=2), activation, nn.Flatten(), nn.Linear(36, width), nn.ReLU(), nn.Linear(width, 5)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.layers(x)
        return found


def int8_file(folder: Path, width: int = 8, activation: nn.Module | None = None) -> Path:
    file = folder / "small.tflite"
    with torch.inference_mode():
        inputs = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        Litert(precision="int8").export(Small(width, activation or nn.ReLU()).eval(), inputs, file)
    return file


@installed
def test_the_arena_is_exact_to_its_alignment(tmp_path: Path) -> None:
    file = int8_file(tmp_path)
    need = arena_of(file)
    assert arena_of(file, need.needed) == need
    with pytest.raises(RuntimeError, match="tflite-micro"):
        arena_of(file, need.needed - 16)
    assert need.needed >= need.head + need.tail
    assert need.head >= 3 * 64 + 3 * 64  # input and its transpose live at once
    assert need.head < 3 * 64 * 4


@installed
@pytest.mark.parametrize("width", [8, 8000])
def test_tflite_micro_and_litert_answer_alike(tmp_path: Path, width: int) -> None:
    """Also for large files, whose weights the quantiser puts where tflite-micro would not find them."""
    from ai_edge_litert.interpreter import Interpreter
    from tflite_micro.python.tflite_micro import runtime

    file = int8_file(tmp_path, width)
    assert (file.stat().st_size > 256 * 1024) == (width == 8000)
    there, here = Interpreter(str(file)), runtime.Interpreter.from_file(str(file), arena_size=2**20)
    there.allocate_tensors()
    (taken,), (given,) = there.get_input_details(), there.get_output_details()
    rng = np.random.default_rng(0)
    for _ in range(5):
        x = rng.integers(-128, 128, taken["shape"], dtype=np.int8)
        there.set_tensor(taken["index"], x)
        there.invoke()
        here.set_input(x, 0)
        here.invoke()
        expected, found = there.get_tensor(given["index"]).astype(int), here.get_output(0).astype(int)
        assert np.ptp(expected) > 10
        assert abs(expected - found).max() <= 1


@installed
def test_weights_behind_the_flatbuffer_are_refused_and_not_taken_for_activations(tmp_path: Path) -> None:
    from ai_edge_litert.tools import flatbuffer_utils

    file = int8_file(tmp_path)
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(file.read_bytes()))
    largest = max(model.buffers, key=lambda buffer: 0 if buffer.data is None else len(buffer.data))
    data = bytes(largest.data)
    largest.data, largest.offset, largest.size = None, file.stat().st_size, len(data)
    file.write_bytes(flatbuffer_utils.convert_object_to_bytearray(model) + bytes(file.stat().st_size) + data)
    with pytest.raises(RuntimeError, match="behind the flatbuffer"):
        arena_of(file)


@installed
def test_what_each_program_lacks_is_named(tmp_path: Path) -> None:
    file = int8_file(tmp_path, activation=nn.GELU())
    found = figures(file)
    assert found.flash == file.stat().st_size
    assert found.arena == "tflite-micro has no operator GELU"
    assert isinstance(found.compiled, Compiled)
    with torch.inference_mode():
        Litert().export(Small(8, nn.ReLU()).eval(), torch.randn(1, 3, 8, 8), file)
    compiled = figures(file).compiled
    assert isinstance(compiled, Compiled)
    assert compiled.cpu_operators == len(compiled.reasons) > 0
    assert {"FULLY_CONNECTED", "TRANSPOSE"} <= {operator for operator, _ in compiled.reasons}
    assert all("Float32" in reason for _, reason in compiled.reasons)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    half = figures(file)
    assert isinstance(half.arena, str)
    assert isinstance(half.compiled, str)


@installed
def test_the_oracles_keep_the_contract_and_share_a_conversion(monkeypatch: pytest.MonkeyPatch) -> None:
    converted = []
    export = Litert.export
    monkeypatch.setattr(Litert, "export", lambda self, *args: converted.append(1) or export(self, *args))
    archs = SPACE.as_archs([[3, 3, 3, 3, 3, 3], [1, 1, 1, 1, 1, 1]])
    check_oracle(Microcontroller(SPACE, "flash", **TINY), archs)
    heavy, light = Microcontroller(SPACE, "flash", **TINY)(archs)
    assert heavy > light
    found = {m: Microcontroller(SPACE, m, **TINY) for m in ("arena", "sram", "npu_cycles", "cpu_operators")}
    values = {metric: oracle(archs) for metric, oracle in found.items()}
    assert len(converted) == 2
    assert all((v > 0).all() for metric, v in values.items() if metric != "cpu_operators")
    assert values["cpu_operators"].tolist() == [0, 0]
    assert values["npu_cycles"][0] > values["npu_cycles"][1]
    assert {m: oracle.kind for m, oracle in found.items()} == {
        "arena": "computed", "sram": "estimate", "npu_cycles": "estimate", "cpu_operators": "estimate",
    }  # fmt: skip
    assert found["sram"].source.startswith("Vela's estimate for ethos-u55-128, not measured; litert ")


@installed
def test_a_search_converts_each_network_once_for_all_of_its_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    converted = []
    export = Litert.export
    monkeypatch.setattr(Litert, "export", lambda self, *args: converted.append(1) or export(self, *args))
    space = nastk.space("nasbench201")  # of which nothing is converted yet
    figures_of = [Microcontroller(space, metric, **TINY) for metric in ("arena", "flash")]
    result = nastk.search(space, figures_of, "random", constraints=["arena<=1000000"], budget=2, verify=0)
    values = result.history.records()
    assert sorted((r.objective, r.kind) for r in values) == [("arena", "computed")] * 2 + [("flash", "computed")] * 2
    assert all(r.value > 1000 for r in values)
    assert len(converted) == 2


@installed
def test_a_network_without_a_figure_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(SPACE), "build", lambda self, arch, **options: Small(8, nn.GELU()))
    oracle, arch = Microcontroller(SPACE, "arena", **TINY), SPACE.sample(1, 0)
    assert np.isnan(oracle(arch)).all()
    assert oracle.reasons == {SPACE.format(arch[0]): "RuntimeError: tflite-micro has no operator GELU"}


@installed
def test_the_command_shows_an_architecture_and_keeps_its_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, rows = tmp_path / "kept.tflite", tmp_path / "rows.json"
    assert command(["mcu", "0", "--out", str(file), "--json", str(rows)]) == 0
    said = capsys.readouterr().out
    assert f"{file.stat().st_size:,} B" in said
    assert "Vela's estimate, not measured" in said
    assert command(["mcu", str(file)]) == 0
    assert capsys.readouterr().out == said
    assert '"metric": "arena"' in rows.read_text()
