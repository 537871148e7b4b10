"""Oracles over tables: the right column, honest costs, errors that tell the cure; and facts of the real tables."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from nastk.data import hw_nas_bench_360
from nastk.data.proxies import PROXIES
from nastk.data.tables import Block, Column, ColumnTable
from nastk.errors import DataError, InvalidArchitecture, InvalidValue, UnknownName
from nastk.oracles.base import FunctionOracle
from nastk.oracles.table import Benchmark, CountingOracle, Table, TableOracle, benchmark
from nastk.spaces._pool import Pool
from nastk.spaces.base import Choice, SearchSpace


class Toy(SearchSpace):
    name = "toy"
    choices = (Choice("a", ("x", "y")), Choice("b", ("x", "y", "z")))

    def build(self, arch, **options):
        raise NotImplementedError


COLUMNS = [
    Column("test_accuracy", "accuracy", "%", dataset="one", fidelity=12),
    Column("test_accuracy", "accuracy", "%", dataset="one", fidelity=200),
    Column("test_accuracy", "accuracy", "%", dataset="two", fidelity=200),
    Column("latency", "latency", "ms", "min", device="phone"),
    Column("latency", "latency", "ms", "min", device="phone", dataset="two"),
    Column("latency", "latency", "ms", "min", device="chip", dataset="one"),
    Column("latency", "latency", "ms", "min", device="chip", dataset="two"),
    Column("energy", "energy", "mJ", "min", device="chip", dataset="one"),
    Column("nwot", "proxy", dataset="one"),
    Column("nwot", "proxy", dataset="one", variant="other"),
    Column("nwot", "proxy", dataset="two", variant="other"),
    Column("params", "count", "M", "min", dataset="one"),
    Column("nwot_seconds", "seconds", "s", "min", dataset="one", variant="other"),
]


def table(archs: np.ndarray) -> Table:
    values = np.arange(len(COLUMNS))[:, None] * 100.0 + np.arange(len(archs))
    values[3, 1] = np.nan
    places = [(0, i) for i in range(len(COLUMNS))]
    return Table(ColumnTable("toy", archs.astype(np.int8), COLUMNS, [Block(None, values)], places), Toy())


@pytest.fixture
def whole() -> Table:
    return table(Toy().enumerate())


@pytest.fixture
def sample() -> Table:
    return table(np.array([[1, 2], [0, 0], [1, 0]]))


def test_a_table_of_everything_has_the_whole_space_and_a_sample_has_a_pool(whole, sample):
    assert isinstance(whole.space, Toy)
    assert isinstance(sample.space, Pool)
    assert sample.space.size == len(sample) == 3
    assert sample.rows([[1, 0], [1, 2]]).tolist() == [2, 0]
    with pytest.raises(InvalidArchitecture):
        sample.rows([[0, 1]])


def test_what_there_is(whole):
    assert whole.datasets() == ["one", "two"]
    assert whole.devices() == ["phone", "chip"]
    assert whole.devices(metric="energy") == ["chip"]
    assert whole.fidelities("test_accuracy", dataset="one") == [12, 200]
    assert whole.metrics()[:3] == ["test_accuracy", "latency", "energy"]
    assert Benchmark(whole, "one").devices() == ["phone", "chip"]


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ({"metric": "test_accuracy", "dataset": "one"}, 1),
        ({"metric": "test_accuracy", "dataset": "one", "fidelity": 12}, 0),
        ({"metric": "test_accuracy", "dataset": "two"}, 2),
        ({"metric": "latency", "device": "phone"}, 3),
        ({"metric": "latency", "device": "phone", "dataset": "one"}, 3),
        ({"metric": "latency", "device": "phone", "dataset": "two"}, 4),
        ({"metric": "latency", "device": "chip", "dataset": "two"}, 6),
        ({"metric": "energy", "device": "chip"}, 7),
        ({"metric": "nwot", "dataset": "one"}, 8),
        ({"metric": "nwot", "dataset": "two", "variant": "other"}, 10),
        ({"metric": "nwot_seconds"}, 12),
    ],
)
def test_the_column_that_is_meant(whole, query, number):
    assert whole.find(**query)[0] == number
    np.testing.assert_array_equal(whole.values(**query), whole.content.values(number))


@pytest.mark.parametrize(
    ("query", "error", "message"),
    [
        ({"metric": "test_acuracy"}, UnknownName, "did you mean 'test_accuracy'"),
        ({"metric": "latency", "device": "fone"}, UnknownName, "did you mean 'phone'"),
        ({"metric": "latency"}, InvalidValue, "needs a device, one of phone, chip"),
        ({"metric": "latency", "device": "chip"}, InvalidValue, "needs a dataset, one of one, two"),
        ({"metric": "test_accuracy"}, InvalidValue, "needs a dataset"),
        ({"metric": "test_accuracy", "dataset": "three"}, UnknownName, "known: one, two"),
        ({"metric": "test_accuracy", "dataset": "one", "device": "phone"}, InvalidValue, "does not depend on a device"),
        ({"metric": "test_accuracy", "dataset": "one", "fidelity": 50}, InvalidValue, "12, 200"),
        ({"metric": "energy", "device": "chip", "dataset": "two"}, UnknownName, "energy chip"),
        ({"metric": "nwot", "dataset": "two"}, UnknownName, "nwot"),
        ({"metric": "nwot", "dataset": "one", "variant": "otter"}, UnknownName, "did you mean 'other'"),
    ],
)
def test_a_wrong_question_is_told_what_would_be_right(whole, query, error, message):
    with pytest.raises(error, match=message):
        whole.values(**query)


def test_an_oracle_answers_by_index_text_row_and_array(whole):
    oracle = Benchmark(whole, "one").oracle("test_accuracy")
    arch = whole.space.enumerate()[4]
    for question in (4, whole.space.format(arch), arch, arch[None], arch.tolist()):
        assert oracle(question).tolist() == [104.0]
    assert oracle(whole.space.enumerate()).tolist() == [100.0 + i for i in range(6)]
    with pytest.raises(InvalidArchitecture):
        oracle([[0, 3]])


def test_an_oracle_knows_what_it_measures(whole):
    bench = Benchmark(whole, "one")
    accuracy, latency = bench.oracle("test_accuracy"), bench.oracle("latency", device="phone")
    assert (accuracy.name, accuracy.unit, accuracy.direction, accuracy.expensive) == ("test_accuracy", "%", "max", True)
    assert (latency.unit, latency.direction, latency.source) == ("ms", "min", "table toy phone")
    assert bench.oracle("energy", device="chip").expensive
    assert not bench.oracle("nwot").expensive
    assert not bench.oracle("params").expensive
    evaluation = accuracy.evaluate(0)
    assert np.isnan(evaluation.std).all()
    assert np.isnan(evaluation.cost).all()
    assert bench.oracle("nwot").evaluate(0).cost.tolist() == [0.0]


def test_unknown_values_are_nan(whole):
    assert np.isnan(Benchmark(whole).oracle("latency", device="phone")(1)).all()


def test_fidelities(whole):
    oracle = Benchmark(whole, "one").oracle("test_accuracy")
    assert oracle.fidelities == [12, 200]
    assert oracle.fidelity == 200
    assert oracle.evaluate(2).value.tolist() == oracle.evaluate(2, fidelity=200).value.tolist() == [102.0]
    assert oracle.evaluate(2, fidelity=12).value.tolist() == [2.0]
    assert Benchmark(whole, "one").oracle("test_accuracy", fidelity=12)(2).tolist() == [2.0]
    with pytest.raises(InvalidValue, match="12, 200"):
        oracle.evaluate(2, fidelity=90)
    with pytest.raises(InvalidValue, match="no fidelities"):
        Benchmark(whole, "one").oracle("latency", device="phone").evaluate(2, fidelity=12)


def test_proxies_as_a_matrix(whole):
    names, values = Benchmark(whole, "one").proxies()
    assert names == ("nwot", "params")
    np.testing.assert_array_equal(
        values, np.stack([whole.values("nwot", dataset="one"), whole.values("params", dataset="one")], axis=1)
    )
    assert Benchmark(whole, "two").proxies(variant="other").names == ("nwot",)
    with pytest.raises(UnknownName, match="nwot"):
        Benchmark(whole, "two").proxies()
    with pytest.raises(UnknownName, match="did you mean 'other'"):
        Benchmark(whole, "two").proxies(variant="othr")


def test_a_benchmark_of_an_unknown_dataset_or_table(whole, tmp_path):
    with pytest.raises(UnknownName, match="known: one, two"):
        Benchmark(whole, "three")
    with pytest.raises(UnknownName, match="did you mean 'nasbench201'"):
        benchmark("nasbench20l", home=tmp_path)
    with pytest.raises(DataError, match="run: nastk data fetch nasbench201"):
        benchmark("nasbench201", home=tmp_path)


def test_the_spy_records_every_question(whole):
    spy = CountingOracle(Benchmark(whole, "one").oracle("test_accuracy"))
    assert spy.count == 0
    assert spy.asked.shape == (0, 2)
    assert spy([[0, 1], [1, 2]]).tolist() == [101.0, 105.0]
    assert spy.evaluate([[0, 1]], fidelity=12).value.tolist() == [1.0]
    assert spy.count == 3
    assert spy.asked.tolist() == [[0, 1], [1, 2], [0, 1]]
    assert [f for _, f in spy.questions] == [None, 12]
    assert (spy.name, spy.unit, spy.direction, spy.expensive) == ("test_accuracy", "%", "max", True)
    assert spy.fidelities == [12, 200]


def test_the_spy_wraps_any_oracle(whole):
    spy = CountingOracle(FunctionOracle(Toy(), lambda archs: archs.sum(axis=1), "sum"))
    assert spy([[1, 2]]).tolist() == [3.0]
    assert spy.count == 1


# ---- the real tables


@pytest.fixture(scope="module")
def nasbench201(fetched) -> Table:
    return Table.load("nasbench201", fetched("nasbench201"))


@pytest.fixture(scope="module")
def fbnet(fetched) -> Table:
    return Table.load("fbnet", fetched("fbnet"))


@pytest.mark.data
def test_best_accuracies(nasbench201):
    for dataset, best in {"cifar10": 94.3733, "cifar100": 73.5133, "ImageNet16-120": 47.3111}.items():
        assert nasbench201.values("test_accuracy", dataset=dataset).max() == pytest.approx(best, abs=5e-5)


@pytest.mark.data
@pytest.mark.parametrize(
    ("dataset", "test", "validation"),
    [("cifar10", 0.871, 0.772), ("cifar100", 0.824, 0.825), ("ImageNet16-120", 0.809, 0.818)],
)
def test_twelve_epochs_rank_nearly_like_two_hundred(nasbench201, dataset, test, validation):
    final = nasbench201.values("test_accuracy", dataset=dataset)
    for metric, rho in {"test_accuracy": test, "val_accuracy": validation}.items():
        early = nasbench201.values(metric, dataset=dataset, fidelity=12)
        assert spearmanr(early, final).statistic == pytest.approx(rho, abs=6e-4)
    assert nasbench201.fidelities("test_accuracy", dataset=dataset) == [12, 200]
    assert nasbench201.fidelities("val_accuracy", dataset=dataset) == [12]


@pytest.mark.data
def test_proxies_rank_cifar10_as_published(nasbench201):
    names, values = Benchmark(nasbench201, "cifar10").proxies()
    assert names == PROXIES
    assert values.shape == (15625, 13)
    known = ~np.isnan(values[:, names.index("params")])
    assert known.sum() == 9445
    accuracy = nasbench201.values("test_accuracy", dataset="cifar10")
    published = {"nwot": 0.811, "jacov": 0.799, "params": 0.799, "synflow": 0.778, "epe_nas": 0.772, "flops": 0.770}
    for name, rho in {**published, "zen": 0.115, "plain": -0.352}.items():
        ours = spearmanr(values[known, names.index(name)], accuracy[known], nan_policy="omit").statistic
        assert ours == pytest.approx(rho, abs=1e-3), name


@pytest.mark.data
def test_proxies_serve_a_search_where_most_architectures_have_them_or_their_canonical_forms_do(nasbench201):
    bench = Benchmark(nasbench201, "cifar10")
    assert bench.search_proxies(share=0.99) is None
    assert bench.search_proxies().names == PROXIES


@pytest.mark.data
@pytest.mark.parametrize(
    ("device", "low", "middle", "high"),
    [
        ("1080ti_1", 3.6, 9.5, 17.1),
        ("titan_rtx_256", 5.9, 18.1, 47.7),
        ("gold_6226", 2.7, 9.6, 20.4),
        ("eyeriss", 1.68, 5.12, 10.5),
        ("fpga", 1.13, 3.73, 8.68),
        ("raspi4", 0.011, 25.7, 98.9),
        ("pixel3", 0.003, 10.7, 36.8),
    ],
)
def test_nasbench201_latency_ranges(nasbench201, device, low, middle, high):
    values = nasbench201.values("latency", device=device)
    for ours, known in ((values.min(), low), (np.median(values), middle), (values.max(), high)):
        assert float(f"{ours:.3g}") == pytest.approx(known, rel=0.02, abs=5e-4)


@pytest.mark.data
@pytest.mark.parametrize(
    ("device", "low", "middle", "high"),
    [
        ("eyeriss", 3.85, 5.34, 7.34),
        ("fpga", 9.4, 23.8, 41.7),
        ("raspi4", 17, 33.6, 53),
        ("pixel3", 8.3, 17.7, 30),
        ("gold_6226", 33, 104, 244),
        ("samsung_s7", 32, 54, 159),
        ("1080ti_1", 8.9, 11.9, 14.1),
    ],
)
def test_fbnet_latency_ranges(fbnet, device, low, middle, high):
    values = fbnet.values("latency", device=device)
    for ours, known in ((values.min(), low), (np.median(values), middle), (values.max(), high)):
        assert ours == pytest.approx(known, rel=0.02)


@pytest.mark.data
def test_ties_are_kept(nasbench201):
    distinct = {"eyeriss": 38, "fpga": 84, "essential_ph_1": 39, "pixel2": 42, "samsung_a50": 63, "samsung_s7": 79}
    for device, count in distinct.items():
        assert len(np.unique(nasbench201.values("latency", device=device))) == count


@pytest.mark.data
def test_devices(nasbench201, fbnet):
    assert len(fbnet.devices()) == 27
    assert len(set(nasbench201.devices()) - set(hw_nas_bench_360.DEVICES)) == 29  # a user may have fetched those, too
    assert set(nasbench201.devices()) >= {"edgegpu", "edgetpu", "pixel3", "titan_rtx_256"}
    assert nasbench201.devices(metric="energy")[:3] == ["edgegpu", "eyeriss", "fpga"]
    for device in ("raspi4", "pixel3", "eyeriss", "fpga"):
        anywhere, cifar10 = (nasbench201.values("latency", dataset=d, device=device) for d in (None, "cifar10"))
        np.testing.assert_allclose(anywhere, cifar10, rtol=1e-7)
        assert not np.allclose(nasbench201.values("latency", dataset="ImageNet16-120", device=device), cifar10)


@pytest.mark.data
def test_failed_measurements_are_nan(nasbench201):
    for dataset in ("cifar10", "cifar100", "ImageNet16-120"):
        latency = nasbench201.values("latency", dataset=dataset, device="edgetpu")
        assert np.isnan(latency).sum() == 4699
        assert np.nanmin(latency) > 0


@pytest.mark.data
def test_energy_facts(nasbench201):
    energy, latency = (nasbench201.values(m, dataset="cifar10", device="fpga") for m in ("energy", "latency"))
    np.testing.assert_allclose(energy, 7 * latency, rtol=1e-6)
    energy, latency = (nasbench201.values(m, dataset="cifar10", device="eyeriss") for m in ("energy", "latency"))
    assert spearmanr(energy, latency).statistic == pytest.approx(0.976, abs=1e-3)


@pytest.mark.data
def test_the_seed_888_record_is_no_validation_accuracy(nasbench201):
    record = nasbench201.values("test_accuracy_seed888", dataset="cifar10")
    assert np.nanmax(record) == pytest.approx(91.57, abs=1e-4)
    assert (~np.isnan(record)).sum() == 9445
    validation = nasbench201.values("val_accuracy", dataset="cifar10")
    assert not np.allclose(validation[~np.isnan(record)], record[~np.isnan(record)], atol=1)


@pytest.mark.data
def test_second_sources_and_more_tasks(nasbench201):
    assert nasbench201.datasets()[3:6] == ["svhn", "ninapro", "scifar100"]
    for task in ("svhn", "ninapro", "scifar100"):
        names, values = Benchmark(nasbench201, task).proxies()
        assert names == PROXIES
        assert 190 < (~np.isnan(values[:, 0])).sum() < 200
        assert (~np.isnan(nasbench201.values("val_accuracy", dataset=task))).sum() == 199
    names, values = Benchmark(nasbench201, "cifar100").proxies(variant="naslib")
    assert len(names) == 12
    assert (~np.isnan(values[:, 0])).sum() in (724, 725)
    assert np.nanmin(nasbench201.values("nwot_seconds", dataset="cifar10")) > 0


@pytest.mark.data
def test_fbnet_correlations(fbnet):
    eyeriss = fbnet.values("latency", device="eyeriss")
    for name, rho in {"flops": 0.971, "params": 0.628, "nwot": 0.851, "fisher": 0.456}.items():
        assert spearmanr(fbnet.values(name), eyeriss).statistic == pytest.approx(rho, abs=1e-3)


@pytest.mark.data
def test_the_tables_belong_to_the_registered_spaces(nasbench201, fbnet):
    assert nasbench201.space.name == "nasbench201"
    assert nasbench201.space.size == 15625
    np.testing.assert_array_equal(nasbench201.space.enumerate(), nasbench201.content.archs)
    oracle = TableOracle(nasbench201, "test_accuracy", dataset="cifar10")
    text = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
    assert oracle(0) == oracle(text) == pytest.approx(85.8633, abs=1e-4)
    assert isinstance(fbnet.space, Pool)
    assert fbnet.space.size == 5000
    members = fbnet.space.sample(50, seed=0)
    expected = fbnet.values("latency", device="eyeriss")[fbnet.rows(members)]
    np.testing.assert_array_equal(TableOracle(fbnet, "latency", device="eyeriss")(members), expected)
