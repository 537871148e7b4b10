"""Measured latency and peak memory."""

import gc
import re
import time

import numpy as np
import pytest
import torch
from failing import REASONS, Failing
from torch import nn

import nastk
from nastk.devices import describe_device
from nastk.errors import InvalidValue, MissingExtra, NastkError, Unsupported, installing
from nastk.oracles import Latency
from nastk.oracles._on_runtime import example
from nastk.spaces._networks import set_statistics
from nastk.testing import check_oracle

SPACE = nastk.space("nasbench201")
TINY = {"channels": 4, "cells_per_stage": 1, "input_size": 8}
QUICK = {"rounds": 3, "warmup": 0.0, "max_seconds": 0.05, "min_repeats": 9, "max_repeats": 30}
NOTHING, EVERYTHING = [0] * 6, [3] * 6


class Clock:
    """Time that only `time.sleep` moves: a network that sleeps 2 ms takes 2 ms, whatever else this machine does."""

    now = 0

    def sleep(self, seconds: float) -> None:
        self.now += round(seconds * 1e9)

    def perf_counter_ns(self) -> int:
        return self.now

    def perf_counter(self) -> float:
        return self.now / 1e9


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for name in ("sleep", "perf_counter_ns", "perf_counter"):
        monkeypatch.setattr(time, name, getattr(made, name))
    return made


class Sleeper(nastk.SearchSpace):
    """Networks that take a known time, that fail to build, or that fail to run."""

    name = "sleeper"
    choices = (nastk.Choice("what", ("2 ms", "8 ms", "no build", "no memory", "stop")),)
    built = 0

    def build(self, arch, **options):
        what = int(arch[0])
        self.built += 1

        class Sleep(nn.Module):
            def forward(self, x):
                if what == 3:
                    raise torch.OutOfMemoryError("out of memory\nTried to allocate 20 GiB")
                if what == 4:
                    raise KeyboardInterrupt
                time.sleep([0.002, 0.008][what])
                return x

        if what == 2:
            raise MemoryError("too wide")
        return Sleep()

    def input_shape(self, **options):
        return (1,)


def test_latency_keeps_the_contract_of_oracles():
    check_oracle(Latency(SPACE, **QUICK, **TINY), [NOTHING, EVERYTHING], repeatable=False)


def test_measures_what_a_network_is_known_to_take(clock: Clock):
    evaluation = Latency(Sleeper(), **QUICK).evaluate([[0], [1]])
    assert evaluation.value.tolist() == pytest.approx([2.0, 8.0])
    assert (evaluation.cost > 0).all()
    assert evaluation.std.tolist() == pytest.approx([0.0, 0.0])


@pytest.mark.alone
def test_a_heavier_network_takes_longer():
    light, heavy = Latency(SPACE, **QUICK)([NOTHING, EVERYTHING])
    assert light < heavy


def test_the_interval_holds_the_median_and_runs_stay_within_the_limits():
    found = Latency(SPACE, **QUICK, **TINY).measure(EVERYTHING)
    assert 0 < found.low <= found.median <= found.high
    assert 9 <= found.repeats <= 30
    assert found.spread >= 0


def test_what_fails_is_nan_with_a_reason_and_the_rest_is_measured():
    oracle = Latency(Sleeper(), **QUICK)
    evaluation = oracle.evaluate([[2], [0], [3]])
    assert np.isnan(evaluation.value).tolist() == [True, False, True]
    assert np.isnan(evaluation.std).tolist() == [True, False, True]
    assert oracle.reasons == {
        "no build": "MemoryError: too wide",
        "no memory": "OutOfMemoryError: out of memory Tried to allocate 20 GiB",
    }


@pytest.mark.parametrize("runtime", ["torch", pytest.param("onnx", marks=pytest.mark.slow)])
def test_whatever_a_network_raises_is_its_own_failure(runtime: str):
    if runtime == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    space = Failing()
    archs = [text for text in space.choices[0].options if runtime == "torch" or text in ("plain", "lazy", *REASONS)]
    oracle = Latency(space, runtime=runtime, **QUICK)
    found = oracle.evaluate(archs)
    assert {text for text, value in zip(archs, found.value, strict=True) if np.isnan(value)} == set(REASONS)
    assert set(oracle.reasons) == set(REASONS)
    for text, reason in oracle.reasons.items():
        assert reason.startswith(REASONS[text])
        assert "\n" not in reason


def test_an_error_of_ours_is_not_a_failure_of_the_network():
    class NoShape(Failing):
        def input_shape(self, **options):
            raise Unsupported("no input shape")

    with pytest.raises(Unsupported, match="no input shape"):
        Latency(NoShape(), **QUICK).evaluate(["plain"])


def test_what_fails_is_not_tried_again_in_later_rounds():
    space = Sleeper()
    Latency(space, **QUICK)([2])
    assert space.built == 1


def test_measuring_one_that_fails_raises():
    with pytest.raises(MemoryError, match="too wide"):
        Latency(Sleeper(), **QUICK).measure([2])


def test_an_interruption_passes_through_and_puts_everything_back():
    threads = torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        Latency(Sleeper(), threads=threads + 1, **QUICK)([4])
    assert torch.get_num_threads() == threads
    assert gc.isenabled()


def test_threads_and_random_state_are_put_back():
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    Latency(SPACE, threads=threads + 1, **QUICK, **TINY)([NOTHING])
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)


def test_networks_take_turns():
    order = []

    class Watched(Sleeper):
        def build(self, arch, **options):
            order.append(int(arch[0]))
            return super().build(arch)

    Latency(Watched(), together=2, **QUICK)([[0], [1], [0]])
    assert order == [0, 1] * 3 + [0] * 3


def test_progress_is_told_once_an_architecture():
    told = []
    oracle = Latency(Sleeper(), together=2, progress=lambda done, total: told.append((done, total)), **QUICK)
    oracle([[0], [0], [2], [0]])
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_peak_memory_is_the_weights_the_input_and_the_greatest_sum_of_live_activations():
    class Straight(nastk.SearchSpace):
        name = "straight"
        choices = (nastk.Choice("width", ("8",)),)

        def build(self, arch, **options):
            return nn.Sequential(nn.Linear(100, 200, bias=False), nn.ReLU(), nn.Linear(200, 50, bias=False))

        def input_shape(self, **options):
            return (100,)

    found = Latency(Straight(), batch=10, **QUICK).measure([0])
    weights, images = 100 * 200 + 200 * 50, 10 * 100
    activations = 10 * (200 + 200)  # the ReLU's input and output are alive together
    assert found.peak_memory == pytest.approx(4 * (weights + images + activations) / 1e6)


def test_peak_memory_is_the_same_each_time():
    oracle = Latency(SPACE, **QUICK, **TINY)
    assert oracle.measure(EVERYTHING).peak_memory == oracle.measure(EVERYTHING).peak_memory


def test_a_processor_that_changes_its_speed_between_rounds_does_not_change_the_order(clock: Clock):
    class Slowing(nastk.SearchSpace):
        name = "slowing"
        choices = (nastk.Choice("ms", ("2", "3", "5", "6", "9", "12")),)

        def build(self, arch, **options):
            ms = int(self.choices[0].options[int(arch[0])])

            class Sleep(nn.Module):
                def forward(self, x):
                    time.sleep(ms / 1000 * (1.5 if time.perf_counter() % 0.4 < 0.25 else 1.0))
                    return x

            return Sleep()

        def input_shape(self, **options):
            return (1,)

    values = Latency(Slowing(), **{**QUICK, "rounds": 5, "min_repeats": 25})(Slowing().enumerate())
    assert (np.diff(values) > 0).all()


@pytest.mark.alone
def test_onnx_runtime_measures_the_same_order():
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    oracle = Latency(SPACE, runtime="onnx", **QUICK, channels=16, cells_per_stage=1)
    light, heavy = oracle.measure_many([NOTHING, EVERYTHING])
    assert light.median < heavy.median
    assert np.isnan(light.peak_memory)
    assert "onnx" in oracle.source


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(MissingExtra, match=re.escape(installing("onnx"))):
        Latency(SPACE, runtime="onnx")


def test_devices_that_are_not_here_are_an_error_that_lists_those_that_are():
    if not torch.cuda.is_available():
        with pytest.raises(NastkError, match=r"no cuda.*: this"):
            Latency(SPACE, device="cuda")
    with pytest.raises(InvalidValue, match="unknown device 'pixel9'"):
        Latency(SPACE, device="pixel9")
    with pytest.raises(InvalidValue, match="unknown device 'pixel9'"):
        Latency(SPACE, device="pixel9", runtime="onnx")
    with pytest.raises(InvalidValue, match="the onnx runtime runs on cpu only, not on cuda:1"):
        Latency(SPACE, device="cuda:1", runtime="onnx")


@pytest.mark.parametrize("option", ["batch", "threads", "rounds", "builds", "min_repeats", "together"])
def test_options_below_one_are_refused(option: str):
    with pytest.raises(InvalidValue, match=f"{option} is 0"):
        Latency(SPACE, **{option: 0})


def test_the_source_says_device_runtime_batch_and_threads():
    source = Latency(SPACE, batch=4, threads=2).source
    assert source.startswith(f"measured on {describe_device()}")
    assert f"torch {torch.__version__.split('+')[0]}, batch 4, 2 threads" in source


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_is_timed_by_events_and_tells_the_allocators_peak():
    found = Latency(SPACE, device="cuda", **QUICK).measure(EVERYTHING)
    assert found.median > 0
    assert found.peak_memory > 1


def test_networks_that_are_compared_answer_more_than_the_biases_of_their_last_layer():
    space = nastk.space("fbnet")
    arch = space.sample(1, 0)[0]
    spread = []
    for compared in (False, True):
        network, inputs = example(space, arch, 4, compared=compared)
        with torch.no_grad():
            outputs = network(inputs)
        spread.append(float((outputs - outputs.mean(0)).abs().max() / outputs.abs().max()))
        assert not network.training
        assert all(m.momentum == 0.1 for m in network.modules() if isinstance(m, nn.BatchNorm2d))
    assert spread[0] < 1e-4  # the signal of an untrained deep network vanishes
    assert spread[1] > 0.1


def test_normalisation_that_sees_one_value_keeps_its_statistics():
    network = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4)).eval()
    set_statistics(network, torch.ones(1, 4))
    assert torch.equal(network[1].running_mean, torch.zeros(4))
    set_statistics(network, torch.tensor([[1.0] * 4, [3.0] * 4]))
    assert torch.equal(network[1].running_mean, torch.full((4,), 2.0))
