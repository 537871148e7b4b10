"""Conformance kit of runtimes: what every one of ours, and every third-party one, must keep."""

from __future__ import annotations

import pickle
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nastk.devices import KINDS
from nastk.errors import InvalidValue, Unsupported
from nastk.runtimes._agreement import LEAST_COSINE, TOLERANCE, agreement
from nastk.runtimes.base import Run, Runtime, runtime_class
from nastk.spaces.precisions import PRECISIONS
from nastk.testing.spaces import _refuses

if TYPE_CHECKING:
    import torch


def check_runtime(
    runtime: str | type[Runtime],
    device: str = "this",
    tolerance: float = TOLERANCE,
    precision: str | None = None,
    cosine: float = LEAST_COSINE,
) -> None:
    """Test the contract of :class:`nastk.runtimes.base.Runtime`; raises AssertionError with what is broken.

    Args:
        runtime: a registered name, ``file.py:Class``, or the class.
        device: where to test it.
        tolerance: greatest difference of float32 outputs from those of PyTorch in eager mode, as a share of the
            greatest output. The default leaves room for the order of sums.
        precision: one of those that the runtime declares; by default all. One that this machine has not, as the
            constructor says by :class:`nastk.errors.Unsupported`, is left out.
        cosine: least cosine between outputs in a lower precision and those of PyTorch in float32.

    Raises:
        InvalidValue: a precision that the runtime does not declare.
        Unsupported: a precision that was asked for, and that this machine has not.
    """
    cls = runtime_class(runtime)
    if precision is not None and precision not in cls.precisions:
        raise InvalidValue(f"the runtime {cls.name} declares {', '.join(cls.precisions)}, not {precision}")
    _check_declaration(runtime, cls, device)
    for each in cls.precisions if precision is None else (precision,):
        try:
            cls(device, 1, **_asked(each))
        except Unsupported:
            if precision is not None:
                raise
            continue
        _check_precision(cls, device, each, Bounds(tolerance, cosine))


@dataclass(frozen=True)
class Bounds:
    """How far outputs must agree with PyTorch's: in float32 by their difference, else by their cosine."""

    difference: float
    cosine: float


def _check_precision(cls: type[Runtime], device: str, precision: str, bounds: Bounds) -> None:
    import torch

    threads = torch.get_num_threads()
    made = cls(device, threads + 1, **_asked(precision))
    assert made.threads == threads + 1, f"threads is {made.threads}, not the {threads + 1} that were asked for"
    assert made.precision == precision, f"precision is {made.precision}, not the {precision} that was asked for"
    _check_description(made)
    _check_pickles(made)
    with torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory() as folder:
        with made.running(), torch.inference_mode():
            made.settle()
            _check_runs(made, Path(folder), bounds)
            _check_one_input(made, Path(folder), bounds)
            if precision == "int8":
                _check_calibration(cls, device, Path(folder), bounds)
        assert torch.get_num_threads() == threads, "running() leaves PyTorch with another number of threads"
        assert not torch.is_inference_mode_enabled(), "inference mode is left switched on"
    _check_interruption(made, threads)


def _asked(precision: str) -> dict[str, Any]:
    """Options for a precision: none for float32, which a runtime need not know of."""
    return {} if precision == "fp32" else {"precision": precision}


def _check_declaration(runtime: str | type[Runtime], cls: type[Runtime], device: str) -> None:
    import torch

    assert isinstance(cls.name, str), "name must be a string"
    assert cls.name, "name is empty"
    if isinstance(runtime, str) and ":" not in runtime:
        assert cls.name == runtime, f"registered as {runtime}, but its name is {cls.name}"
    assert cls.devices, "devices is empty"
    assert set(cls.devices) <= set(KINDS), f"devices are {cls.devices}; there are {', '.join(KINDS)}"
    assert not cls.suffix or (cls.suffix.startswith(".") and len(cls.suffix) > 1), (
        f"suffix is {cls.suffix!r}; write it with its dot, such as '.onnx'"
    )
    assert cls.seconds_to_prepare >= 0, f"seconds_to_prepare is {cls.seconds_to_prepare}"
    assert isinstance(cls.reports_memory, bool), f"reports_memory is {cls.reports_memory!r}, must be True or False"
    assert cls.available(), f"a module that it requires is not installed: {', '.join(cls.requires)}"
    _refuses(InvalidValue, lambda: cls("no-such-device", 1), "a device that does not exist")
    _refuses(InvalidValue, lambda: cls(device, 0), "no threads")
    unknown = sorted(set(cls.precisions) - set(PRECISIONS))
    assert not unknown, f"precisions are {cls.precisions}; there are {', '.join(PRECISIONS)}"
    assert "fp32" in cls.precisions, "precisions lack fp32, which every runtime has"
    if cls.precisions != ("fp32",):
        for precision in (*(set(PRECISIONS) - set(cls.precisions)), "fp31"):
            refused = partial(cls, device, 1, precision=precision)
            _refuses(InvalidValue, refused, f"{precision}, which is none of its precisions,")
        values = torch.zeros(2, 3, 16, 16)
        _refuses(InvalidValue, lambda: cls(device, 1, calibration=values), "calibration of a precision other than int8")
    for kind in set(KINDS) - set(cls.devices):
        _refuses(InvalidValue, partial(cls, kind, 1), f"{kind}, which is none of its devices,")


def _check_description(made: Runtime) -> None:
    text = made.describe()
    assert isinstance(text, str), f"describe() returned a {type(text).__name__}"
    assert text.startswith(f"{made.name} "), f"describe() is {text!r}, must begin with the name {made.name!r}"
    assert any(c.isdigit() for c in text.removeprefix(made.name)), f"describe() is {text!r}: it has no version"
    assert "\n" not in text, "describe() has several lines"
    assert text == made.describe(), "describe() changes from one call to the next"
    assert "\n" not in repr(made), "repr has several lines"


def _check_pickles(made: Runtime) -> None:
    """Measurements may be made by worker processes, which are sent the runtime."""
    try:
        again = pickle.loads(pickle.dumps(made))
    except Exception as error:
        raise AssertionError(f"the runtime cannot be sent to a worker process: {error}") from error
    assert again.describe() == made.describe(), "what it is changes on its way to a worker process"


def _check_runs(made: Runtime, folder: Path, bounds: Bounds) -> None:
    import torch

    network, other, inputs = _network(made, seed=0), _network(made, seed=1), _inputs(made, batch=3)
    before, weights = inputs.clone(), [t.clone() for t in network.state_dict().values()]
    expected, others = network(inputs).cpu(), other(inputs).cpu()
    file = folder / f"network{made.suffix}"
    _refuses(InvalidValue, lambda: made.prepare(None, inputs, file), "neither a network nor its file")
    run = made.prepare(network, inputs, file)
    _check_weights(network, weights)
    _check_output(made, run, expected, bounds, "the output")
    first = made.output(run()).clone()
    other_run = made.prepare(other, inputs, folder / f"other{made.suffix}")
    _check_output(made, other_run, others, bounds, "a second network's output")
    _check_same(made, run, first, "run again, after another network, the output")
    if made.suffix:
        _check_file(made, other, inputs, file, first)
    else:
        assert not list(folder.iterdir()), "a runtime without a suffix wrote a file"
    _check_timer(made, run)
    _check_memory(made, network, inputs)
    assert torch.equal(inputs, before), "the inputs were changed"
    _check_weights(network, weights)


def _check_weights(network: torch.nn.Module, before: list[torch.Tensor]) -> None:
    import torch

    now = list(network.state_dict().values())
    same = all(a.dtype == b.dtype and torch.equal(a, b) for a, b in zip(now, before, strict=True))
    assert same, "the network's weights were changed"


def _check_file(
    made: Runtime, other: torch.nn.Module, inputs: torch.Tensor, file: Path, expected: torch.Tensor
) -> None:
    assert file.is_file(), f"prepare left no file {file.name}"
    strange = [path.name for path in file.parent.iterdir() if not path.name.startswith((file.stem, "other"))]
    assert not strange, f"exporting {file.name} wrote {', '.join(strange)}, which begins with another name"
    _refuses(InvalidValue, lambda: made.prepare(other, inputs), "no name for the exported file")
    written, size = file.stat().st_mtime_ns, file.stat().st_size
    _check_same(made, made.prepare(None, inputs, file), expected, "run from its file, the output")
    # the network is another one, so that exporting it would show
    _check_same(made, made.prepare(other, inputs, file), expected, "where its file exists, the output")
    assert (file.stat().st_mtime_ns, file.stat().st_size) == (written, size), "the network was exported a second time"


def _check_one_input(made: Runtime, folder: Path, bounds: Bounds) -> None:
    network, inputs = _network(made, seed=0), _inputs(made, batch=1)
    expected = network(inputs).cpu()
    run = made.prepare(network, inputs, folder / f"one{made.suffix}")
    _check_output(made, run, expected, bounds, "for a batch of one, the output")


def _check_calibration(cls: type[Runtime], device: str, folder: Path, bounds: Bounds) -> None:
    """Given calibration inputs decide the ranges: those of the inputs agree with float32, far narrower ones do not."""
    import torch

    network, inputs = _network(cls(device, 1), seed=0), _inputs(cls(device, 1), batch=1)
    expected = network(inputs).cpu()
    fitting = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(3))

    def prepared(values: torch.Tensor, name: str) -> tuple[Runtime, Run]:
        made = cls(device, 1, precision="int8", calibration=values)
        assert "given inputs" in made.label, f"label is {made.label!r}, which does not say what int8 was calibrated on"
        return made, made.prepare(network, inputs, folder / f"{name}{made.suffix}")

    _check_output(*prepared(fitting, "fitting"), expected, bounds, "calibrated on given inputs, the output")
    narrow, run = prepared(fitting * 1e-3, "narrow")
    clipped = agreement(expected, narrow.output(run()))
    assert clipped.difference > 0.01, "calibrated on inputs of a thousandth of the range, the output is the same"
    wrong = torch.zeros(8, 3, 15, 16)
    _refuses(InvalidValue, lambda: prepared(wrong, "wrong"), "calibration inputs of another shape")


def _check_output(made: Runtime, run: Run, expected: torch.Tensor, bounds: Bounds, what: str) -> None:
    found = _output(made, run, expected, what)
    with_precision = agreement(expected, found)
    if made.precision != "fp32":
        assert with_precision.cosine >= bounds.cosine, (
            f"{what} in {made.precision} has a cosine of {with_precision.cosine:.3g} with that in float32; "
            f"at least {bounds.cosine:g} is needed"
        )
        return
    assert with_precision.difference <= bounds.difference, (
        f"{what} differs by {with_precision.difference:.2g} of its greatest value; allowed is {bounds.difference:g}"
    )


def _check_same(made: Runtime, run: Run, expected: torch.Tensor, what: str) -> None:
    """What the runtime itself gave before, in whatever precision."""
    difference = agreement(expected, _output(made, run, expected, what)).difference
    assert difference <= 1e-5, f"{what} differs by {difference:.2g} of its greatest value; allowed is 1e-05"


def _output(made: Runtime, run: Run, expected: torch.Tensor, what: str) -> torch.Tensor:
    import torch

    found = made.output(run())
    assert isinstance(found, torch.Tensor), f"output() returned a {type(found).__name__}, must be a tensor"
    assert found.device.type == "cpu", f"output() returned a tensor on {found.device}, must be on the CPU"
    assert found.dtype == torch.float32, f"output() returned {found.dtype}, must be float32 whatever the precision is"
    assert found.shape == expected.shape, f"{what} has shape {tuple(found.shape)}, not {tuple(expected.shape)}"
    return found


def _check_timer(made: Runtime, run: Run) -> None:
    timed = made.timer(run)
    timed()
    start = time.perf_counter()
    ms = timed()
    wall = 1000 * (time.perf_counter() - start)
    assert isinstance(ms, float), f"the timer returned a {type(ms).__name__}, must be a float"
    assert 0 < ms <= 1.01 * wall + 0.01, f"the timer says {ms:g} ms for what took {wall:g} ms"


def _check_memory(made: Runtime, network: torch.nn.Module, inputs: torch.Tensor) -> None:
    if not made.reports_memory:
        _refuses(Unsupported, lambda: made.peak_memory(network, inputs), "peak_memory where reports_memory is False")
        return
    size = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1}[made.precision]
    held = size * sum(t.numel() for t in (*network.parameters(), inputs)) / 1e6
    peak = made.peak_memory(network, inputs)
    assert isinstance(peak, float), f"peak_memory returned a {type(peak).__name__}, must be a float"
    assert held <= peak < float("inf"), f"peak_memory says {peak:g} MB; weights and inputs alone are {held:g} MB"


def _check_interruption(made: Runtime, threads: int) -> None:
    import torch

    try:
        with made.running():
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    else:
        raise AssertionError("running() swallows an interruption")
    assert torch.get_num_threads() == threads, "an interruption leaves PyTorch with another number of threads"


def _network(made: Runtime, seed: int) -> torch.nn.Module:
    """A small convolutional network on the runtime's device, in evaluation mode, outside of inference mode as built."""
    import torch
    from torch import nn

    with torch.inference_mode(False):
        torch.manual_seed(seed)
        return (
            nn.Sequential(
                nn.Conv2d(3, 8, 3, padding=1, bias=False),
                nn.BatchNorm2d(8),
                nn.ReLU(),
                nn.Conv2d(8, 16, 3, stride=2, padding=1),
                nn.ReLU(),
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
                nn.Linear(16, 10),
            )
            .eval()
            .to(made.device)
        )


def _inputs(made: Runtime, batch: int) -> torch.Tensor:
    import torch

    with torch.inference_mode(False):
        torch.manual_seed(batch)
        return torch.randn(batch, 3, 16, 16).to(made.device)
