"""NASLib's search spaces through the adapter: on a stand-in, and on NASLib itself where it can be imported.

NASLib is on no package index, so that the second half skips unless its source is on the path; the command is in
`nastk.spaces.naslib.INSTALL`.
"""

from __future__ import annotations

import inspect
import pickle
import sys
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import naslib_stand_in
import numpy as np
import pytest
import torch

import nastk
from nastk.cli import run
from nastk.errors import InvalidArchitecture, InvalidValue, MissingExtra, NastkError, UnknownName, Unsupported
from nastk.oracles.zerocost import ZeroCost
from nastk.spaces.base import SearchSpace
from nastk.spaces.naslib import NEEDS
from nastk.testing import check_space

OURS = {
    "NasBench101SearchSpace": "nasbench101",
    "NasBench201SearchSpace": "nasbench201",
    "NasBench301SearchSpace": "nasbench301",
    "TransBench101SearchSpaceMicro": "transbench101-micro",
    "TransBench101SearchSpaceMacro": "transbench101-macro",
}
"""The search spaces whose networks NASLib builds, and nastk's own of the same benchmarks."""
MICRO, MACRO = "TransBench101SearchSpaceMicro", "TransBench101SearchSpaceMacro"


def real() -> ModuleType:
    try:
        import naslib.search_spaces
    except ImportError as error:
        pytest.skip(f"NASLib cannot be imported ({error}); nastk.spaces.naslib.INSTALL tells how to install it")
    found: ModuleType = naslib.search_spaces
    return found


@pytest.fixture(params=["stand-in", *(["NASLib"] if find_spec("naslib") else [])])
def naslib(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """What ``naslib.search_spaces`` is in the test."""
    if request.param == "NASLib":
        return real()
    package, module = ModuleType("naslib"), naslib_stand_in.module()
    package.search_spaces = module  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "naslib", package)
    monkeypatch.setitem(sys.modules, "naslib.search_spaces", module)
    return module


# ---- architectures and networks


@pytest.mark.parametrize("kind", [kind for kind in OURS if kind != "NasBench101SearchSpace"])  # many to list
def test_they_keep_the_contract(naslib: ModuleType, kind: str) -> None:
    check_space(nastk.space(f"naslib:{kind}"), n=24)


@pytest.mark.parametrize(("kind", "name"), OURS.items())
def test_architectures_are_those_of_our_space(naslib: ModuleType, kind: str, name: str) -> None:
    space, ours = nastk.space(f"naslib:{kind}"), nastk.space(name)
    archs = ours.sample(20, seed=1)
    assert space.choices == ours.choices
    assert space.size == ours.size
    assert np.array_equal(space.sample(20, seed=1), archs)
    assert np.array_equal(space.as_archs(ours.format_all(archs)), archs)
    assert space.format_all(archs) == ours.format_all(archs)
    assert space.keys(archs) == ours.keys(archs)
    assert space.whole is space
    assert not space.datasets
    assert space.statics(archs) == {}  # counted on NASLib's networks, which may differ
    with pytest.raises(Unsupported, match="no supernet"):
        space.supernet()


@pytest.mark.parametrize("kind", OURS)
def test_naslib_gets_the_architecture_that_is_meant(naslib: ModuleType, kind: str) -> None:
    space = nastk.space(f"naslib:{kind}")
    for arch in space.sample(4, seed=3):
        network = space.build(arch)
        assert isinstance(network, getattr(naslib, kind))
        assert np.array_equal(_row(space, kind, network.get_hash()), arch)  # type: ignore[operator]


def _row(space: SearchSpace, kind: str, spec: Any) -> Any:
    """The row of NASLib's own integers, by NASLib's documentation of them."""
    if kind == "NasBench201SearchSpace":
        operations = ("skip_connect", "none", "nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3")
        a, b, d, c, e, f = (operations[i] for i in spec)  # edges 0-1, 0-2, 0-3, 1-2, 1-3, 2-3
        return space.parse(f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|")
    if kind in (MICRO, MACRO):
        return spec
    return space.parse(str(np.array(spec).tolist() if kind != "NasBench101SearchSpace" else tuple(map(int, spec))))


def test_integers_of_nasbench201_one_by_one(naslib: ModuleType) -> None:
    text = "|none~0|+|skip_connect~0|nor_conv_1x1~1|+|nor_conv_3x3~0|avg_pool_3x3~1|none~2|"
    space = nastk.space("naslib:NasBench201SearchSpace", n_classes=100)
    network: Any = space.build(space.parse(text))
    # edges 0-1, 0-2, 0-3, 1-2, 1-3, 2-3; operations skip, none, 3x3, 1x1, pooling
    assert network.get_hash() == (1, 0, 2, 3, 4, 1)
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 100)


def test_integers_of_micro_mean_something_else_in_naslibs_own_graphs(naslib: ModuleType) -> None:
    text = "64-41414-1_02_333"  # digits are none, skip, 1x1, 3x3; edges 0-1, 0-2, 1-2, 0-3, 1-3, 2-3
    for options, integers in (({}, (1, 0, 2, 3, 3, 3)), ({"create_graph": True}, (0, 1, 2, 3, 2, 2))):
        space = nastk.space(f"naslib:{MICRO}", **options)
        network: Any = space.build(space.parse(text))
        assert network.get_hash() == integers


@pytest.mark.parametrize(
    ("kind", "options", "shape", "outputs"),
    [
        ("NasBench101SearchSpace", {}, (3, 32, 32), (10,)),
        ("NasBench201SearchSpace", {"n_classes": 7, "in_channels": 1}, (1, 32, 32), (7,)),
        ("NasBench301SearchSpace", {"n_classes": 7, "in_channels": 1}, (1, 32, 32), (7,)),
        ("NasBench301SearchSpace", {"auxiliary": False}, (3, 32, 32), (10,)),
        (MICRO, {}, (9, 3, 64, 64), (1000,)),
        (MICRO, {"dataset": "class_scene"}, (3, 256, 256), (63,)),
        (MICRO, {"dataset": "normal"}, (3, 256, 256), (3, 256, 256)),
        (MICRO, {"create_graph": True}, (9, 3, 64, 64), (1000,)),
        (MICRO, {"create_graph": True, "dataset": "svhn"}, (3, 32, 32), (10,)),
        (MICRO, {"create_graph": True, "dataset": "ninapro", "in_channels": 1, "n_classes": 18}, (1, 16, 52), (18,)),
        (MICRO, {"create_graph": True, "dataset": "mine", "n_classes": 5}, (3, 32, 32), (5,)),
        (MACRO, {}, (9, 3, 64, 64), (1000,)),
        (MACRO, {"dataset": "room_layout"}, (3, 256, 256), (9,)),
    ],
)
def test_networks_take_the_default_shape(
    naslib: ModuleType, kind: str, options: dict[str, Any], shape: tuple[int, ...], outputs: tuple[int, ...]
) -> None:
    for space, given in (
        (nastk.space(f"naslib:{kind}", **options), {}),
        (nastk.space(f"naslib:{kind}", **_with_dataset(options)), options),
    ):
        assert space.input_shape(**given) == shape
        network = space.build(space.sample(1, seed=5), **given).eval()
        with torch.inference_mode():
            assert network(torch.zeros(2, *shape)).shape == (2, *outputs)


def _with_dataset(options: dict[str, Any]) -> dict[str, Any]:
    """Those without which NASLib makes no network; the others can come with `build`."""
    return {k: v for k, v in options.items() if k in ("dataset", "create_graph")}


def test_an_input_shape_of_ones_own(naslib: ModuleType) -> None:
    space = nastk.space(f"naslib:{MICRO}", dataset="class_scene", input_shape=(3, 64, 64))
    assert space.input_shape() == (3, 64, 64)


# ---- what is refused


@pytest.mark.parametrize("kind", ["NATSBenchSize", "NasBenchNLP", "NasBenchASR", "SimpleCell", "Hierarchical"])
def test_spaces_without_networks_are_refused(naslib: ModuleType, kind: str) -> None:
    with pytest.raises(Unsupported, match=r"makes no network of one of its architectures.*NasBench101SearchSpace, "):
        nastk.space(f"naslib:{kind}SearchSpace")


@pytest.mark.parametrize("name", ["NasBench201", "Graph", "search_spaces", "dataset_n_classes"])
def test_an_unknown_search_space_is_refused(naslib: ModuleType, name: str) -> None:
    with pytest.raises(
        UnknownName, match=f"unknown NASLib search space '{name}'; (did you mean 'N|known: H)"
    ) as caught:
        nastk.space(f"naslib:{name}")
    assert "Graph" not in caught.value.known


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("NasBench201SearchSpace", {"colour": "red"}, "no option 'colour'; known: n_classes, in_channels$"),
        ("NasBench201SearchSpace", {"members": 50}, "no option 'members'"),
        (MACRO, {"n_classes": 5}, "no option 'n_classes'; known: dataset$"),  # which takes any keyword
        (MACRO, {"kwargs": 5}, "no option 'kwargs'"),
        ("NasBench101SearchSpace", {"n_classes": 100}, "n_classes=100 changes nothing in NASLib's networks"),
        (MICRO, {"n_classes": 17}, "n_classes=17 changes nothing"),
        (MICRO, {"in_channels": 1}, "in_channels=1 changes nothing"),
        (MICRO, {"use_small_model": False}, "use_small_model=False changes nothing"),
        (MICRO, {"create_graph": True, "dataset": "class_scene", "n_classes": 5}, "n_classes=5 changes nothing"),
        (MICRO, {"dataset": "cifar10"}, "makes no network with dataset='cifar10': NotImplementedError: Model not"),
        (MACRO, {"dataset": "cifar10"}, "makes no network with dataset='cifar10': NotImplementedError: Model not"),
        ("NasBench201SearchSpace", {"n_classes": "a"}, "makes no network with n_classes='a': TypeError"),
        (MICRO, {"input_shape": (3, 32, 32)}, r"fails on inputs of shape \(3, 32, 32\).*AssertionError$"),
        ("NasBench201SearchSpace", {"input_shape": (1, 32, 32)}, r"fails on inputs of shape \(1, 32, 32\)"),
        ("NasBench201SearchSpace", {"input_shape": 32}, "input_shape must be positive integers.*got 32$"),
        ("NasBench201SearchSpace", {"input_shape": (3, 0, 32)}, "input_shape must be positive integers"),
    ],
)
def test_options_that_naslib_lacks_ignores_or_fails_with_are_refused(
    naslib: ModuleType, kind: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidValue, match=message) as caught:
        nastk.space(f"naslib:{kind}", **options)
    assert "\n" not in str(caught.value)


def test_options_of_build_are_checked_as_those_of_the_space(naslib: ModuleType) -> None:
    space = nastk.space("naslib:NasBench101SearchSpace")
    arch = space.sample(1, seed=0)
    with pytest.raises(InvalidValue, match="n_classes=100 changes nothing"):
        space.build(arch, n_classes=100)
    with pytest.raises(InvalidValue, match=r"no option 'num_classes'; known: n_classes$"):
        space.build(arch, num_classes=100)
    with pytest.raises(InvalidValue, match="no option 'num_classes'"):
        space.input_shape(num_classes=100)
    with pytest.raises(InvalidArchitecture):
        space.build(np.zeros((1, 26), dtype=np.int64))


@pytest.mark.parametrize("kind", ["NATSBenchSizeSearchSpace", "NasBench2O1SearchSpace"])
def test_the_command_line_refuses_in_one_line(
    naslib: ModuleType, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    assert run(["zcp", "--space", f"naslib:{kind}", "--random", "2"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_without_naslib_it_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [n for n in sys.modules if n.split(".")[0] == "naslib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "naslib", None)
    with pytest.raises(MissingExtra, match=r"git clone .* && pip install .* && export PYTHONPATH") as caught:
        nastk.space("naslib:NasBench201SearchSpace")
    assert "pip install git+" not in str(caught.value)  # NASLib's setup.py refuses every Python that nastk runs on
    assert all(package in str(caught.value) for package in NEEDS)
    assert run(["zcp", "--space", "naslib:NasBench201SearchSpace", "--random", "2"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    "raised", [ImportError("No module named 'fvcore'"), RuntimeError("operator nms\ndoes not exist")]
)
def test_a_naslib_that_does_not_load_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, raised: Exception
) -> None:
    package = tmp_path / "naslib"
    package.mkdir()
    (package / "__init__.py").write_text(f"raise {raised!r}\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [n for n in sys.modules if n.split(".")[0] == "naslib"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(NastkError, match=r"is installed but does not load: .*(fvcore|operator nms)") as caught:
        nastk.space("naslib:NasBench201SearchSpace")
    assert "\n" not in str(caught.value)


# ---- in use


def test_spaces_of_other_options_have_other_names(naslib: ModuleType) -> None:
    made = [
        nastk.space("naslib:NasBench201SearchSpace", **options)
        for options in ({}, {"n_classes": 10}, {"n_classes": 100}, {"input_shape": (3, 16, 16)})
    ]
    assert [space.name for space in made] == [
        "naslib-NasBench201SearchSpace",
        "naslib-NasBench201SearchSpace",
        "naslib-NasBench201SearchSpace(n_classes=100)",
        "naslib-NasBench201SearchSpace(input_shape=3x16x16)",
    ]


def test_zero_cost_values_are_those_of_the_spaces_own_networks(naslib: ModuleType) -> None:
    values = []
    for n_classes in (10, 100, 10):
        space = nastk.space("naslib:NasBench201SearchSpace", n_classes=n_classes)
        arch = space.parse("|nor_conv_1x1~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|")
        values.append(float(ZeroCost(space, ["params"])(arch)[0, 0]))
    assert values[0] == values[2] < values[1]


def test_spaces_are_sent_to_other_processes(naslib: ModuleType) -> None:
    space = nastk.space("naslib:NasBench201SearchSpace", n_classes=100)
    other = pickle.loads(pickle.dumps(space))
    assert type(other) is type(space)
    assert other.name == space.name
    arch = space.sample(1, seed=0)
    assert other.build(arch)(torch.zeros(2, 3, 32, 32)).shape == (2, 100)


def test_random_numbers_go_on_where_they_were(naslib: ModuleType) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    nastk.space("naslib:NasBench201SearchSpace", n_classes=100)
    assert torch.equal(torch.rand(2), expected)


def test_the_family_is_listed_without_importing_naslib(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "spaces"]) == 0
    assert "naslib:<SearchSpace>" in capsys.readouterr().out


def test_a_search_over_naslibs_graphs(naslib: ModuleType) -> None:
    space = nastk.space("naslib:NasBench201SearchSpace")
    width = nastk.FunctionOracle(space, lambda archs: archs.sum(axis=1), "width", direction="max")
    result = nastk.search(space, [width, nastk.oracles.counts.Params(space)], searcher="random", budget=6)
    assert len(result.front)


# ---- NASLib itself


def test_the_stand_in_has_naslibs_signatures() -> None:
    theirs, ours = real(), naslib_stand_in.module()
    names = {name for name, value in vars(theirs).items() if inspect.isclass(value) and "SearchSpace" in name}
    assert names == {name for name in vars(ours) if "SearchSpace" in name}
    for name in names:
        one, other = getattr(theirs, name), getattr(ours, name)
        assert hasattr(one, "set_spec") == hasattr(other, "set_spec"), name
        for method in ("__init__", "convert_to_cell") if name in OURS else ():
            assert _parameters(one, method) == _parameters(other, method), f"{name}.{method}"


def _parameters(cls: Any, method: str) -> Any:
    """Names, kinds and defaults of a method's parameters; None if there is no such method."""
    found = getattr(cls, method, None)
    return found and [(p.name, p.kind, p.default) for p in inspect.signature(found).parameters.values()]


@pytest.mark.parametrize(
    ("kind", "options", "theirs"),
    [
        ("NasBench101SearchSpace", {}, {}),
        ("NasBench201SearchSpace", {"n_classes": 100}, {"num_classes": 100}),
        ("NasBench301SearchSpace", {}, {"channels": 16}),
        (MICRO, {}, {"task": "jigsaw"}),
        (MICRO, {"dataset": "segmentsemantic"}, {"task": "segmentsemantic"}),
        (MICRO, {"create_graph": True, "dataset": "ninapro", "in_channels": 1, "n_classes": 18}, {"task": "ninapro"}),
        (MACRO, {"dataset": "class_object"}, {"task": "class_object"}),
        (MACRO, {"dataset": "segmentsemantic"}, {"task": "segmentsemantic"}),
    ],
)
def test_naslibs_networks_are_those_of_our_space(kind: str, options: dict[str, Any], theirs: dict[str, Any]) -> None:
    """By their parameters and multiply-adds; NAS-Bench-101's come with a scalar for each vertex that it never uses."""
    from nastk.oracles.counts import count_network

    real()
    space, ours = nastk.space(f"naslib:{kind}", **options), nastk.space(OURS[kind])
    for arch in ours.sample(3, seed=3):
        network = space.build(arch)
        scalars = sum(p.numel() for p in network.parameters() if p.ndim == 0)
        counted, statics = count_network(network, space.input_shape()), ours.statics(arch[None], **theirs)
        assert counted["params"] - scalars == statics["params"][0]
        assert counted["flops"] == statics["flops"][0]


@pytest.mark.parametrize("task", ["normal", "autoencoder"])
def test_naslibs_generators_are_those_of_our_space(task: str) -> None:
    """NASLib's module holds a discriminator too, which no input reaches."""
    from nastk.oracles.counts import count_network

    real()
    space, ours = nastk.space(f"naslib:{MACRO}", dataset=task), nastk.space("transbench101-macro")
    for arch in (ours.parse("64-1123-basic"), ours.parse("64-332311-basic")):
        counted = count_network(space.build(arch), space.input_shape())
        assert counted["flops"] == ours.statics(arch[None], task=task)["flops"][0]


def test_naslibs_conversions_agree_on_the_texts() -> None:
    real()
    from naslib.search_spaces.nasbench201.conversions import convert_op_indices_to_str
    from naslib.search_spaces.nasbench301.conversions import convert_compact_to_genotype

    space = nastk.space("naslib:NasBench201SearchSpace")
    for arch in space.sample(3, seed=3):
        assert convert_op_indices_to_str(space.build(arch).get_hash()) == space.format(arch)  # type: ignore[operator]
    space = nastk.space("naslib:NasBench301SearchSpace")
    for arch in space.sample(3, seed=3):
        genotype = convert_compact_to_genotype(space.build(arch).get_hash())  # type: ignore[operator]
        assert np.array_equal(space.parse(str(genotype)), arch)
