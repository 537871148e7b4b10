"""Ranks over tables: their tests are scipy's, corrected by hand-worked rules, and what they cannot tell is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import friedmanchisquare, wilcoxon

from nastk.bench.ranks import Ranks, holm
from nastk.errors import InvalidValue
from nastk.report.ranked import write_ranked

METHODS = ("a", "b", "c", "d")


def _ranks(shift: tuple[float, ...] = (0.0, 0.1, 2.0, 2.05), seeds: int = 12, scale: float = 1.0) -> Ranks:
    rng = np.random.default_rng(0)
    noise = rng.normal(0.0, 0.3, (2, len(METHODS), 1, seeds))
    costs = noise + np.array(shift)[:, None, None]
    return Ranks(METHODS, {"small": costs[0], "large": scale * costs[1]})


def test_holm_is_the_step_down_rule() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]).tolist() == [1.0, 1.0]


def test_methods_apart_are_told_apart_and_near_ones_are_joined() -> None:
    found = _ranks()
    assert [METHODS[i] for i in found.order][:2] in (["a", "b"], ["b", "a"])
    assert {frozenset(METHODS[i] for i in clique) for clique in found.cliques()} == {frozenset("ab"), frozenset("cd")}
    assert found.mean.sum() == pytest.approx(1 + 2 + 3 + 4)
    assert found.friedman < 1e-6
    blocks = np.concatenate([cost[:, 0] for cost in found.costs.values()], axis=1)
    assert found.friedman == pytest.approx(friedmanchisquare(*blocks).pvalue)


def test_one_problem_gives_the_plain_signed_rank_test() -> None:
    costs = _ranks().costs["small"]
    one = Ranks(METHODS, {"small": costs})
    assert one.p[0, 2] == pytest.approx(wilcoxon(costs[0, 0], costs[2, 0]).pvalue)
    assert one.holm[0, 1] >= one.p[0, 1]
    assert (one.p == one.p.T)[~np.eye(4, dtype=bool)].all()


def test_a_table_with_large_units_does_not_outweigh_another() -> None:
    assert _ranks(scale=1000.0).p == pytest.approx(_ranks().p, nan_ok=True)
    assert _ranks(scale=1000.0).mean.tolist() == _ranks().mean.tolist()


def test_what_has_no_value_is_last() -> None:
    costs = np.array([[[1.0, 2.0, 1.5, 1.2, 1.1, 1.9]], [[np.nan] * 6]])
    found = Ranks(("known", "never"), {"t": costs})
    assert found.mean.tolist() == [1.0, 2.0]
    assert found.p[0, 1] == pytest.approx(2 / 2**6), "all six pairs agree"
    both = Ranks(("x", "y"), {"t": np.full((2, 1, 6), np.nan)})
    assert both.p[0, 1] == 1.0


def test_the_least_p_that_so_few_seeds_allow_is_said() -> None:
    few = Ranks(METHODS, {"t": np.arange(16.0).reshape(4, 1, 4)})
    assert few.least == 2 / 2**4
    assert few.p[0, 3] == pytest.approx(few.least)
    assert "no difference can be significant at 0.05" in " ".join(few.sentences())
    assert "no difference can be" not in " ".join(_ranks().sentences())
    assert [line["method"] for line in few.rows()] == list(METHODS)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InvalidValue, match="methods, problems, seeds"):
        Ranks(METHODS, {"t": np.zeros((3, 1, 2))})


def test_the_diagram_is_drawn_in_three_formats(tmp_path: Path) -> None:
    found = _ranks()
    write_ranked(found.methods, list(found.mean), found.cliques(), tmp_path / "ranked.png")
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".pdf", ".png", ".svg"]
    write_ranked(found.methods, list(found.mean), [], tmp_path / "other.svg")
    assert not (tmp_path / "other.png").exists()
