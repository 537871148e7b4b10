"""FBNet: text, counts and network against the public tables."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import nastk
from nastk.errors import InvalidArchitecture, InvalidValue
from nastk.oracles.counts import count_network
from nastk.spaces.fbnet import DATASETS, OPERATIONS, FBNet, skeleton
from nastk.testing import check_space

SPACE = FBNet()


@pytest.fixture(scope="session")
def table(raw: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Architectures, params and flops of NAS-Bench-Suite-Zero's FBNet file."""
    rows = json.loads((raw / "nasflat_latency" / "zc_fbnet.json").read_text())
    columns = (np.array([row[name] for row in rows.values()]) for name in ("params", "flops"))
    return SPACE.as_archs(list(rows)), *columns


def test_keeps_the_contract_of_spaces():
    check_space(SPACE)


def test_a_pool_of_it_keeps_the_contract_of_spaces():
    check_space(nastk.Pool(SPACE, SPACE.sample(30, 1)))


def test_has_exactly_9_to_the_22_architectures():
    assert SPACE.size == 9**22
    assert len({c.group for c in SPACE.choices}) == 7


def test_text_is_operations_joined_by_bars_and_reads_the_tables_keys():
    key = "2_8_6_3_8_4_8_4_1_8_7_8_0_6_2_5_2_6_0_2_7_7"
    arch = SPACE.parse(key)
    assert SPACE.format(arch).startswith("k3_e3|skip|k5_e3|k3_e6|skip|k5_e1|")
    assert np.array_equal(SPACE.parse(SPACE.format(arch)), [int(v) for v in key.split("_")])


@pytest.mark.parametrize("text", ["k3_e1", "|".join(["k3_e1"] * 21 + ["k9_e9"]), "_".join(["9"] * 22)])
def test_a_text_of_another_space_is_refused(text: str):
    with pytest.raises(InvalidArchitecture):
        SPACE.parse(text)


def test_counts_are_by_stage_and_in_all():
    matrix, names = SPACE.count_matrix(grouped=True)
    everywhere_skip = SPACE.one_hot(SPACE.as_archs([8] * 22)) @ matrix
    skips = {name: count for name, count in zip(names, everywhere_skip[0], strict=True) if count}
    assert skips == {f"stage {i}:skip": n for i, n in enumerate((1, 4, 4, 4, 4, 4, 1), 1)}
    assert len(SPACE.count_matrix()[1]) == len(OPERATIONS)


@pytest.mark.data
def test_parameters_are_exactly_the_tables(table: tuple[np.ndarray, ...]):
    archs, params, _ = table
    assert np.array_equal(SPACE.statics(archs)["params"], params)


@pytest.mark.data
def test_the_tables_flops_are_ours_plus_normalisation_relu_and_pooling(table: tuple[np.ndarray, ...]):
    archs, _, flops = table
    extra = np.zeros((22, len(OPERATIONS)))
    layers = skeleton()
    for i, layer in enumerate(layers):
        before, after = layer.side_in**2, layer.side_out**2
        for j, name in enumerate(OPERATIONS[:-1]):
            middle = layer.c_in * int(name.split("_")[1][1:])
            # two per normalised element, one per element of the second ReLU (the table leaves the first one out)
            extra[i, j] = 2 * middle * (before + after) + 2 * layer.c_out * after + middle * after
        extra[i, -1] = 0 if layer.same_shape else 3 * layer.c_out * after
    constant = (
        3 * 16 * 32**2 + 3 * 1504 * 4**2 + 1504 * 4**2 - 100
    )  # stem, head, pooling; the classifier's bias is ours
    ours = SPACE.statics(archs)["flops"]
    assert np.array_equal(ours + extra[np.arange(22), archs].sum(axis=1) + constant, flops)


@pytest.mark.data
def test_reads_the_architectures_of_the_latency_tables(raw: Path):
    archs = torch.load(raw / "help" / "fbnet" / "arch.pt", weights_only=True)
    assert SPACE.as_archs(archs).shape == (5000, 22)


@pytest.mark.parametrize("dataset", DATASETS)
def test_closed_form_counts_are_those_of_the_built_networks(dataset: str):
    options = DATASETS[dataset]
    archs = SPACE.sample(5, 3)
    statics = SPACE.statics(archs, **options)
    for i, arch in enumerate(archs):
        with torch.device("meta"):
            network = SPACE.build(arch, **options)
        counted = count_network(network, SPACE.input_shape(**options))
        assert counted == {"params": statics["params"][i], "flops": statics["flops"][i]}


def test_strides_bring_images_down_to_a_32nd_and_small_ones_to_an_8th():
    assert skeleton("imagenet", 224)[-1].side_out == 7
    assert skeleton("cifar", 32)[-1].side_out == 4
    with pytest.raises(InvalidValue, match="cifar, imagenet"):
        skeleton("svhn")


def test_a_skip_is_the_identity_unless_the_shape_changes():
    layers = SPACE.build(SPACE.as_archs([8] * 22))
    identities = sum(isinstance(layer, nn.Identity) for layer in layers)
    assert identities == 22 - 6


def test_grouped_layers_mix_their_groups():
    torch.manual_seed(0)
    block = SPACE.build(SPACE.as_archs([1] * 22)).eval()[3].body
    x = torch.zeros(1, 16, 4, 4)
    x[:, :8] = torch.randn(1, 8, 4, 4)
    with torch.inference_mode():
        changed = (block(x) - block(torch.zeros_like(x))).abs().amax(dim=(0, 2, 3))
    assert (changed > 0).all()
