"""Every registered runtime keeps the contract; what breaks it is found; one of one's own is measured like ours."""

from __future__ import annotations

import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nastk
from nastk.errors import InvalidValue, MissingExtra, UnknownName, Unsupported, installing
from nastk.oracles import Latency
from nastk.registry import RUNTIMES, load_object
from nastk.runtimes.base import Runtime, runtime_class
from nastk.testing import check_runtime

SPACE = nastk.space("nasbench201")
TINY = {"channels": 4, "cells_per_stage": 1, "input_size": 8}
QUICK = {"rounds": 3, "warmup": 0.0, "max_seconds": 0.05, "min_repeats": 9, "max_repeats": 30}
DEVICES = ["this"] + ["cuda"] * torch.cuda.is_available() + ["mps"] * torch.backends.mps.is_available()

OWN = '''
"""The weights and the code of a module in a file, called by PyTorch."""
import torch

from nastk.runtimes.base import Runtime

EXPORTED = []


class Pickled(Runtime):
    name = "pickled"
    suffix = ".pt"

    def describe(self):
        return "pickled 1.0"

    def export(self, network, inputs, file):
        EXPORTED.append(file)
        torch.save(network, file)

    def _prepare(self, source, inputs):
        network = torch.load(source, weights_only=False)
        return lambda: network(inputs).numpy()


class Unfinished(Runtime):
    name = "unfinished"


def function(device, threads):
    return 3
'''


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of a file with runtimes."""
    file = tmp_path_factory.mktemp("own") / "runtimes_of_a_test.py"
    file.write_text(OWN)
    return str(file)


class Plain(Runtime):
    """A runtime of this file that keeps the contract; those below break one line of it each."""

    name = "plain"

    def describe(self) -> str:
        return f"{self.name} 1"

    def _prepare(self, source: Any, inputs: torch.Tensor) -> Any:
        return lambda: source(inputs)


class Half(Plain):
    def _prepare(self, source: Any, inputs: torch.Tensor) -> Any:
        return lambda: source(inputs) * 0.99


class FirstOnly(Plain):
    def _prepare(self, source: Any, inputs: torch.Tensor) -> Any:
        return lambda: source(inputs[:1])


class Forgetful(Plain):
    latest: Any = None

    def _prepare(self, source: Any, inputs: torch.Tensor) -> Any:
        self.latest = source
        return lambda: self.latest(inputs)


class Overwriting(Plain):
    def _prepare(self, source: Any, inputs: torch.Tensor) -> Any:
        def run() -> torch.Tensor:
            found: torch.Tensor = source(inputs).clone()
            inputs.add_(1e-7)
            return found

        return run


class Anonymous(Plain):
    def describe(self) -> str:
        return "plain"


class Seconds(Plain):
    def timer(self, run: Any) -> Any:
        def timed() -> float:
            start = time.perf_counter_ns()
            run()
            return (time.perf_counter_ns() - start) / 1e3  # microseconds

        return timed


class Boastful(Plain):
    reports_memory = True

    def peak_memory(self, network: Any, inputs: torch.Tensor) -> float:
        return 0.0


class Anywhere(Plain):
    devices = ("cpu",)

    def __init__(self, device: str = "this", threads: int = 1):
        super().__init__("this", threads)


class ThreadHungry(Plain):
    def _prepare(self, source: Any, inputs: torch.Tensor) -> Any:
        torch.set_num_threads(7)
        return super()._prepare(source, inputs)

    def running(self) -> Any:
        import contextlib

        return contextlib.nullcontext()


class Exporting(Plain):
    suffix = ".pt"

    def export(self, network: torch.nn.Module, inputs: torch.Tensor, file: Path) -> None:
        torch.save(network, file)

    def _prepare(self, source: Any, inputs: torch.Tensor) -> Any:
        return super()._prepare(torch.load(source, weights_only=False), inputs)


class Strewing(Exporting):
    def export(self, network: torch.nn.Module, inputs: torch.Tensor, file: Path) -> None:
        super().export(network, inputs, file)
        (file.parent / "weights").touch()


class Quantised(Plain):
    """int8 by rounding to the range of the calibration inputs, and of each output."""

    precisions = ("fp32", "int8")

    def _prepare(self, source: Any, inputs: torch.Tensor) -> Any:
        if self.precision == "fp32":
            return super()._prepare(source, inputs)
        most = max(float(batch.abs().max()) for batch in self.calibration_batches(inputs)) / 127
        return lambda: source((inputs / most).round().clamp(-127, 127) * most)


class Uncalibrated(Quantised):
    def _prepare(self, source: Any, inputs: torch.Tensor) -> Any:
        return Plain._prepare(self, source, inputs)


class Halved(Plain):
    """Converts the network that it was given."""

    precisions = ("fp32", "fp16")

    def _prepare(self, source: Any, inputs: torch.Tensor) -> Any:
        if self.precision == "fp32":
            return super()._prepare(source, inputs)
        found = source.half()(inputs.half()).float()
        return lambda: found


class Noisy(Plain):
    precisions = ("fp32", "bf16")

    def _prepare(self, source: Any, inputs: torch.Tensor) -> Any:
        if self.precision == "fp32":
            return super()._prepare(source, inputs)
        return lambda: -source(inputs)


class Unconverted(Plain):
    precisions = ("fp32", "bf16")

    def output(self, result: Any) -> torch.Tensor:
        found: torch.Tensor = result
        return found

    def _prepare(self, source: Any, inputs: torch.Tensor) -> Any:
        if self.precision == "fp32":
            return super()._prepare(source, inputs)
        return lambda: source(inputs).bfloat16()


class Anyhow(Plain):
    """Takes precisions that it does not declare."""

    precisions = ("fp32", "fp16")

    def __init__(self, device: str = "this", threads: int = 1, precision: str = "fp32", calibration: Any = None):
        super().__init__(device, threads, "fp32" if precision == "bf16" else precision, calibration)


class ExportingAgain(Exporting):
    def prepare(self, network: Any, inputs: torch.Tensor, file: Path | None = None) -> Any:
        if network is not None and file is not None:
            file.unlink(missing_ok=True)
        return super().prepare(network, inputs, file)


LONG = [pytest.mark.long]
"""Of runtimes that prepare for many seconds: a kit prepares three networks."""


def settings() -> list[Any]:
    """Every registered runtime and precision."""
    return [
        pytest.param(name, precision, marks=LONG if runtime_class(name).seconds_to_prepare > 20 else [])
        for name in RUNTIMES.names()
        for precision in runtime_class(name).precisions
    ]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("name", "precision"), settings())
def test_every_runtime_keeps_the_contract(name: str, precision: str, device: str) -> None:
    cls = runtime_class(name)
    if not cls.available():
        what = installing(cls.extra) if cls.extra else "a C++ compiler"
        pytest.skip(f"the runtime {name} needs {', '.join(cls.requires)}: {what}")
    if device not in (*cls.devices, "this"):
        pytest.skip(f"the runtime {name} runs on {', '.join(cls.devices)} only")
    try:
        check_runtime(name, device, precision=precision)
    except Unsupported as error:
        pytest.skip(str(error))


class Lacking(Plain):
    precisions = ("fp32", "bf16")

    def __init__(self, device: str = "this", threads: int = 1, precision: str = "fp32", calibration: Any = None):
        super().__init__(device, threads, precision, calibration)
        if precision == "bf16":
            raise Unsupported("this processor has no bf16")


def test_the_kit_leaves_out_a_precision_that_the_machine_lacks_unless_asked_for_it() -> None:
    check_runtime(Lacking)
    with pytest.raises(Unsupported, match="this processor has no bf16"):
        check_runtime(Lacking, precision="bf16")


class Late(Plain):
    precisions = ("fp32", "bf16")

    def _prepare(self, source: Any, inputs: torch.Tensor) -> Any:
        if self.precision == "bf16":
            raise Unsupported("late")
        return super()._prepare(source, inputs)


def test_what_is_unsupported_later_than_in_the_constructor_is_not_passed_over() -> None:
    with pytest.raises(Unsupported, match="late"):
        check_runtime(Late)


def test_the_kit_refuses_a_precision_that_is_not_declared() -> None:
    with pytest.raises(InvalidValue, match="the runtime plain declares fp32, not int8"):
        check_runtime(Plain, precision="int8")


@pytest.mark.parametrize("cls", [Plain, Exporting, Quantised])
def test_the_kit_takes_a_class(cls: type[Runtime]) -> None:
    check_runtime(cls)


@pytest.mark.parametrize(
    ("cls", "what"),
    [
        (Half, "the output differs by 0.01"),
        (FirstOnly, "has shape"),
        (Forgetful, "after another network"),
        (Overwriting, "inputs were changed"),
        (Anonymous, "no version|must begin with the name"),
        (Seconds, "the timer says"),
        (Boastful, "peak_memory says 0 MB"),
        (Anywhere, "a device that does not exist"),
        (ThreadHungry, "another number of threads"),
        (ExportingAgain, "where its file exists"),
        (Strewing, "which begins with another name"),
        (Uncalibrated, "calibrated on inputs of a thousandth of the range"),
        (Halved, "weights were changed"),
        (Noisy, "in bf16 has a cosine of"),
        (Unconverted, "must be float32 whatever the precision is"),
        (Anyhow, "bf16, which is none of its precisions"),
    ],
)
def test_the_kit_finds_what_breaks_the_contract(cls: type[Runtime], what: str) -> None:
    threads = torch.get_num_threads()
    try:
        with pytest.raises(AssertionError, match=what):
            check_runtime(cls)
    finally:
        torch.set_num_threads(threads)


def test_a_runtime_of_ones_own_in_a_file_keeps_the_contract_and_is_measured(own: str) -> None:
    check_runtime(f"{own}:Pickled")
    oracle = Latency(SPACE, runtime=f"{own}:Pickled", **QUICK, channels=16, cells_per_stage=1)
    assert ", pickled 1.0, batch 1, 1 thread" in oracle.source
    light, heavy = oracle.measure_many([[0] * 6, [3] * 6])
    assert light.median < heavy.median
    assert np.isnan([light.peak_memory, heavy.peak_memory]).all()
    assert pickle.loads(pickle.dumps(oracle)).source == oracle.source


def test_a_network_is_exported_once_however_many_rounds_it_is_measured_in(own: str) -> None:
    cls, exported = load_object(f"{own}:Pickled"), load_object(f"{own}:EXPORTED")
    exported.clear()
    Latency(SPACE, runtime=cls, **QUICK, **TINY)([[0] * 6, [3] * 6])
    assert [file.name for file in exported] == ["0.pt", "1.pt"]
    assert not exported[0].exists()


def test_a_runtime_in_another_package_has_a_name_by_its_entry_point(own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint

    monkeypatch.syspath_prepend(str(Path(own).parent))
    point = EntryPoint("pickled", "runtimes_of_a_test:Pickled", "nastk.runtimes")
    monkeypatch.setattr("nastk.registry.entry_points", lambda group: [point] if group == "nastk.runtimes" else [])
    monkeypatch.delitem(RUNTIMES.__dict__, "entries", raising=False)
    try:
        assert "pickled" in RUNTIMES.names()
        check_runtime("pickled")
    finally:
        RUNTIMES.__dict__.pop("entries", None)


def test_an_unknown_runtime_proposes_the_nearest() -> None:
    with pytest.raises(UnknownName, match="unknown runtime 'onx'; did you mean 'onnx'"):
        Latency(SPACE, runtime="onx")


@pytest.mark.parametrize(
    ("name", "message"),
    [("function", "not a runtime"), ("Unfinished", "Unfinished lacks _prepare, describe"), ("Nothing", "no 'Nothing'")],
)
def test_what_is_no_runtime_says_why(own: str, name: str, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        Latency(SPACE, runtime=f"{own}:{name}")


def test_half_an_export_is_not_kept(tmp_path: Path) -> None:
    class Failing(Exporting):
        def export(self, network: torch.nn.Module, inputs: torch.Tensor, file: Path) -> None:
            file.write_text("half")
            raise RuntimeError("an operator that it lacks")

    with pytest.raises(RuntimeError, match="operator"):
        Failing().prepare(torch.nn.Identity(), torch.zeros(1), tmp_path / "network.pt")
    assert not list(tmp_path.iterdir())


def test_a_runtime_that_runs_modules_as_they_are_exports_none(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="plain runtime runs PyTorch modules as they are"):
        Plain().export(torch.nn.Identity(), torch.zeros(1), tmp_path / "network")


def test_a_module_that_another_packages_runtime_needs_is_named() -> None:
    class Needing(Plain):
        requires = ("json", "no_module_of_this_name")

    assert not Needing.available()
    with pytest.raises(MissingExtra, match="needs no_module_of_this_name"):
        Needing()
