"""Which predictor learns an objective where none is named."""

from __future__ import annotations

import pytest

import nastk
from nastk.predictors.gp import GP
from nastk.predictors.gp_bma import GPBMA
from nastk.search.defaults import SEARCH_WARP, default_predictor


class Settings(nastk.SearchSpace):
    """Choices of which nothing is known: no two have options in common, and no option is a number."""

    name = "settings"
    choices = tuple(nastk.Choice(f"x{j}", tuple(f"{letter}{j}!" for letter in "abc")) for j in range(6))


class Kernels(nastk.SearchSpace):
    """Numbers of one kind, which add up."""

    name = "kernels"
    choices = tuple(nastk.Choice(f"kernel {j}", ("3", "5", "7")) for j in range(6))


@pytest.mark.parametrize("space", [Settings(), Kernels()])
def test_one_objective_is_learned_by_gp_bma_near_the_best(space: nastk.SearchSpace) -> None:
    model = default_predictor(space, "max", alone=True)
    assert isinstance(model, GPBMA)
    assert model.warp == SEARCH_WARP


def test_fronts_are_learned_by_gp_bma_under_any_warp_where_a_space_tells_nothing_beyond_its_choices() -> None:
    model = default_predictor(Settings(), "min", alone=False)
    assert isinstance(model, GPBMA)
    assert model.warp == "auto"
    assert isinstance(default_predictor(Kernels(), "min", alone=False), GP), "totals tell more"
    assert isinstance(default_predictor(nastk.space("gpt"), "min", alone=False), GP), "parameters do"
    assert isinstance(default_predictor(nastk.space("transbench101-macro"), "max", alone=False), GPBMA), "a prior ships"
