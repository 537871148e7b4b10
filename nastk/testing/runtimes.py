"""Conformance kit of runtimes: what every one of ours, and every third-party one, must keep."""

from __future__ import annotations

import pickle
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nastk.devices import KINDS
from nastk.errors import InvalidValue, Unsupported
from nastk.runtimes.base import Run, Runtime, runtime_class
from nastk.testing.spaces import _refuses

if TYPE_CHECKING:
    import torch


def check_runtime(runtime: str | type[Runtime], device: str = "this", tolerance: float = 1e-3) -> None:
    """Test the contract of :class:`nastk.runtimes.base.Runtime`; raises AssertionError with what is broken.

    Args:
        runtime: a registered name, ``file.py:Class``, or the class.
        device: where to test it.
        tolerance: greatest difference from the outputs of PyTorch in eager mode, as a share of the greatest output. The
            default leaves room for the order of sums in float32; a runtime of another precision needs more.
    """
    import torch

    cls = runtime_class(runtime)
    _check_declaration(runtime, cls, device)
    threads = torch.get_num_threads()
    made = cls(device, threads + 1)
    assert made.threads == threads + 1, f"threads is {made.threads}, not the {threads + 1} that were asked for"
    _check_description(made)
    _check_pickles(made)
    with torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory() as folder:
        with made.running(), torch.inference_mode():
            _check_runs(made, Path(folder), tolerance)
            _check_one_input(made, Path(folder), tolerance)
        assert torch.get_num_threads() == threads, "running() leaves PyTorch with another number of threads"
        assert not torch.is_inference_mode_enabled(), "inference mode is left switched on"
    _check_interruption(made, threads)


def _check_declaration(runtime: str | type[Runtime], cls: type[Runtime], device: str) -> None:
    assert isinstance(cls.name, str), "name must be a string"
    assert cls.name, "name is empty"
    if isinstance(runtime, str) and ":" not in runtime:
        assert cls.name == runtime, f"registered as {runtime}, but its name is {cls.name}"
    assert cls.devices, "devices is empty"
    assert set(cls.devices) <= set(KINDS), f"devices are {cls.devices}; there are {', '.join(KINDS)}"
    assert not cls.suffix or (cls.suffix.startswith(".") and len(cls.suffix) > 1), (
        f"suffix is {cls.suffix!r}; write it with its dot, such as '.onnx'"
    )
    assert isinstance(cls.reports_memory, bool), f"reports_memory is {cls.reports_memory!r}, must be True or False"
    assert cls.available(), f"a module that it requires is not installed: {', '.join(cls.requires)}"
    _refuses(InvalidValue, lambda: cls("no-such-device", 1), "a device that does not exist")
    _refuses(InvalidValue, lambda: cls(device, 0), "no threads")
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


def _check_runs(made: Runtime, folder: Path, tolerance: float) -> None:
    import torch

    network, other, inputs = _network(made, seed=0), _network(made, seed=1), _inputs(made, batch=3)
    before, weights = inputs.clone(), [t.clone() for t in network.state_dict().values()]
    expected, file = network(inputs).cpu(), folder / f"network{made.suffix}"
    _refuses(InvalidValue, lambda: made.prepare(None, inputs, file), "neither a network nor its file")
    run = made.prepare(network, inputs, file)
    _check_output(made, run, expected, tolerance, "the output")
    first = made.output(run()).clone()
    other_run = made.prepare(other, inputs, folder / f"other{made.suffix}")
    _check_output(made, other_run, other(inputs).cpu(), tolerance, "a second network's output")
    _check_output(made, run, first, 1e-5, "run again, after another network, the output")
    if made.suffix:
        _check_file(made, other, inputs, file, first)
    else:
        assert not list(folder.iterdir()), "a runtime without a suffix wrote a file"
    _check_timer(made, run)
    _check_memory(made, network, inputs)
    assert torch.equal(inputs, before), "the inputs were changed"
    same = all(torch.equal(a, b) for a, b in zip(network.state_dict().values(), weights, strict=True))
    assert same, "the network's weights were changed"


def _check_file(
    made: Runtime, other: torch.nn.Module, inputs: torch.Tensor, file: Path, expected: torch.Tensor
) -> None:
    assert file.is_file(), f"prepare left no file {file.name}"
    _refuses(InvalidValue, lambda: made.prepare(other, inputs), "no name for the exported file")
    written, size = file.stat().st_mtime_ns, file.stat().st_size
    _check_output(made, made.prepare(None, inputs, file), expected, 1e-5, "run from its file, the output")
    # the network is another one, so that exporting it would show
    _check_output(made, made.prepare(other, inputs, file), expected, 1e-5, "where its file exists, the output")
    assert (file.stat().st_mtime_ns, file.stat().st_size) == (written, size), "the network was exported a second time"


def _check_one_input(made: Runtime, folder: Path, tolerance: float) -> None:
    network, inputs = _network(made, seed=0), _inputs(made, batch=1)
    run = made.prepare(network, inputs, folder / f"one{made.suffix}")
    _check_output(made, run, network(inputs).cpu(), tolerance, "for a batch of one, the output")


def _check_output(made: Runtime, run: Run, expected: torch.Tensor, tolerance: float, what: str) -> None:
    import torch

    found = made.output(run())
    assert isinstance(found, torch.Tensor), f"output() returned a {type(found).__name__}, must be a tensor"
    assert found.device.type == "cpu", f"output() returned a tensor on {found.device}, must be on the CPU"
    assert found.shape == expected.shape, f"{what} has shape {tuple(found.shape)}, not {tuple(expected.shape)}"
    difference = float((found.double() - expected.double()).abs().max() / expected.double().abs().max())
    assert difference <= tolerance, (
        f"{what} differs by {difference:.2g} of its greatest value; allowed is {tolerance:g}"
    )


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
    held = sum(t.numel() * t.element_size() for t in (*network.parameters(), inputs)) / 1e6
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
