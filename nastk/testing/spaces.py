"""Conformance kit of search spaces: the contract of every space, third-party ones included."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from nastk.errors import InvalidArchitecture, InvalidValue, Unsupported
from nastk.spaces.base import Archs, SearchSpace


def check_space(space: SearchSpace, n: int = 64, seed: int = 0, **build_options: Any) -> None:
    """Test the contract of :class:`nastk.SearchSpace`; raises AssertionError with the violation.

    Args:
        space: the space; one that cannot build networks (``build`` raises Unsupported) is tested without them.
        n: number of architectures to test with.
        seed: random seed.
        build_options: of ``build``, ``input_shape`` and ``statics``, for networks small enough to run.
    """
    assert isinstance(space.name, str), "name must be a string"
    assert space.name, "name is empty"
    assert space.choices, "a space needs at least one choice"
    assert all(len(set(c.options)) == len(c.options) > 0 for c in space.choices), "a choice's options must differ"
    assert len({c.name for c in space.choices}) == space.d, "two choices have the same name"
    assert isinstance(space.size, int), f"size is a {type(space.size).__name__}, must be a Python integer"
    assert space.size > 0, f"size is {space.size}"
    assert "\n" not in repr(space), "repr has several lines"
    if space.enumerable:
        listed = len(space.enumerate())
        assert listed == space.size, f"size is {space.size}, but enumerate lists {listed} architectures"
    archs = _check_sampling(space, n, seed)
    _check_input(space, archs)
    _check_text(space, archs)
    _check_canonical(space, archs)
    _check_moves(space, archs, seed)
    _check_enumeration(space, archs)
    _check_features(space, archs)
    _check_graph(space, archs[:4])
    _check_graphs(space, archs, isomorphic=8)
    _check_statics(space, archs, build_options)
    _check_networks(space, archs[:2], build_options)


def _members(space: SearchSpace, archs: Any, rows: int | None, what: str) -> Archs:
    assert isinstance(archs, np.ndarray), f"{what} returned a {type(archs).__name__}, must be an array"
    assert archs.ndim == 2, f"{what} returned shape {archs.shape}, must be (n, {space.d})"
    assert archs.shape == (len(archs) if rows is None else rows, space.d), (
        f"{what} returned shape {archs.shape}, must be ({'n' if rows is None else rows}, {space.d})"
    )
    assert archs.dtype == np.int64, f"{what} returned {archs.dtype}, must be int64"
    assert ((archs >= 0) & (archs < space.sizes)).all(), f"{what} left the range of a choice"
    valid = space.is_valid(archs)
    assert valid.shape == (len(archs),), f"is_valid returned shape {valid.shape} for {len(archs)} rows"
    assert valid.dtype == bool, f"is_valid returned {valid.dtype}, must be bool"
    assert valid.all(), f"{what} left the space: {archs[np.argmin(valid)].tolist()} is not valid"
    return archs


def _distinct(archs: Archs) -> int:
    return len(np.unique(archs, axis=0))


def _refuses(error: type[Exception], action: Callable[[], object], what: str) -> None:
    try:
        action()
    except error as raised:
        message = str(raised)
    except Exception as other:
        raise AssertionError(f"{what} must raise {error.__name__}, not {type(other).__name__}: {other}") from other
    else:
        raise AssertionError(f"{what} must raise {error.__name__}")
    assert message, f"the error for {what} says nothing"
    assert "\n" not in message, f"the error for {what} has several lines"


def _check_sampling(space: SearchSpace, n: int, seed: int) -> Archs:
    archs = _members(space, space.sample(n, seed), n, "sample")
    assert np.array_equal(space.sample(n, seed), archs), "sample is not deterministic: one seed gives two samples"
    assert np.array_equal(space.sample(n, np.random.default_rng(seed)), archs), "a seed and its generator must agree"
    _members(space, space.sample(0, seed), 0, "sample(0)")
    if space.size > 100:
        rng = np.random.default_rng(seed)
        assert not np.array_equal(space.sample(n, rng), space.sample(n, rng)), "sample does not advance the generator"
        assert _distinct(archs) > 1, "sample always returns the same architecture"
    some = min(n, space.size)
    unique = _members(space, space.sample(some, seed, unique=True), some, "sample(unique=True)")
    assert _distinct(unique) == some, "sample(unique=True) repeats an architecture"
    if space.size < 10**6:
        _refuses(InvalidValue, lambda: space.sample(space.size + 1, seed, unique=True), "sampling more than there are")
    return archs


def _check_input(space: SearchSpace, archs: Archs) -> None:
    assert np.array_equal(space.as_archs(archs), archs), "as_archs changes valid rows"
    assert np.array_equal(space.as_archs(archs[0]), archs[:1]), "as_archs must take one row"
    assert np.array_equal(space.as_archs(archs.tolist()), archs), "as_archs must take lists"
    assert space.as_archs([]).shape == (0, space.d), "as_archs must take an empty list"
    beyond = archs[:1].copy()
    beyond[0, -1] = space.sizes[-1]
    _refuses(InvalidArchitecture, lambda: space.as_archs(beyond), "an option that does not exist")
    _refuses(InvalidArchitecture, lambda: space.as_archs(archs[:1] - 100), "a negative option")
    longer = np.concatenate([archs[:1], archs[:1, :1]], axis=1)
    _refuses(InvalidArchitecture, lambda: space.as_archs(longer), "a row with a choice too many")
    _refuses(InvalidArchitecture, lambda: space.as_archs(archs[:1] + 0.5), "a row that is not of integers")


def _check_text(space: SearchSpace, archs: Archs) -> None:
    texts = space.format_all(archs)
    for arch, text in zip(archs, texts, strict=True):
        assert isinstance(text, str), f"format returned a {type(text).__name__}"
        assert text, "format returned an empty text"
        assert "\n" not in text, "format returned several lines"
        back = space.parse(text)
        assert back.shape == (space.d,), f"parse returned shape {back.shape}, must be ({space.d},)"
        assert np.array_equal(back, arch), f"parse and format do not round-trip: {arch.tolist()} came back as {back}"
    assert len(set(texts)) == _distinct(archs), "two architectures have the same text"
    assert np.array_equal(space.as_archs(texts), archs), "as_archs must take texts"
    integers = ",".join(str(v) for v in archs[0])
    assert np.array_equal(space.parse(integers), archs[0]), "parse must read the integers, separated by commas"
    for text in ("", "no such architecture", texts[0] + texts[0], texts[0][:-1] + "?", integers + ",0"):
        _refuses(InvalidArchitecture, lambda text=text: space.parse(text), f"parse({text!r})")  # type: ignore[misc]


def _check_canonical(space: SearchSpace, archs: Archs) -> None:
    before = archs.copy()
    canonical = _members(space, space.canonical(archs), len(archs), "canonical")
    assert np.array_equal(archs, before), "canonical changes its argument"
    assert np.array_equal(space.canonical(canonical), canonical), "canonical is not idempotent"
    assert np.array_equal(space.canonical(archs[::-1]), canonical[::-1]), "canonical of a row depends on the other rows"
    keys: list[Hashable] = space.keys(archs)
    assert len(keys) == len(archs), "keys must return one key per architecture"
    assert len(set(keys)) == _distinct(canonical), "keys must be equal exactly where canonical forms are"
    assert space.keys(canonical) == keys, "an architecture and its canonical form have different keys"
    active = space.active(archs)
    assert active.shape == archs.shape, f"active returned shape {active.shape}, must be {archs.shape}"
    assert np.array_equal(archs, before), "active changes its argument"
    first = np.where(active, archs, 0)
    assert space.whole.keys(first) == space.whole.keys(archs), "a choice that is not active changes the network"
    connected = space.connected(archs)
    assert connected.shape == (len(archs),), f"connected returned shape {connected.shape} for {len(archs)} rows"
    executed = space.compiled(archs)
    assert executed.shape == archs.shape, f"compiled returned shape {executed.shape}, must be {archs.shape}"
    assert np.array_equal(archs, before), "compiled changes its argument"
    assert np.array_equal(space.compiled(executed), executed), "compiled is not idempotent"
    whole = space.whole  # the compiled architecture need not be in the pool
    same = np.array([a == b for a, b in zip(whole.keys(executed), whole.keys(archs), strict=True)], dtype=bool)
    assert same[connected].all(), "compiled changes the function of a connected network"
    executed = space.merged(archs)
    assert executed.shape == archs.shape, f"merged returned shape {executed.shape}, must be {archs.shape}"
    assert np.array_equal(archs, before), "merged changes its argument"
    assert np.array_equal(space.merged(executed), executed), "merged is not idempotent"


def _check_moves(space: SearchSpace, archs: Archs, seed: int) -> None:
    n, before = len(archs), archs.copy()
    children = _members(space, space.mutate(archs, seed), n, "mutate")
    assert np.array_equal(archs, before), "mutate changes its argument"
    assert np.array_equal(space.mutate(archs, seed), children), "mutate is not deterministic"
    if space.size > 1:
        assert (children != archs).any(axis=1).all(), "mutate returned a parent unchanged"
    if space.size > 3:
        _members(space, space.mutate(archs, seed, n_changes=2), n, "mutate(n_changes=2)")
    _members(space, space.mutate(archs[:0], seed), 0, "mutate of nothing")

    others = archs[::-1].copy()
    crossed = _members(space, space.crossover(archs, others, seed), n, "crossover")
    assert np.array_equal(archs, before), "crossover changes its argument"
    assert np.array_equal(space.crossover(archs, others, seed), crossed), "crossover is not deterministic"

    for arch in archs[:8]:
        around = _members(space, space.neighbours(arch), None, "neighbours")
        assert not (around == arch).all(axis=1).any(), "neighbours include the architecture itself"
        assert _distinct(around) == len(around), "neighbours repeat an architecture"
        assert np.array_equal(space.neighbours(arch), around), "neighbours are not deterministic"


def _check_enumeration(space: SearchSpace, archs: Archs) -> None:
    if not space.enumerable:
        _refuses(Unsupported, space.enumerate, "enumerating a space that is not enumerable")
        return
    everything = _members(space, space.enumerate(), space.size, "enumerate")
    assert _distinct(everything) == space.size, "enumerate repeats an architecture"
    listed = {row.tobytes() for row in np.ascontiguousarray(everything)}
    assert all(row.tobytes() in listed for row in np.ascontiguousarray(archs)), "sample draws what enumerate lacks"
    assert np.array_equal(space.from_index(np.arange(space.size)), everything), "from_index disagrees with enumerate"
    _refuses(InvalidArchitecture, lambda: space.from_index(space.size), "an index beyond the last")
    _refuses(InvalidArchitecture, lambda: space.from_index(-1), "a negative index")
    try:
        index = space.index(everything)
    except Unsupported:
        return
    assert np.array_equal(index, np.arange(space.size)), "index is not the inverse of from_index"


def _check_features(space: SearchSpace, archs: Archs) -> None:
    hot = space.one_hot(archs)
    assert hot.shape == (len(archs), int(space.sizes.sum())), f"one_hot has shape {hot.shape}"
    assert np.array_equal(np.unique(hot), [0.0, 1.0]) or space.size == 1, "one_hot has values other than 0 and 1"
    assert (hot.sum(axis=1) == space.d).all(), "one_hot must mark one option per choice"
    for grouped in (False, True):
        matrix, names = space.count_matrix(grouped)
        assert matrix.shape == (hot.shape[1], len(names)), f"count_matrix has shape {matrix.shape}, {len(names)} names"
        assert len(set(names)) == len(names), "two counts have the same name"
        if names:
            assert ((hot @ matrix).sum(axis=1) == space.d).all(), "counts must add up to the number of choices"


def _check_graph(space: SearchSpace, archs: Archs) -> None:
    import networkx as nx

    for arch in archs:
        graph = space.graph(arch)
        assert isinstance(graph, nx.DiGraph), f"graph returned a {type(graph).__name__}"
        assert len(graph), "graph has no nodes"
        assert nx.is_directed_acyclic_graph(graph), "graph has a cycle"
        assert all(isinstance(op, str) for _, op in graph.nodes(data="op")), "a node of graph has no op label"


def _check_graphs(space: SearchSpace, archs: Archs, isomorphic: int) -> None:
    """The arrays of `graphs` against the graphs of `graph`, the first `isomorphic` of them up to isomorphism."""
    import networkx as nx
    from networkx.algorithms.isomorphism import categorical_node_match

    assert len(space.graphs(archs[:0]).operations) == 0, "graphs must take no architectures"
    graphs = space.graphs(archs)
    labels, operations, adjacency = graphs
    assert len(set(labels)) == len(labels), "graphs has a label twice"
    assert labels[:2] == ("input", "output"), f"labels of graphs must start with input, output; got {labels[:2]}"
    assert operations.dtype == np.int64, f"operations of graphs are {operations.dtype}, must be int64"
    assert adjacency.dtype == bool, f"adjacency of graphs is {adjacency.dtype}, must be bool"
    nodes = operations.shape[-1]
    assert operations.shape == (len(archs), nodes), f"operations of graphs have shape {operations.shape}"
    assert adjacency.shape == (len(archs), nodes, nodes), f"adjacency of graphs has shape {adjacency.shape}"
    assert ((operations >= 0) & (operations < len(labels))).all(), "graphs has an operation without a label"
    assert (operations[:, 0] == 0).all(), "the first node of graphs must be the input"
    assert (operations[:, -1] == 1).all(), "the last node of graphs must be the output"
    assert not np.tril(adjacency).any(), "nodes of graphs must be in topological order"
    for some in (space.graphs(archs[:1]), space.graphs(archs[::-1])):
        assert some.labels == labels, "labels of graphs depend on the architectures"
        assert some.operations.shape[1] == nodes, "the number of nodes of graphs depends on the architectures"
    assert np.array_equal(some.operations[::-1], operations), "operations of a row of graphs depend on the other rows"
    assert np.array_equal(some.adjacency[::-1], adjacency), "edges of a row of graphs depend on the other rows"
    for i, arch in enumerate(archs):
        used = graphs.used[i]
        made = nx.DiGraph(adjacency[i][np.ix_(used, used)])
        nx.set_node_attributes(made, {k: labels[op] for k, op in enumerate(operations[i, used])}, "op")
        graph = space.graph(arch)
        graph.remove_nodes_from([n for n in nx.isolates(graph) if graph.nodes[n]["op"] == "none"])
        ops = [g.nodes(data="op") for g in (made, graph)]
        nodes_of = [sorted(op for _, op in labelled) for labelled in ops]
        assert nodes_of[0] == nodes_of[1], f"graphs and graph have different operations for {arch.tolist()}"
        arrows_of = [sorted((op[a], op[b]) for a, b in g.edges) for g, op in zip((made, graph), ops, strict=True)]
        same = arrows_of[0] == arrows_of[1]
        if same and i < isomorphic:
            same = nx.is_isomorphic(made, graph, node_match=categorical_node_match("op", None))
        assert same, f"graphs and graph have different edges for {arch.tolist()}"


def _check_statics(space: SearchSpace, archs: Archs, options: dict[str, Any]) -> None:
    statics = space.statics(archs, **options)
    for name, values in statics.items():
        assert values.shape == (len(archs),), f"statics {name!r} has shape {values.shape} for {len(archs)}"
        assert values.dtype == np.float64, f"statics {name!r} is {values.dtype}, must be float64"
        assert np.isfinite(values).all(), f"statics {name!r} is not finite"
        backwards = space.statics(archs[::-1], **options)[name][::-1]
        assert np.array_equal(backwards, values), f"statics {name!r} of a row depends on the other rows"


def _check_networks(space: SearchSpace, archs: Archs, options: dict[str, Any]) -> None:
    import torch

    from nastk.oracles.counts import count_network
    from nastk.outputs import named_tensors

    for arch in archs:
        try:
            shape = tuple(space.input_shape(**options))
            network = space.build(arch, **options)
        except Unsupported:
            return
        assert isinstance(network, torch.nn.Module), f"build returned a {type(network).__name__}, must be a Module"
        assert network is not space.build(arch, **options), "build returned the same network twice"
        with torch.inference_mode():
            outputs = named_tensors(network.eval()(torch.zeros(2, *shape)))
        assert outputs, "the network returns no tensor"
        for output in outputs.values():
            assert output.ndim >= 2, f"the network returned shape {tuple(output.shape)} for a batch of 2"
            assert len(output) == 2, f"the network returned shape {tuple(output.shape)} for a batch of 2"
            assert torch.isfinite(output).all(), "the network's output is not finite"
        statics, counted = space.statics(arch[None], **options), count_network(network, shape)
        for name in counted.keys() & statics.keys():
            said = float(statics[name][0])
            assert said == counted[name], f"statics says {said:.0f} {name}, the built network has {counted[name]}"
