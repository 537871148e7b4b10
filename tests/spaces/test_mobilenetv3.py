"""MobileNetV3: rows, moves, graphs, counts and network against the papers' descriptions."""

import numpy as np
import pytest
import torch

import nastk
from nastk.errors import InvalidArchitecture, InvalidValue
from nastk.oracles.counts import count_network
from nastk.spaces.mobilenetv3 import (
    DEPTHS,
    EXPANSIONS,
    KERNELS,
    RESOLUTIONS,
    MobileNetV3,
    Settings,
    active_layers,
    round_channels,
    widths,
)
from nastk.testing import check_space

SPACE = MobileNetV3()
LARGE = {  # MobileNetV3-Large as near as the space has it: three layers of stage 3 expand by 3 instead of 2.3 to 2.5
    "ks": [3, 3, 3, 3, 5, 5, 5, 3, 3, 3, 3, 3, 3, 3, 3, 3, 5, 5, 5, 3],
    "e": [4, 3, 3, 3, 3, 3, 3, 3, 6, 3, 3, 3, 6, 6, 3, 3, 6, 6, 6, 3],
    "d": [2, 3, 4, 2, 3],
    "r": 224,
}
SMALL_NETWORKS = {"width": 0.5, "input_size": 32, "num_classes": 10}


def as_written(n: int, seed: int = 0) -> np.ndarray:
    """Rows with kernels and expansions of layers that do not exist."""
    return np.random.default_rng(seed).integers(0, SPACE.sizes, (n, SPACE.d))


def test_keeps_the_contract_of_spaces():
    check_space(SPACE)


def test_keeps_the_contract_with_small_networks():
    check_space(SPACE, n=16, seed=5, **SMALL_NETWORKS)


def test_a_pool_of_it_keeps_the_contract_of_spaces():
    check_space(nastk.Pool(SPACE, SPACE.sample(30, 1)), **SMALL_NETWORKS)


def test_has_the_papers_choices():
    assert (DEPTHS, KERNELS, EXPANSIONS) == ((2, 3, 4), (3, 5, 7), (3, 4, 6))
    assert (RESOLUTIONS[0], RESOLUTIONS[-1], len(RESOLUTIONS)) == (128, 224, 25)
    assert SPACE.size == 3**45 * 25
    assert [c.group for c in SPACE.choices].count("stage 3") == 1 + 4 + 4


# ---- text and the library's dictionaries


def test_text_says_resolution_depths_kernels_and_expansions():
    arch = SPACE.from_ofa(LARGE)
    text = "r224-d2,3,4,2,3-k3,3,3,3,5,5,5,3,3,3,3,3,3,3,3,3,5,5,5,3-e4,3,3,3,3,3,3,3,6,3,3,3,6,6,3,3,6,6,6,3"
    assert SPACE.format(arch) == text
    assert np.array_equal(SPACE.parse(text), arch)


def test_text_keeps_rows_as_they_are_written():
    rows = as_written(20)
    assert np.array_equal(SPACE.as_archs(SPACE.format_all(rows)), rows)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("r224", "r225", "resolution is 225, must be one of 128 to 224 in steps of 4"),
        ("r224", "r900", "resolution is 900"),
        ("-d2", "-d5", "depth is 5, must be one of 2, 3, 4"),
        ("-k3", "-k4", "kernel is 4, must be one of 3, 5, 7"),
        ("-e4", "-e5", "expansion is 5, must be one of 3, 4, 6"),
        ("-e4,3", "-e4", "expected 20 integers of expansion"),
        ("-e4,", "-e,", "expansion is -1"),
        ("-d2", "-d2,2", "expected 5 integers of depth"),
        ("r224-", "", "expected r<resolution>"),
    ],
)
def test_a_text_of_another_space_is_refused_in_one_line(old: str, new: str, message: str):
    text = SPACE.format(SPACE.from_ofa(LARGE)).replace(old, new, 1)
    with pytest.raises(InvalidArchitecture) as refused:
        SPACE.parse(text)
    assert "\n" not in str(refused.value)
    assert message in str(refused.value)


def test_dictionaries_of_the_library_round_trip():
    for arch in SPACE.sample(10, 1):
        subnet = SPACE.to_ofa(arch)
        assert (len(subnet["ks"]), len(subnet["e"]), len(subnet["d"])) == (20, 20, 5)
        assert np.array_equal(SPACE.from_ofa(subnet), arch)
    assert SPACE.to_ofa(SPACE.from_ofa(LARGE)) == LARGE


def test_a_dictionary_may_hold_more_keys_and_its_resolution_in_a_list():
    assert np.array_equal(SPACE.from_ofa({**LARGE, "wid": None, "r": [224]}), SPACE.from_ofa(LARGE))


def test_layers_beyond_a_stages_depth_do_not_matter():
    other = {**LARGE, "ks": [3, 3, 7, 7, *LARGE["ks"][4:]], "e": [4, 3, 6, 6, *LARGE["e"][4:]]}
    assert np.array_equal(SPACE.from_ofa(other), SPACE.from_ofa(LARGE))


@pytest.mark.parametrize(
    "change",
    [{"r": 100}, {"r": None}, {"ks": [3] * 19}, {"ks": [3] * 19 + [9]}, {"e": [[3]] * 20}, {"d": [2.5] * 5}, {"d": 3}],
)
def test_a_wrong_dictionary_is_refused(change: dict):
    with pytest.raises(InvalidArchitecture):
        SPACE.from_ofa({**LARGE, **change})


def test_a_dictionary_without_resolution_is_refused():
    with pytest.raises(InvalidArchitecture, match="'r' is missing"):
        SPACE.from_ofa({key: LARGE[key] for key in ("ks", "e", "d")})


# ---- isomorphic encodings


def test_canonical_form_changes_only_layers_that_do_not_exist():
    rows = as_written(200)
    canonical, active = SPACE.canonical(rows), active_layers(rows)
    for part in (slice(5, 25), slice(25, 45)):
        assert np.array_equal(canonical[:, part][active], rows[:, part][active])
        assert (canonical[:, part][~active] == 0).all()
    assert np.array_equal(canonical[:, [*range(5), 45]], rows[:, [*range(5), 45]])
    assert (canonical != rows).any()


def test_rows_of_the_same_network_have_the_same_key():
    rows = as_written(50)
    twins = rows.copy()
    inactive = ~active_layers(rows)
    twins[:, 5:25][inactive] = (twins[:, 5:25][inactive] + 1) % 3
    assert (twins != rows).any(axis=1).sum() > 40
    assert SPACE.keys(twins) == SPACE.keys(rows)
    assert len(set(SPACE.keys(rows))) == 50
    assert np.array_equal(SPACE.statics(twins)["flops"], SPACE.statics(rows)["flops"])


def test_samples_are_canonical_and_each_depth_is_equally_likely():
    archs = SPACE.sample(6000, 0)
    assert np.array_equal(SPACE.canonical(archs), archs)
    for depth in range(3):
        assert (archs[:, :5] == depth).mean() == pytest.approx(1 / 3, abs=0.02)


# ---- moves


def test_every_mutation_is_another_network():
    for parents in (SPACE.sample(3000, 0), as_written(3000)):
        for n_changes in (1, 3):
            children = SPACE.mutate(parents, 1, n_changes)
            assert np.array_equal(SPACE.canonical(children), children)
            assert (children != SPACE.canonical(parents)).any(axis=1).all()


def test_a_mutation_changes_one_depth_one_layer_or_the_resolution():
    parents = SPACE.sample(3000, 0)
    children = SPACE.mutate(parents, 1)
    changed = children != parents
    depth = changed[:, :5].sum(axis=1)
    both = active_layers(parents) & active_layers(children)
    layers = (changed[:, 5:25] & both).sum(axis=1) + (changed[:, 25:45] & both).sum(axis=1)
    assert (depth + layers + changed[:, 45] == 1).all()
    assert min(depth.sum(), layers.sum(), changed[:, 45].sum()) > 30


def test_layers_that_a_mutation_brings_in_have_any_kernel_and_expansion():
    parents = SPACE.sample(3000, 0)
    children = SPACE.mutate(parents, 1)
    fresh = active_layers(children) & ~active_layers(parents)
    assert fresh.sum() > 100
    for part in (slice(5, 25), slice(25, 45)):
        assert np.bincount(children[:, part][fresh], minlength=3).min() > 0.2 * fresh.sum()


def test_neighbours_are_all_other_networks_once():
    for arch in (SPACE.from_ofa(LARGE), as_written(1)[0]):
        around = SPACE.neighbours(arch)
        active = int(active_layers(arch[None]).sum())
        assert len(around) == 5 * 2 + active * 4 + 24
        assert np.array_equal(SPACE.canonical(around), around)
        assert len({*SPACE.keys(around), *SPACE.keys(arch[None])}) == len(around) + 1


def test_a_layer_that_only_one_parent_has_comes_from_that_parent():
    shallow, deep = np.zeros((500, 46), dtype=np.int64), np.full((500, 46), 2)
    deep[:, 45] = 0
    children = SPACE.crossover(shallow, deep, 0)
    assert np.array_equal(SPACE.canonical(children), children)
    third = children[:, 5:25].reshape(-1, 5, 4)[:, :, 2]
    assert (third[children[:, :5] == 2] == 2).all()
    assert 0.4 < (children[:, :5] == 2).mean() < 0.6


# ---- graphs


def test_the_graph_is_a_chain_of_the_layers_that_exist():
    graph = SPACE.graph(SPACE.from_ofa(LARGE))
    ops = [graph.nodes[n]["op"] for n in graph]
    assert ops[:5] == ["input", "r224", "s1_k3_e4", "s1_k3_e3", "s2_k5_e3"]
    assert ops[-3:] == ["s5_k5_e6", "s5_k5_e6", "output"]
    assert len(graph) == 3 + 14
    assert [d for _, d in graph.out_degree()] == [1] * 16 + [0]


def test_graphs_as_arrays_are_the_graphs():
    import networkx as nx

    archs = np.concatenate([SPACE.sample(30, 2), as_written(10)])
    labels, operations, adjacency = SPACE.graphs(archs)
    assert labels[:3] == ("input", "output", "none")
    for arch, row, edges in zip(archs, operations, adjacency, strict=True):
        used = row != 2
        assert not edges[~used].any()
        assert not edges[:, ~used].any()
        assert not np.tril(edges).any()
        made = nx.from_numpy_array(edges[np.ix_(used, used)], create_using=nx.DiGraph)
        nx.set_node_attributes(made, {i: labels[op] for i, op in enumerate(row[used])}, "op")
        expected = SPACE.graph(arch)
        order = list(nx.topological_sort(made))
        assert [made.nodes[n]["op"] for n in order] == [op for _, op in expected.nodes(data="op")]
        assert set(made.edges) == {(i, i + 1) for i in range(len(expected) - 1)}


# ---- counts and network


def test_channels_are_those_of_mobilenetv3_large_and_of_the_wider_network():
    assert widths(1.0) == (16, (24, 40, 80, 112, 160), 960, 1280)
    assert widths(1.2) == (24, (32, 48, 96, 136, 192), 1152, 1536)
    assert [round_channels(c) for c in (1, 11, 12, 18, 19.2, 28.8)] == [8, 16, 16, 24, 24, 32]
    with pytest.raises(InvalidValue, match="width"):
        widths(0)


def test_parameters_are_those_of_mobilenetv3_large():
    # torchvision.models.mobilenet_v3_large has 5,483,032; its convolution before the classifier has 1,280 biases more,
    # and three layers of stage 3 have 200, 184 and 184 channels inside instead of 240
    inside = 3 * 240 - 200 - 184 - 184
    per_channel = 80 + 9 + 80 + 2 * 2
    arch = SPACE.from_ofa(LARGE)[None]
    assert SPACE.statics(arch, width=1.0)["params"] == 5_483_032 - 1280 + inside * per_channel


def test_multiply_adds_are_those_of_mobilenetv3_large():
    # 219 million in the paper's Table 3, 217 million in its authors' later table; counts differ in biases and pooling
    wider = (3 * 240 - 200 - 184 - 184) * (80 + 9 + 80) * 14**2
    flops = SPACE.statics(SPACE.from_ofa(LARGE)[None], width=1.0)["flops"]
    assert flops - wider == pytest.approx(217e6, rel=0.005)


@pytest.mark.parametrize(
    "options",
    [{}, {"width": 1.0}, {"input_size": 100, "num_classes": 7, "in_channels": 1}, {"width": 0.35, "input_size": 37}],
)
def test_closed_form_counts_are_those_of_the_built_networks(options: dict):
    archs = SPACE.sample(6, 3)
    statics = SPACE.statics(archs, **options)
    for i, arch in enumerate(archs):
        with torch.device("meta"):
            network = SPACE.build(arch, **options)
        counted = count_network(network, SPACE.input_shape(**options))
        assert counted == {"params": statics["params"][i], "flops": statics["flops"][i]}


class Narrow(MobileNetV3):
    width = 0.05
    divisor = 4
    strides = (1, 1, 2, 1, 1, 2)


def test_a_space_of_its_own_divisor_and_strides_is_counted_as_it_is_built():
    space, options = Narrow(), {"input_size": 9, "in_channels": 1, "num_classes": 3}
    archs = space.sample(4, 0)
    statics = space.statics(archs, **options)
    for i, arch in enumerate(archs):
        network = space.build(arch, **options)
        counted = count_network(network, space.input_shape(**options))
        assert counted == {"params": statics["params"][i], "flops": statics["flops"][i]}
    convolutions = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)]
    assert convolutions[0].out_channels == 4
    assert sum(convolution.stride == (2, 2) for convolution in convolutions) == 2


def test_a_network_sees_images_at_its_own_resolution():
    arch = SPACE.parse(SPACE.format(SPACE.from_ofa(LARGE)).replace("r224", "r128"))
    network = SPACE.build(arch, width=0.5, num_classes=10).eval()
    seen = []
    network[1].register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
    x = torch.randn(2, 3, 128, 128)
    with torch.inference_mode():
        same = network(x)
        assert network(torch.randn(2, 3, 224, 200)).shape == (2, 10)
        assert torch.equal(network(x), same)
    assert set(seen) == {(2, 3, 128, 128)}
    assert count_network(network, (3, 224, 224)) == count_network(network, (3, 128, 128))


def test_depth_is_the_number_of_searched_layers():
    assert SPACE.statics(SPACE.from_ofa(LARGE)[None])["depth"] == 14


def test_an_input_size_replaces_every_resolution():
    archs = SPACE.sample(2, 0)
    same = archs.copy()
    same[:, 45] = 7
    one, other = (SPACE.statics(a, input_size=64)["flops"] for a in (archs, same))
    assert np.array_equal(one, other)
    assert SPACE.input_shape() == (3, 224, 224)
    assert SPACE.input_shape(input_size=64) == (3, 64, 64)
    for wrong in (lambda: SPACE.input_shape(input_size=0), lambda: SPACE.build(archs[0], input_size=-1)):
        with pytest.raises(InvalidValue, match="input_size"):
            wrong()


def test_layers_have_the_kernels_expansions_strides_and_activations_of_their_stage():
    with torch.device("meta"):
        network = SPACE.build(SPACE.from_ofa(LARGE), width=1.0)
    layers = [m for m in network if type(m).__name__ == "InvertedResidual"]
    depthwise = [next(c for c in m.modules() if isinstance(c, torch.nn.Conv2d) and c.groups > 1) for m in layers]
    kernels = [c.kernel_size[0] for c in depthwise]
    assert kernels == [3, 3, 3, 5, 5, 5, 3, 3, 3, 3, 3, 3, 5, 5, 5]
    assert [c.stride[0] for c in depthwise] == [1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1]
    assert [c.groups for c in depthwise[:8]] == [16, 64, 72, 72, 120, 120, 240, 240]
    swish = [any(isinstance(c, torch.nn.Hardswish) for c in m.modules()) for m in layers]
    assert swish == [False] * 6 + [True] * 9
    gates = [any(type(c).__name__ == "SqueezeExcitation" for c in m.modules()) for m in layers]
    assert gates == [False] * 3 + [True] * 3 + [False] * 4 + [True] * 5
    assert [m.residual for m in layers] == [c.stride[0] == 1 and i != 10 for i, c in enumerate(depthwise)]


def test_every_proxy_can_be_computed_on_its_networks():
    from nastk.oracles.zerocost import ZeroCost

    proxies = ZeroCost(SPACE, batch_size=4, cache=False, **{**SMALL_NETWORKS, "input_size": 64})
    assert np.isfinite(proxies(SPACE.sample(1, 0))).all()


def test_settings_and_rows_are_inverse():
    rows = as_written(30)
    assert np.array_equal(SPACE.from_settings(SPACE.settings(rows)), rows)
    with pytest.raises(InvalidArchitecture):
        SPACE.from_settings(Settings(*(part[:, None] for part in SPACE.settings(rows))))
