"""ONNX Runtime: why a network cannot be exported."""

from __future__ import annotations

import logging
import signal
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from nastk.errors import InvalidValue
from nastk.parallel import Uninterrupted
from nastk.runtimes._onnx_export import sharing_exports
from nastk.runtimes.onnx import Onnx


class Bessel(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.special.bessel_j0(x)


class Depends(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class Fails(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise TypeError("an error of its own")


@pytest.mark.parametrize(
    ("network", "error", "message"),
    [
        (Bessel(), RuntimeError, "cannot be exported to ONNX: .*No ONNX function found for .*bessel_j0"),
        (Depends(), RuntimeError, "cannot be exported to ONNX: .*data-dependent expression"),
        (Fails(), TypeError, "an error of its own"),
        (nn.Linear(5, 3), RuntimeError, "shapes cannot be multiplied"),
    ],
)
def test_the_reason_is_the_cause_and_nothing_else_is_printed(
    network: nn.Module,
    error: type[Exception],
    message: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    before = logging.root.manager.disable
    with torch.inference_mode(), pytest.raises(error, match=message):
        Onnx().prepare(network, torch.ones(2, 4), tmp_path / "network.onnx")
    assert not list(tmp_path.iterdir())
    assert logging.root.manager.disable == before
    said = capfd.readouterr()
    assert said.out == said.err == ""


def network_of_two() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)).eval()


def test_int8_is_a_file_of_its_own_that_holds_integers(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import onnx

    made, file = Onnx(precision="int8"), tmp_path / "network.onnx"
    with torch.inference_mode():
        made.prepare(network_of_two(), torch.randn(2, 8), file)()
    assert [path.name for path in tmp_path.iterdir()] == ["network.onnx"]
    weights = {tensor.data_type for tensor in onnx.load(file).graph.initializer}
    assert onnx.TensorProto.INT8 in weights
    assert made.label.endswith("int8 (calibrated on random inputs)")
    said = capfd.readouterr()
    assert said.out == said.err == ""


def test_calibration_inputs_of_another_shape_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    made = Onnx(precision="int8", calibration=torch.zeros(4, 9))
    with torch.inference_mode(), pytest.raises(InvalidValue, match=r"have shape \(.*, 9\); the networks take \(n, 8\)"):
        made.prepare(network_of_two(), torch.randn(2, 8), tmp_path / "network.onnx")
    assert not list(tmp_path.iterdir())


def test_an_operator_without_a_kernel_is_named(tmp_path: Path) -> None:
    import onnx

    file = tmp_path / "network.onnx"
    node = onnx.helper.make_node("Unheard", ["x"], ["y"], domain="elsewhere")
    value = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2]) for name in "xy"]
    graph = onnx.helper.make_graph([node], "graph", value[:1], value[1:])
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("elsewhere", 1)], ir_version=10), file
    )
    with pytest.raises(RuntimeError, match=r"ONNX Runtime cannot run it: .*Unheard"):
        Onnx().prepare(None, torch.ones(2), file)


def test_within_sharing_a_network_is_exported_once_and_other_shapes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exports = []
    export = torch.onnx.export

    def counted(network: nn.Module, inputs: tuple[Tensor], **options: object) -> object:
        exports.append(tuple(inputs[0].shape))
        return export(network, inputs, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.onnx, "export", counted)
    network, other = network_of_two(), network_of_two()
    with torch.inference_mode():
        with sharing_exports():
            for number, (each, batch) in enumerate([(network, 2), (network, 2), (other, 2), (network, 1)]):
                Onnx().prepare(each, torch.randn(batch, 8), tmp_path / f"{number}.onnx")()
        Onnx().prepare(network, torch.randn(2, 8), tmp_path / "4.onnx")
    assert exports == [(2, 8), (2, 8), (1, 8), (2, 8)]
    assert (tmp_path / "0.onnx").read_bytes() == (tmp_path / "1.onnx").read_bytes()


def test_an_interruption_waits_for_the_end_of_an_export(tmp_path: Path) -> None:
    """PyTorch's exporter would take it for an error of the network, and leave modules half imported."""
    held = []

    class Looks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            held.append(signal.getsignal(signal.SIGINT))
            return x + 1

    given = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background processes ignore it
    before = signal.getsignal(signal.SIGINT)
    try:
        with torch.inference_mode():
            Onnx().prepare(Looks(), torch.ones(2, 4), tmp_path / "network.onnx")
        after = signal.getsignal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, given)
    first, *within = held  # the first call says what the network itself raises, and may be interrupted
    assert first is before
    assert within
    assert all(handler == Uninterrupted._note for handler in within)
    assert after is before
