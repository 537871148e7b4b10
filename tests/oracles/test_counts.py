"""Counts of networks against closed forms."""

import numpy as np
import pytest
import torch
from failing import REASONS, Failing
from torch import nn

import nastk
from nastk.errors import UnknownName
from nastk.oracles import Count, Flops, Params, count_network
from nastk.testing import check_oracle

SPACE = nastk.space("nasbench201")


class Dense(nastk.SearchSpace):
    """One hidden layer of one of three widths; no closed form."""

    name = "dense"
    choices = (nastk.Choice("width", ("4", "8", "16")),)

    def build(self, arch, inputs=10, **options):
        width = 4 * 2 ** int(arch[0])
        return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, 2))

    def input_shape(self, inputs=10, **options):
        return (inputs,)


class Fickle(Dense):
    """Its network looks at values, so it cannot be counted without them."""

    def build(self, arch, **options):
        class Gate(nn.Module):
            def forward(self, x):
                return x if x.sum() > 0 else -x

        return nn.Sequential(Gate(), super().build(arch, **options))


def test_a_convolution_counts_weights_times_outputs_and_a_bias_once_an_output():
    assert count_network(nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), (4, 8, 8)) == {
        "params": 6 * 2 * 9 + 6,
        "flops": 6 * 2 * 9 * 16 + 6 * 16,
    }


def test_normalisation_activation_and_pooling_are_free():
    network = nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1))
    assert count_network(network, (4, 8, 8)) == {"params": 8, "flops": 0}


def test_a_layer_used_twice_counts_twice_in_work_and_once_in_parameters():
    layer = nn.Linear(5, 5)
    assert count_network(nn.Sequential(layer, layer), (5,)) == {"params": 30, "flops": 60}


def test_attention_counts_its_two_products():
    network = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
    linear = 10 * (64 * 192 + 64 * 64 + 2 * 64 * 128)
    products = 2 * 10 * 10 * 64
    biases = 10 * (128 + 64 + 192 + 64)
    assert count_network(network, (10, 64))["flops"] == linear + products + biases


def test_counting_leaves_the_network_as_it_was():
    network = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(), nn.Linear(3, 2))
    network[1].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    count_network(network, (3,))
    assert [m.training for m in network] == [True, False, True]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(m._forward_hooks for m in network.modules())


@pytest.mark.parametrize(
    "oracle", [Params(SPACE), Flops(SPACE, num_classes=100), Count(SPACE, "depth"), Flops(Dense())]
)
def test_counts_keep_the_contract_of_oracles(oracle: nastk.Oracle):
    check_oracle(oracle, oracle.space.sample(3, 0))


def test_counts_are_free_and_exact():
    evaluation = Flops(SPACE).evaluate(SPACE.from_index([0, 11, 284]))
    assert evaluation.value.tolist() == [15647370, 113951370, 11715210]
    assert not evaluation.std.any()
    assert not evaluation.cost.any()
    assert not Flops(SPACE).expensive


def test_a_space_without_a_closed_form_is_counted_in_its_networks():
    archs = Dense().enumerate()
    assert Params(Dense())(archs).tolist() == [10 * w + w + 2 * w + 2 for w in (4, 8, 16)]
    assert Flops(Dense(), inputs=20)(archs).tolist() == [20 * w + w + 2 * w + 2 for w in (4, 8, 16)]


def test_a_network_that_looks_at_values_is_counted_with_weights():
    assert Params(Fickle())([1]).tolist() == Params(Dense())([1]).tolist()


def test_an_unknown_count_names_the_known_ones():
    with pytest.raises(UnknownName, match="params"):
        Count(SPACE, "param")


def test_a_network_that_cannot_be_built_or_run_has_no_count_and_the_others_have_theirs():
    space, counts = Failing(), Flops(Failing())
    texts = space.choices[0].options
    values = counts.evaluate(list(texts)).value
    assert {text for text, value in zip(texts, values, strict=True) if np.isnan(value)} == set(REASONS)
    assert all(counts.reasons[text].startswith(reason) for text, reason in REASONS.items())
    plain, lazy = values[texts.index("plain")], values[texts.index("lazy")]
    stem = 8 * 27 * 36 + 8 * 36
    assert plain == stem + 80 + 10
    assert lazy == stem + 6 * 72 * 16 + 6 * 16 + 96 * 10 + 10
