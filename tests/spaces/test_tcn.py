"""TCN: the contract, counts, causality, and how its networks run elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import nastk
from nastk.errors import InvalidArchitecture, InvalidValue
from nastk.oracles.counts import count_network
from nastk.spaces.tcn import CHANNELS, TCN
from nastk.testing import check_space

SPACE = TCN()
TEXT = "c32_f17_d1|c8_f5_d2|c16_f1_d1|c2_f9_d8"


def test_keeps_the_contract_of_spaces() -> None:
    check_space(SPACE, input_size=29, in_channels=3, num_classes=4)


def test_sizes_and_text() -> None:
    assert SPACE.size == 150**4
    assert SPACE.format(SPACE.parse(TEXT)) == TEXT
    assert SPACE.format(SPACE.seed) == "|".join(["c32_f17_d1"] * 4)
    every = np.stack(np.meshgrid(range(6), range(5), range(5), indexing="ij"), -1).reshape(-1, 3)
    assert len(np.unique(SPACE.canonical(np.tile(every, 4)), axis=0)) == 90


@pytest.mark.parametrize("old_new", [("c32", "c33"), ("f5", "f7"), ("|c16", ""), ("_d8", "")])
def test_a_text_of_another_space_is_refused(old_new: tuple[str, str]) -> None:
    with pytest.raises(InvalidArchitecture) as refused:
        SPACE.parse(TEXT.replace(*old_new))
    assert "\n" not in str(refused.value)


def test_a_dilation_beyond_the_field_is_the_greatest_with_two_taps() -> None:
    for dilation, same in (("d16", "d4"), ("d8", "d4")):
        a, b = (SPACE.parse(f"c8_f5_{d}|" * 3 + f"c8_f1_{d}") for d in (dilation, same))
        assert SPACE.keys(np.stack([a, b]))[0] == SPACE.keys(b[None])[0]
        assert [m.kernel_size for m in SPACE.build(a).modules() if isinstance(m, torch.nn.Conv1d)] == [(2,)] * 3 + [
            (1,)
        ]


def test_counts_are_those_of_the_networks() -> None:
    archs = np.concatenate([SPACE.sample(20, 0), SPACE.seed[None]])
    options = {"input_size": 29, "in_channels": 12, "num_classes": 9}
    told = SPACE.statics(archs, **options)
    for i, arch in enumerate(archs):
        counted = count_network(SPACE.build(arch, **options), (12, 29))
        assert {name: told[name][i] for name in counted} == counted


def test_layers_see_the_past_alone_as_far_as_is_told() -> None:
    arch = SPACE.parse("c8_f5_d2|c8_f3_d1|c8_f9_d8|c8_f3_d2")
    torch.manual_seed(0)
    network = SPACE.build(arch, input_size=64).eval().double()
    x = torch.randn(1, 1, 64, dtype=torch.float64, requires_grad=True)
    y = x
    for i, layer in enumerate(network.layers):
        y = layer(y)
        y = network.pool(y) if i in network.pooled else y
    y[0, :, 24].sum().backward()  # steps 48 and 49 of the input
    seen = torch.nonzero(x.grad[0, 0])[:, 0]
    assert int(seen.max()) == 49
    assert 50 - int(seen.min()) == SPACE.statics(arch[None])["field"][0] == 28


def test_series_without_steps_are_refused() -> None:
    for use in (
        SPACE.input_shape,
        lambda **o: SPACE.build(SPACE.seed, **o),
        lambda **o: SPACE.statics(SPACE.seed, **o),
    ):
        with pytest.raises(InvalidValue, match="number of steps"):
            use(input_size=1)


def test_it_is_measured_and_exported(tmp_path: Path) -> None:
    latency = nastk.oracles.Latency(SPACE, rounds=1, builds=1, min_repeats=3, max_seconds=0.05, input_size=16)
    assert 0 < latency.evaluate(SPACE.parse(TEXT)[None]).value[0] < 1000
    network = SPACE.build(SPACE.parse(TEXT), input_size=16).eval()
    x = torch.randn(1, 1, 16)
    program = torch.export.export(network, (x,))
    torch.testing.assert_close(program.module()(x), network(x))


def test_channels_are_those_of_the_options() -> None:
    assert [c.options for c in SPACE.choices[:1]] == [tuple(f"c{c}" for c in CHANNELS)]
