"""Every registered encoding keeps the contract, on small and large spaces, and broken ones are found out."""

from __future__ import annotations

import numpy as np
import pytest

import nastk
from nastk.encodings.base import encoding
from nastk.encodings.vec import Vec
from nastk.errors import InvalidValue, UnknownName, Unsupported
from nastk.metrics import spearman
from nastk.registry import ENCODINGS
from nastk.testing import check_encoding

NAMES = sorted(set(ENCODINGS.names()) - {"canonical:<encoding>", "hwl", "quantiles:<encoding>", "zcp"})


class Proxies:
    """Two proxies of nasbench201; the second is unknown for cells whose first edge is `none`."""

    names = ("first", "second")

    def __call__(self, archs: np.ndarray) -> np.ndarray:
        values = np.stack([archs.sum(axis=1) * 1e30, archs[:, 0] - 2.0], axis=1)
        return np.where((archs[:, [0]] == 0) & np.array([False, True]), np.nan, values)


@pytest.mark.parametrize(
    ("name", "space"),
    [
        (name, space)
        for space in ("nasbench201", "fbnet")
        for name in [*NAMES, "canonical:vec", "quantiles:counts", "vec+counts+statics"]
        if (name, space) != ("traced", "fbnet")  # whose networks take long to trace
    ],
)
def test_keeps_the_contract(name: str, space: str) -> None:
    check_encoding(lambda: encoding(name), nastk.space(space))


def test_proxies_keep_the_contract_and_are_finite_where_missing() -> None:
    context = nastk.Context(proxies=Proxies())
    check_encoding(lambda: encoding("zcp"), nastk.space("nasbench201"), context)
    fitted = encoding("zcp").fit(nastk.space("nasbench201"), context)
    features = fitted.transform(np.array([[0, 0, 0, 0, 0, 0], [3, 3, 3, 3, 3, 3]]))
    assert features[:, -1].tolist() == [1.0, 0.0]
    assert np.abs(features).max() < 100, "proxies of many decades are scaled"


class Latencies:
    """Two devices; the second has not measured cells whose first edge is `none`."""

    names = ("one", "other")

    def __call__(self, archs: np.ndarray) -> np.ndarray:
        values = np.stack([1.0 + archs.sum(axis=1), 1e3 * (1.0 + archs[:, 1])], axis=1)
        return np.where((archs[:, [0]] == 0) & np.array([False, True]), np.nan, values)


def test_latencies_of_other_devices_are_logarithmic_and_finite_where_missing() -> None:
    space, context = nastk.space("nasbench201"), nastk.Context(latencies=Latencies())
    check_encoding(lambda: encoding("hwl"), space, context)
    seen = np.array([[1, 4, 0, 0, 0, 0], [2, 4, 0, 0, 0, 0]])
    fitted = encoding("hwl").fit(space, context, seen)
    features = fitted.transform(np.array([[0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0]]))
    assert features[0, 1] == pytest.approx(np.log(5e3)), "a gap is filled from the architectures of the fit alone"
    assert features[1].tolist() == pytest.approx([np.log(3.0), np.log(2e3)])
    with pytest.raises(InvalidValue, match="needs latencies"):
        encoding("hwl").fit(space)
    with pytest.raises(InvalidValue, match="own device"):
        nastk.Task(space, seen, [1.0, 2.0], "latency", device="other", context=context)


@pytest.mark.data
def test_proxies_of_the_real_tables_improve_a_predictor_of_accuracy(nastk_home: object) -> None:
    table = nastk.benchmark("nasbench201", dataset="cifar10")
    context = nastk.Context(proxies=table.proxy_source())
    check_encoding(lambda: encoding("zcp"), table.space, context)
    truth, everything = table.values("test_accuracy"), table.space.enumerate()
    found = {}
    for name in ("vec", "vec+zcp"):
        scores = []
        for seed in range(3):
            rows = np.random.default_rng(seed).choice(len(everything), 30, replace=False)
            task = nastk.Task(table.space, everything[rows], truth[rows], "test_accuracy", "%", "max", context=context)
            model = nastk.predictor("gp", encoding=name).fit(task)
            scores.append(spearman(model.predict(everything).mean, truth))
        found[name] = np.mean(scores)
    assert found["vec+zcp"] > found["vec"] + 0.05
    fbnet = nastk.benchmark("fbnet")
    check_encoding(lambda: encoding("zcp"), fbnet.space, nastk.Context(proxies=fbnet.proxy_source()))


def test_vec_of_nasbench201_has_thirty_columns_with_one_per_edge() -> None:
    space = nastk.space("nasbench201")
    features = encoding("vec").fit(space).transform(space.sample(10, 0))
    assert features.shape == (10, 30)
    assert (features.reshape(10, 6, 5).sum(axis=2) == 1).all()


def test_counts_of_fbnet_add_up_in_all_and_by_stage() -> None:
    space = nastk.space("fbnet")
    features = encoding("counts").fit(space).transform(space.sample(10, 0))
    assert (features[:, :9].sum(axis=1) == 22).all()
    assert (features[:, 9:].sum(axis=1) == 22).all()


class _Numbers(nastk.SearchSpace):
    """Numbers after words, numbers beside something else, names that only look like numbers, and a lone choice."""

    name = "numbers"
    choices = (
        nastk.Choice("stage 1 kernel", ("k3", "k5")),
        nastk.Choice("stage 2 kernel", ("none", "k3", "k7")),
        nastk.Choice("norm", ("batch", "layer")),
        nastk.Choice("width", ("0.5", "1")),
    )

    def build(self, arch, **options):  # type: ignore[no-untyped-def]
        raise NotImplementedError


def test_ordinal_has_one_column_for_the_numbers_of_a_choice_and_one_for_any_other_option() -> None:
    fitted = encoding("ordinal").fit(_Numbers())
    names = ["stage 1 kernel", "stage 2 kernel", "stage 2 kernel=none", "norm=batch", "norm=layer", "width"]
    assert fitted.names_ == names
    between = (np.log(4) + np.log(8)) / 2  # what is no number lies amid those that are
    found = fitted.transform(np.array([[0, 2, 1, 0], [1, 0, 0, 1]]))
    assert found == pytest.approx(np.array(
        [[np.log(4), np.log(8), 0, 0, 1, np.log(1.5)], [np.log(6), between, 1, 1, 0, np.log(2)]]
    ))  # fmt: skip


def test_totals_add_up_choices_of_one_kind() -> None:
    space = _Numbers()
    fitted = encoding("totals").fit(space)
    assert fitted.names_ == ["stage 1 kernel and 1 more", "stage 1 kernel=none and 1 more"]
    found = fitted.transform(np.array([[0, 2, 1, 0], [1, 0, 0, 1]]))
    assert found == pytest.approx(np.array([[np.log(4) + np.log(8), 0], [np.log(6) + np.log(32) / 2, 1]]))
    cells = nastk.space("nasbench201")
    archs = cells.sample(20, 0)
    assert np.array_equal(
        encoding("totals").fit(cells).transform(archs), encoding("counts").fit(cells).transform(archs)
    )
    depth = encoding("totals").fit(nastk.space("mnasnet")).names_
    assert "block 0 layers and 6 more" in depth, "the sixth block has other options, and layers nevertheless"


@pytest.mark.data
def test_gp_learns_more_from_numbers_than_from_one_hot_choices(fetched) -> None:  # type: ignore[no-untyped-def]
    table = nastk.benchmark("mnasnet", home=fetched("accel-nasbench"))
    truth, archs = table.values("val_accuracy"), table.space.enumerate()
    found = {"auto": [], "vec+counts+statics": []}
    for seed in range(3):
        rows = np.random.default_rng(seed).choice(len(archs), 25, replace=False)
        task = nastk.Task(table.space, archs[rows], truth[rows], "val_accuracy", "%", "max")
        for name, scores in found.items():
            scores.append(spearman(nastk.predictor("gp", encoding=name).fit(task).predict(archs).mean, truth))
    assert np.mean(found["auto"]) > np.mean(found["vec+counts+statics"]) + 0.01, found


def test_isomorphic_networks_have_equal_canonical_features() -> None:
    space = nastk.space("nasbench201")
    everything = space.enumerate()
    features = encoding("canonical:vec").fit(space).transform(everything)
    assert len(np.unique(features, axis=0)) == 6466


def test_a_space_without_counts_refuses_statics() -> None:
    class Plain(nastk.SearchSpace):
        name = "plain"
        choices = (nastk.Choice("a", ("x", "y")),)

        def build(self, arch, **options):  # type: ignore[no-untyped-def]
            raise NotImplementedError

    with pytest.raises(Unsupported, match="leave 'statics' out"):
        encoding("statics").fit(Plain())


def test_names_are_checked() -> None:
    with pytest.raises(UnknownName, match="did you mean 'counts'"):
        encoding("vec+count")
    with pytest.raises(InvalidValue, match="joined by"):
        encoding("vec+")
    with pytest.raises(InvalidValue, match="source of proxies"):
        encoding("zcp").fit(nastk.space("nasbench201"))


class _Leaky(Vec):
    """Its rows depend on their neighbours."""

    def transform(self, archs):  # type: ignore[no-untyped-def]
        features = super().transform(archs)
        return features - features.mean(axis=0) if len(features) else features


class _Misnamed(Vec):
    def fit(self, space, context=None):  # type: ignore[no-untyped-def]
        super().fit(space, context)
        self.names_ = self.names_[:-1]
        return self


class _Unrelaxed(Vec):
    """Declares a relaxed form and returns another one."""

    def transform_relaxed(self, one_hot):  # type: ignore[no-untyped-def]
        return one_hot * 2


@pytest.mark.parametrize(
    ("broken", "what"), [(_Leaky, "differs|neighbours"), (_Misnamed, "names"), (_Unrelaxed, "relaxed")]
)
def test_the_kit_finds_broken_encodings(broken: type[Vec], what: str) -> None:
    with pytest.raises(AssertionError, match=what):
        check_encoding(broken, nastk.space("nasbench201"))
