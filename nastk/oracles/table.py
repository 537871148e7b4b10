"""Public tables as oracles: published measurements, queried like a training or a measurement.

``benchmark("nasbench201", dataset="cifar10").oracle("latency", device="pixel3")`` reads the table that
``nastk data fetch nasbench201`` fetched. Values are the source's measurements, unaltered.
"""

from __future__ import annotations

import copyreg
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nastk.data import computed_proxies, imported, tables
from nastk.data.fetch import Store
from nastk.data.proxies import PROXIES
from nastk.data.tables import Block, Column, ColumnTable, spread_of
from nastk.errors import InvalidArchitecture, InvalidValue, UnknownName, Unsupported
from nastk.evaluation import Kind
from nastk.oracles.base import Evaluation, Oracle, Values
from nastk.registry import SPACES
from nastk.spaces._pool import Pool
from nastk.spaces.base import Archs, SearchSpace
from nastk.spaces.factory import space as space_named


class Proxies(NamedTuple):
    """Zero-cost proxies of every row of a table: names ``(k,)`` and values ``(n, k)``, NaN where unknown."""

    names: tuple[str, ...]
    values: NDArray[np.float64]


class TableProxies:
    """Zero-cost proxies of a table by architecture, for the ``zcp`` encoding.

    Attributes:
        names: of the ``k`` proxies.
        further: proxies that nastk computed for some of the networks, no part of the table; None if there are none.
    """

    def __init__(self, table: Table, proxies: Proxies):
        self._table, self._values = table, proxies.values
        self.names = proxies.names
        own = table.reference != table.name  # a user's space, whatever its name
        self.further = None if own else computed_proxies.read(table.name)

    def __call__(self, archs: Any) -> NDArray[np.float64]:
        """Proxies of architectures of the table, ``(n, k)``, NaN where unknown."""
        return self._values[self._table.rows(archs)]


class TableLatencies:
    """Latencies of a table by architecture, for the ``hwl`` encoding.

    Attributes:
        names: of the ``k`` devices.
    """

    def __init__(self, table: Table, names: Sequence[str], values: NDArray[np.float64]):
        self._table, self._values, self.names = table, values, tuple(names)

    def __call__(self, archs: Any) -> NDArray[np.float64]:
        """Latencies of architectures of the table, ``(n, k)``, NaN where unknown."""
        return self._values[self._table.rows(archs)]


def _official_places(archs: NDArray[Any], space: SearchSpace) -> NDArray[np.int64] | None:
    """Index of each architecture in the official order if they are the whole space, else None."""
    if not space.enumerable or space.size != len(archs):
        return None
    try:
        places = space.index(archs.astype(np.int64))
    except (InvalidArchitecture, Unsupported):
        return None
    return places if (np.bincount(places, minlength=len(archs)) == 1).all() else None


def _in_official_order(content: ColumnTable, space: SearchSpace) -> ColumnTable:
    """The table with its rows in the space's official order, if it holds the whole space; otherwise unchanged."""
    places = _official_places(content.archs, space)
    if places is None or np.array_equal(places, np.arange(len(places))):
        return content
    blocks = []
    for block in content.blocks:
        rows = places if block.rows is None else places[block.rows]
        order = np.argsort(rows)
        whole = len(rows) == len(places)
        blocks.append(Block(None if whole else rows[order].astype(np.int32), block.values[:, order]))
    return replace(content, archs=content.archs[np.argsort(places)], blocks=blocks)


def _distinct(items: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(items))


class Table:
    """Measured metrics of the architectures of a space.

    Args:
        content: the stored table.
        space: the space that its architectures belong to; by default the registered one of the table's name.

    Attributes:
        name: of its space.
        reference: what :func:`benchmark` opens it by: that name or, of a user's own space, ``file.py:Class``.
    """

    def __init__(self, content: ColumnTable, space: SearchSpace | None = None):
        self.content = content
        self.name = content.name
        self.reference = content.name
        self._whole = space
        self._home: str | None = None
        self._stored = False
        self._proxies: dict[tuple[str | None, str | None], TableProxies] = {}

    def __reduce__(self) -> Any:
        # A worker process opens the stored table again: a name is sent, and not megabytes with every evaluation.
        if self._stored:
            return _opened, (self.reference, self._home)
        return copyreg.__newobj__, (type(self),), {**vars(self), "_proxies": {}}  # type: ignore[attr-defined]

    @classmethod
    def load(cls, name: str | SearchSpace, home: str | os.PathLike[str] | None = None) -> Table:
        """The table of a space from the cache `home` (by default ``NASTK_HOME``), with the user's imported columns.

        Without a fetched table, it consists of the imports. A table of the whole space is in its official order.

        Raises:
            UnknownName: no such space.
            DataError: not fetched, nothing imported, or damaged; the message names the command that repairs it. A
                user's own space has changed since.
        """
        store = Store(home)
        space = space_named(name).whole
        table = cls(_in_official_order(imported.load(space, store, str(name)), space), space)
        table._home = str(store.home)
        if isinstance(name, str):
            table.reference, table._stored = name, True
        return table

    @property
    def columns(self) -> list[Column]:
        """Descriptions of the columns: metric, unit, data set, device, fidelity, source."""
        return self.content.columns

    @cached_property
    def space(self) -> SearchSpace:
        """The space whose architectures the table holds: the whole one if it holds all, else a pool of its members."""
        whole: SearchSpace = self._whole or SPACES.create(self.name)
        archs = self.content.archs
        order = _official_places(archs, whole)
        if order is not None and np.array_equal(order, np.arange(len(archs))):
            return whole
        return Pool(whole, archs.astype(np.int64))

    def __len__(self) -> int:
        return len(self.content.archs)

    def rows(self, archs: Any) -> NDArray[np.int64]:
        """Row numbers ``(n,)`` of architectures given as text, index, row or ``(n, d)`` array.

        Where the table holds an equal network instead (:meth:`SearchSpace.as_networks`), the row of that.

        Raises:
            InvalidArchitecture: the table does not hold them.
        """
        try:
            return self.space.index(self.space.as_archs(archs))
        except InvalidArchitecture:
            whole = self.space.whole
            if whole is self.space or isinstance(archs, (int, np.integer)):
                raise
            networks = np.ascontiguousarray(whole.as_networks(whole.as_archs(archs)))
            rows = [self._network_rows.get(row.tobytes(), -1) for row in networks]
            if min(rows, default=0) < 0:
                raise
            return np.array(rows, dtype=np.int64)

    @cached_property
    def _network_rows(self) -> dict[bytes, int]:
        """The first row of each network of a table that holds a part of its space."""
        networks = np.ascontiguousarray(self.space.whole.as_networks(self.space.enumerate()))
        rows: dict[bytes, int] = {}
        for i, network in enumerate(networks):
            rows.setdefault(network.tobytes(), i)
        return rows

    def subset(self, rows: NDArray[np.int64]) -> Table:
        """The table restricted to some of its rows, in their order; its space is a pool of them."""
        blocks = []
        for block in self.content.blocks:
            if block.rows is None:
                blocks.append(Block(None, block.values[:, rows]))
                continue
            place = np.full(len(self), -1)
            place[block.rows] = np.arange(len(block.rows))
            held = np.flatnonzero(place[rows] >= 0)
            blocks.append(Block(held.astype(np.int32), block.values[:, place[rows[held]]]))
        content = replace(self.content, archs=self.content.archs[rows], blocks=blocks)
        return Table(content, self.space.whole)

    # ---- contents

    @property
    def source_devices(self) -> tuple[str, ...]:
        """Devices that latency predictors learn from in benchmarks, as the table's importer names them."""
        return tuple(tables.fact(self.name, "SOURCE_DEVICES", ()))

    @property
    def noisy_proxies(self) -> tuple[str, ...]:
        """Proxies whose published values are mostly noise, as the table's importer names them."""
        return tuple(tables.fact(self.name, "NOISY_PROXIES", ()))

    @property
    def target_devices(self) -> tuple[str, ...]:
        """Devices that benchmarks search for, as the table's importer names them."""
        return tuple(tables.fact(self.name, "TARGET_DEVICES", ()))

    def metrics(self) -> list[str]:
        """Names of all metrics."""
        return _distinct(c.metric for c in self.columns)

    def datasets(self, metric: str | None = None) -> list[str]:
        """Data sets of the table (or of one of its metrics)."""
        columns = self.columns if metric is None else [c for _, c in self._of_metric(metric)]
        return _distinct(c.dataset for c in columns if c.dataset is not None)

    def devices(self, metric: str = "latency", *, dataset: str | None = None) -> list[str]:
        """Devices with values of `metric` on this data set (or independent of data sets); on any data set if None."""
        columns = [c for _, c in self._of_metric(metric) if dataset is None or c.dataset in (dataset, None)]
        return _distinct(c.device for c in columns if c.device is not None)

    def fidelities(
        self, metric: str, *, dataset: str | None = None, device: str | None = None, variant: str | None = None
    ) -> list[float]:
        """Training epochs at which the metric is known, ascending; empty if it has no fidelities."""
        candidates = self._candidates(metric, dataset, device, variant)
        return sorted(c.fidelity for _, c in candidates if c.fidelity is not None)

    # ---- values

    def values(
        self,
        metric: str,
        *,
        dataset: str | None = None,
        device: str | None = None,
        fidelity: float | None = None,
        variant: str | None = None,
    ) -> Values:
        """One column, shape ``(n,)`` in the order of the rows, NaN where unknown.

        Args:
            metric: name ("test_accuracy", "latency", "nwot").
            dataset: a column of this data set takes precedence over one independent of data sets.
            device: of a latency or energy.
            fidelity: training epochs; by default the most that the main source has.
            variant: name of a second source or of an import, if there is one; by default the main source. An import is
                found without it too where nothing else has the metric (at that fidelity).

        Raises:
            UnknownName: no such metric, data set or device.
            InvalidValue: a needed data set or device is missing, or there is no such fidelity.
        """
        return self.content.values(
            self.find(metric, dataset=dataset, device=device, fidelity=fidelity, variant=variant)[0]
        )

    def find(
        self,
        metric: str,
        *,
        dataset: str | None = None,
        device: str | None = None,
        fidelity: float | None = None,
        variant: str | None = None,
    ) -> tuple[int, Column]:
        """Number and description of the column that :meth:`values` returns."""
        candidates = self._candidates(metric, dataset, device, variant)
        if fidelity is None:
            return max(candidates, key=lambda c: c[1].fidelity or 0)
        for number, column in candidates:
            if column.fidelity == fidelity:
                return number, column
        brought = self._imported(candidates[0][1], dataset, fidelity) if variant is None else []
        if len(brought) > 1:
            names = ", ".join(str(c.variant) for _, c in brought)
            raise InvalidValue(f"several imports have {metric} at {fidelity:g} epochs; name one as variant: {names}")
        if brought:
            return brought[0]
        known = ", ".join(f"{c.fidelity:g}" for _, c in candidates if c.fidelity is not None)
        have = f"has fidelities {known} (epochs)" if known else "has no fidelities"
        raise InvalidValue(f"{metric} of {self.name} {have}; got {fidelity:g}")

    def _imported(self, default: Column, dataset: str | None, fidelity: float) -> list[tuple[int, Column]]:
        """Columns of imports at a fidelity that the default column's source does not have."""
        datasets = (dataset, default.dataset)
        return [
            (i, c)
            for i, c in enumerate(self.columns)
            if c.imported
            and (c.metric, c.device, c.fidelity) == (default.metric, default.device, fidelity)
            and c.dataset in datasets
        ]

    def _of_metric(self, metric: str) -> list[tuple[int, Column]]:
        columns = [(i, c) for i, c in enumerate(self.columns) if c.metric == metric]
        if not columns:
            raise UnknownName(f"metric of {self.name}", metric, self.metrics())
        return columns

    def _candidates(
        self, metric: str, dataset: str | None, device: str | None, variant: str | None
    ) -> list[tuple[int, Column]]:
        """The columns that differ only in fidelity."""
        if dataset is not None and dataset not in self.datasets():
            raise UnknownName(f"dataset of {self.name}", dataset, self.datasets())
        columns = self._of_metric(metric)
        devices = _distinct(c.device for _, c in columns if c.device is not None)
        if device is None and devices:
            raise InvalidValue(f"{metric} needs a device, one of {', '.join(devices)}")
        if device is not None and not devices:
            raise InvalidValue(f"{metric} of {self.name} does not depend on a device; got {device!r}")
        if device is not None and device not in devices:
            raise UnknownName(f"device with {metric} in {self.name}", device, devices)
        columns = [(i, c) for i, c in columns if c.device == device]
        columns = self._of_variant(metric, columns, variant)
        known = _distinct(c.dataset for _, c in columns)
        if dataset is None and None not in known:
            if len(known) > 1:
                raise InvalidValue(f"{metric} of {self.name} needs a dataset, one of {', '.join(map(str, known))}")
            dataset = known[0]
        if dataset not in known and None not in known:
            what = " ".join(p for p in (metric, device, variant) if p)
            raise UnknownName(f"dataset with {what} in {self.name}", str(dataset), [str(k) for k in known])
        return [(i, c) for i, c in columns if c.dataset == (dataset if dataset in known else None)]

    @staticmethod
    def _of_variant(metric: str, columns: list[tuple[int, Column]], variant: str | None) -> list[tuple[int, Column]]:
        """The columns of a variant, or of the import of that name; by default of the main source, else the first."""
        variants = _distinct(c.variant for _, c in columns)
        if variant is None and None not in variants:
            variant = variants[0]
        found = [(i, c) for i, c in columns if c.variant == variant]
        found = found or [(i, c) for i, c in columns if variant is not None and c.imported == variant]
        if not found:
            known = {*(c.variant for _, c in columns), *(c.imported for _, c in columns)}
            raise UnknownName(f"variant of {metric}", str(variant), [v for v in known if v])
        return found

    def spread(self, column: Column) -> Values:
        """Standard deviation of a column's values ``(n,)`` where architectures were measured repeatedly, else NaN."""
        wanted = spread_of(column)
        for number, other in enumerate(self.columns):
            if other.metric == wanted.metric and (other.label, other.imported) == (wanted.label, wanted.imported):
                return self.content.values(number)
        return np.full(len(self), np.nan)

    def __repr__(self) -> str:
        return f"<table {self.name}: {len(self)} architectures, {len(self.columns)} columns>"


@lru_cache(maxsize=4)
def _opened(name: str, home: str | None) -> Table:
    """The stored table, opened once a process."""
    return Table.load(name, home)


class TableOracle(Oracle):
    """One metric of a table.

    Trainings and measurements are `expensive`, as they would be outside the table (their cost is unknown: NaN); counts
    and zero-cost proxies are free. The spread is that of repeated measurements, where an import has some, else unknown
    (NaN).

    Args:
        table, metric, dataset, device, fidelity, variant: see :meth:`Table.values`.
    """

    def __init__(
        self,
        table: Table,
        metric: str,
        *,
        dataset: str | None = None,
        device: str | None = None,
        fidelity: float | None = None,
        variant: str | None = None,
    ):
        number, column = table.find(metric, dataset=dataset, device=device, fidelity=fidelity, variant=variant)
        self.table, self.column, self.few_shot = table, column, metric == "latency"
        self.space = table.space
        self.name, self.unit, self.direction, self.expensive = metric, column.unit, column.direction, column.expensive
        self.dataset, self.device, self.fidelity = dataset, device, column.fidelity
        self.source = self.source_at(column.fidelity)
        variant = variant or column.variant
        self._choice: dict[str, Any] = {"metric": metric, "dataset": dataset, "device": device, "variant": variant}
        self._values = {column.fidelity: (table.content.values(number), table.spread(column))}
        self.fidelities = table.fidelities(**self._choice)

    kind = "table"

    def source_at(self, fidelity: float | None) -> str:
        """Where values at a fidelity come from: table, data set, device, epochs, and the import or second source."""
        column = self.column
        words = ["table", self.table.name, column.dataset, column.device]
        if (epochs := column.fidelity if fidelity is None else fidelity) is not None:
            words.append(f"at {epochs:g} epochs")
        if column.imported:
            words.append(f"imported as {column.imported}")
        elif column.variant:
            words.append(f"({column.variant})")
        return " ".join(w for w in words if w)

    def __getstate__(self) -> dict[str, Any]:
        # The table knows its space and values: where it is opened again, only their names are sent.
        left_out = ("space", "_values") if self.table._stored else ()
        return {name: value for name, value in vars(self).items() if name not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if "space" not in state:
            self.space, self._values = self.table.space, {}

    def describe(self) -> dict[str, Any]:
        where = {"dataset": self.dataset, "device": self.device, "variant": self._choice["variant"]}
        what = {"metric": self.name, "fidelity": self.fidelity, "direction": self.direction}
        return {"oracle": "table", "table": self.table.reference, **what, **where}

    def identity(self) -> dict[str, Any]:
        what = {name: value for name, value in self.describe().items() if name not in ("direction", "fidelity")}
        return {**what, "table": self.table.name, "source": self.source}  # a path may be written in several ways

    def search_proxies(self) -> TableProxies | None:
        """Zero-cost proxies that a search may look up; see :meth:`Benchmark.search_proxies`."""
        return Benchmark(self.table, self.dataset).search_proxies()

    def knows(self, archs: Archs, fidelity: float | None = None) -> NDArray[np.bool_]:
        """Which architectures ``(n, d)`` the table has a value of, at a fidelity or at the oracle's own, ``(n,)``."""
        known = np.asarray(self.space.is_valid(archs))
        known[known] = np.isfinite(self.evaluate(archs[known], fidelity).value)
        return known

    def _evaluate(self, archs: Archs, fidelity: float | None) -> Evaluation:
        epochs = self.fidelity if fidelity is None else fidelity
        if epochs not in self._values:
            number, column = self.table.find(**self._choice, fidelity=epochs)
            self._values[epochs] = self.table.content.values(number), self.table.spread(column)
        rows = self.space.index(archs)
        value, std = (values[rows] for values in self._values[epochs])
        return Evaluation(value, std, np.full(len(value), np.nan if self.expensive else 0.0))


class Benchmark:
    """A table with a default data set: the source of oracles for a search.

    Args:
        table: the measurements.
        dataset: the default data set.

    Raises:
        UnknownName: the table has no such data set.
    """

    def __init__(self, table: Table, dataset: str | None = None):
        if dataset is not None and dataset not in table.datasets():
            raise UnknownName(f"dataset of {table.name}", dataset, table.datasets())
        self.table, self.dataset = table, dataset

    @property
    def space(self) -> SearchSpace:
        """The space of the table's architectures."""
        return self.table.space

    def devices(self, metric: str = "latency") -> list[str]:
        """Devices with values of `metric` for the data set."""
        return self.table.devices(metric, dataset=self.dataset)

    def oracle(
        self,
        metric: str,
        *,
        dataset: str | None = None,
        device: str | None = None,
        fidelity: float | None = None,
        variant: str | None = None,
    ) -> TableOracle:
        """One metric as an oracle ("test_accuracy", "latency", "energy", "nwot" ...); see :meth:`Table.values`."""
        return TableOracle(
            self.table, metric, dataset=dataset or self.dataset, device=device, fidelity=fidelity, variant=variant
        )

    def values(
        self,
        metric: str,
        *,
        dataset: str | None = None,
        device: str | None = None,
        fidelity: float | None = None,
        variant: str | None = None,
    ) -> Values:
        """One metric of every row, shape ``(n,)``; see :meth:`Table.values`."""
        return self.table.values(
            metric, dataset=dataset or self.dataset, device=device, fidelity=fidelity, variant=variant
        )

    def proxies(self, dataset: str | None = None, variant: str | None = None) -> Proxies:
        """Zero-cost proxies of every row, in alphabetical order; NaN where the source has none.

        Args:
            dataset: by default the benchmark's.
            variant: "naslib" for the second source of some tables, which may lack some of the 13.

        Raises:
            UnknownName: the source has no proxies for the data set, or there is no such variant.
            InvalidValue: the table has no proxies at all.
        """
        # counts are proxies, too, but not in a table that shows them as measurements
        held = [c for c in self.table.columns if c.metric in PROXIES and not c.expensive]
        columns = [c for c in held if c.variant == variant]
        if not columns and variant is None:
            raise InvalidValue(f"the table {self.table.name} has no zero-cost proxies")
        if not columns:
            known = {c.variant for c in held if c.variant}
            raise UnknownName(f"variant of the proxies of {self.table.name}", str(variant), known)
        wanted = dataset or self.dataset
        there = {c.metric for c in columns if wanted is None or c.dataset in (None, wanted)}
        names = tuple(p for p in PROXIES if p in (there or {c.metric for c in columns}))
        values = [self.values(name, dataset=dataset, variant=variant) for name in names]
        return Proxies(names, np.stack(values, axis=1))

    def proxy_source(self, dataset: str | None = None, variant: str | None = None) -> TableProxies:
        """The same proxies by architecture, for ``nastk.Context(proxies=...)`` and the ``zcp`` encoding."""
        # One object for all that look them up: predictors keep features by the source that they come from.
        kept, key = self.table._proxies, (dataset or self.dataset, variant)
        if key not in kept:
            kept[key] = TableProxies(self.table, self.proxies(dataset, variant))
        return kept[key]

    def nearest_proxies(self) -> TableProxies | None:
        """The proxies on the data set, else those on the table's first data set that has some, else None."""
        return next(self._proxy_sources(), None)

    def _proxy_sources(self) -> Iterator[TableProxies]:
        """The proxies on the data set, if any, then those on the table's others."""
        for dataset in dict.fromkeys([self.dataset, *self.table.datasets()]):
            try:
                source = self.proxy_source(dataset)
            except (UnknownName, InvalidValue):
                continue
            yield source

    def search_proxies(self, share: float = 0.9) -> TableProxies | None:
        """The nearest proxies that at least this share of the architectures has all of, else None.

        An architecture counts if it or its canonical form has them, since readers of proxies fall back to that form.
        """
        archs = self.space.enumerate()
        for source in self._proxy_sources():
            own, canonical = (np.isfinite(source(a)).all(axis=1) for a in (archs, self.space.canonical(archs)))
            if (own | canonical).mean() >= share:
                return source
        return None

    def latency_source(self, devices: Sequence[str], dataset: str | None = None) -> TableLatencies:
        """Measured latencies on these devices by architecture, for ``nastk.Context(latencies=...)``.

        Raises:
            UnknownName: no such device.
        """
        columns = [self.values("latency", device=name, dataset=dataset) for name in devices]
        return TableLatencies(self.table, devices, np.stack(columns, axis=1))

    def __repr__(self) -> str:
        return f"<benchmark {self.table.name}{', ' + self.dataset if self.dataset else ''}>"


def benchmark(
    name: str | SearchSpace, dataset: str | None = None, home: str | os.PathLike[str] | None = None
) -> Benchmark:
    """A fetched or imported table as a benchmark.

    Args:
        name: of its space ("nasbench201", "fbnet"); of a user's own ``file.py:Class``, or the space itself.
        dataset: the default data set of its oracles.
        home: the cache; by default ``NASTK_HOME``.

    Raises:
        UnknownName: no such space or data set.
        DataError: neither fetched nor imported; the message names the command that brings it.
    """
    return Benchmark(Table.load(name, home), dataset)


def has_table(space: str | SearchSpace, home: str | os.PathLike[str] | None = None) -> bool:
    """Whether something was fetched for a space, or imported into it."""
    return imported.is_there(space_named(space).whole, Store(home))


def first_dataset(name: str, home: str | os.PathLike[str] | None = None) -> Benchmark:
    """A fetched table as a benchmark on its first data set, or on none if it has none."""
    table = Table.load(name, home)
    return Benchmark(table, next(iter(table.datasets()), None))


class CountingOracle(Oracle):
    """Forwards to another oracle and records which architectures were evaluated.

    Tests and benchmarks use it to show that a searcher sees only values that it asked to evaluate.

    Args:
        oracle: the oracle to forward to.
    """

    def __init__(self, oracle: Oracle):
        self.oracle = oracle
        self.space, self.name, self.unit, self.direction = oracle.space, oracle.name, oracle.unit, oracle.direction
        self.expensive, self.source, self.per_network = oracle.expensive, oracle.source, oracle.per_network
        self.fidelities, self.fidelity = oracle.fidelities, oracle.fidelity
        self.dataset, self.device, self.few_shot = oracle.dataset, oracle.device, oracle.few_shot
        self.questions: list[tuple[Archs, float | None]] = []

    def __getattr__(self, name: str) -> Any:
        if name == "oracle":
            raise AttributeError(name)
        return getattr(self.oracle, name)

    @property
    def kind(self) -> Kind:
        return self.oracle.kind

    def describe(self) -> dict[str, Any]:
        return self.oracle.describe()

    def identity(self) -> dict[str, Any]:
        return self.oracle.identity()

    def source_at(self, fidelity: float | None) -> str:
        return self.oracle.source_at(fidelity)

    def search_proxies(self) -> Any:
        return self.oracle.search_proxies()

    @property
    def asked(self) -> Archs:
        """All evaluated architectures, in order and with repetitions, shape ``(count, d)``."""
        return np.concatenate([np.empty((0, self.space.d), np.int64), *(archs for archs, _ in self.questions)])

    @property
    def count(self) -> int:
        """Number of evaluated architectures, repetitions included."""
        return sum(len(archs) for archs, _ in self.questions)

    def _evaluate(self, archs: Archs, fidelity: float | None) -> Evaluation:
        self.questions.append((archs.copy(), fidelity))
        return self.oracle.evaluate(archs, fidelity)
