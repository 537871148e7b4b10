"""MNN: what it lacks, what crashes it, and silence, also towards its makers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("MNN")

from nastk.runtimes.mnn import Mnn


class Fourier(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.rfft(x).abs()


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.LSTM(8, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.layer(x)[0]
        return outputs


def test_an_operator_that_it_lacks_is_named_and_nothing_else_is_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with (
        torch.inference_mode(),
        pytest.raises(RuntimeError, match=r"^MNN cannot run it: These Op Not Support: ONNX::DFT$"),
    ):
        Mnn().prepare(Fourier(), torch.ones(2, 8), tmp_path / "network.mnn")
    assert not list(tmp_path.iterdir())
    said = capfd.readouterr()
    assert said.out == said.err == ""


def test_a_crash_of_its_own_is_the_networks_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "crashes.py"
    program.write_text("import os\nos.abort()\n")
    monkeypatch.setattr(Path, "with_name", lambda *_: program)
    with (
        torch.inference_mode(),
        pytest.raises(RuntimeError, match=r"^MNN crashes \(SIGABRT\) when it runs it; its operators are Gemm$"),
    ):
        Mnn().prepare(nn.Linear(8, 3).eval(), torch.ones(2, 8), tmp_path / "network.mnn")


def test_tokens_are_run_and_its_tools_are_never_imported(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    network = nn.Sequential(nn.Embedding(11, 8), nn.Linear(8, 3)).eval()
    tokens = torch.randint(11, (2, 5))
    made = Mnn()
    with torch.inference_mode():
        found = made.output(made.prepare(network, tokens, tmp_path / "network.mnn")())
        torch.testing.assert_close(found, network(tokens))
    assert "MNN.tools" not in sys.modules
    said = capfd.readouterr()
    assert said.out == said.err == ""
