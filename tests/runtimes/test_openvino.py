"""OpenVINO: what it lacks, the files of an export, and silence, also towards its makers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("openvino")
pytest.importorskip("nncf")

from nastk.errors import Unsupported
from nastk.runtimes.openvino import CAPABILITIES, OpenVino, _module


class Det(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.det(x @ x.transpose(-1, -2))


def test_an_operator_that_it_lacks_is_named_and_nothing_else_is_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with (
        torch.inference_mode(),
        pytest.raises(RuntimeError, match=r"^OpenVINO cannot convert it: [\w ]+ operations: Det(-\d+)?$"),
    ):
        OpenVino().prepare(Det(), torch.ones(2, 3, 4, 4), tmp_path / "network.xml")
    assert not list(tmp_path.iterdir())
    said = capfd.readouterr()
    assert said.out == said.err == ""


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_all_files_of_an_export_begin_with_its_name_and_nothing_is_printed(
    precision: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    network, inputs = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)).eval(), torch.randn(2, 8)
    with torch.inference_mode():
        run = OpenVino(precision=precision).prepare(network, inputs, tmp_path / "7.xml")
        run()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["7.bin", "7.xml"]
    said = capfd.readouterr()
    assert said.out == said.err == ""


def test_a_precision_without_instructions_of_the_processor_is_refused() -> None:
    native = _module("openvino").Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    for own in OpenVino.precisions:
        if CAPABILITIES[own] in native:
            assert OpenVino(precision=own).precision == own
        else:
            with pytest.raises(Unsupported, match=f"no instructions for {own}; OpenVINO has here: fp32"):
                OpenVino(precision=own)


TELEMETRY = """
import os, sys
from pathlib import Path
import torch
from nastk.runtimes.openvino import OpenVino
made = OpenVino(precision="int8")
with torch.inference_mode():
    made.prepare(torch.nn.Linear(8, 3).eval(), torch.randn(2, 8), Path(os.environ["HOME"]) / "network.xml")()
assert "nncf" in sys.modules
assert not [name for name in sys.modules if name.startswith("openvino_telemetry")]
"""


def test_its_telemetry_is_never_imported_and_leaves_no_file(tmp_path: Path) -> None:
    import os

    ended = subprocess.run(
        [sys.executable, "-c", TELEMETRY], env={**os.environ, "HOME": str(tmp_path)}, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["network.bin", "network.xml"]


SIGNAL = """
import gc, signal, sys, tempfile
from pathlib import Path
import torch
from nastk.runtimes.openvino import OpenVino
signal.signal(signal.SIGINT, lambda *_: print("received"))
network, inputs = torch.nn.Linear(8, 3).eval(), torch.randn(2, 8)
with torch.inference_mode(), tempfile.TemporaryDirectory() as folder:
    runs = [OpenVino(precision=p).prepare(network, inputs, Path(folder) / f"{p}.xml") for p in ("fp32", "int8")]
    while runs:
        runs.pop(0)()
        gc.collect()
signal.raise_signal(signal.SIGINT)
"""


def test_signals_are_received_after_networks_are_freed_in_the_order_they_were_made() -> None:
    ended = subprocess.run([sys.executable, "-c", SIGNAL], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "received\n"), ended.stderr
