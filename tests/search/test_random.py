"""Random search."""

from __future__ import annotations

import numpy as np
from scipy.stats import chisquare
from toy import Toy, objectives

from nastk.search.random import RandomSearch
from nastk.spaces._pool import Pool

SPACE = Toy()


def test_the_first_draw_is_uniform_over_architectures() -> None:
    drawn = [SPACE.index(RandomSearch(SPACE, objectives(), seed=s).ask(1)[0].arch[None])[0] for s in range(4000)]
    assert chisquare(np.bincount(drawn, minlength=81)).pvalue > 1e-3


def test_a_whole_space_is_drawn_once_in_one_ask() -> None:
    archs = np.array([p.arch for p in RandomSearch(SPACE, objectives()).ask(500)])
    assert len(archs) == len(set(SPACE.keys(archs))) == 63


def test_only_members_of_a_pool_are_drawn() -> None:
    pool = Pool(SPACE, SPACE.sample(20, 3, unique=True))
    archs = np.array([p.arch for p in RandomSearch(pool, objectives()).ask(100)])
    assert pool.is_valid(archs).all()
    assert len(archs) == len(set(pool.keys(pool.enumerate())))
