"""Searches with and without a supernet, at equal cost, in a table of a few brief trainings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nastk.bench.supernet_search import Table, Trained, Trainings, compare, few_digits, rows

COUNT = 12


@pytest.fixture
def trainings(tmp_path: Path) -> Trainings:
    """Trainings whose results are written down by rule, so that none takes place."""
    found = Trainings(tmp_path, few_digits(40, 60), 4, 2)
    for arch in found.pool(COUNT):
        for seed in (0, 1):
            accuracy = 60.0 + 2.0 * float(arch.sum()) + seed
            known = Trained({2: accuracy - 5.0, 4: accuracy}, accuracy - 1.0, 0.5)
            found._kept.add({"of": found.known_as, "arch": found.space.format(arch), "seed": seed}, known)
    return found


def test_trainings_are_kept_and_read_again(trainings: Trainings) -> None:
    again = Trainings(trainings.file.parent, few_digits(40, 60), 4, 2)
    arch = again.pool(COUNT)[3]
    assert again.get(arch, 1) == trainings.get(arch, 1)
    assert again.get(arch, 1).validation[2] == trainings.get(arch, 1).validation[2]


def test_the_whole_table_has_all_of_its_hypervolume(trainings: Trainings) -> None:
    table = Table(trainings, COUNT)
    everything = table.space.enumerate()
    assert table.hypervolume(everything) == pytest.approx(1.0), "test accuracies follow those of validation here"
    assert 0 <= table.hypervolume(everything[:2]) < 1
    assert table.quality()["seed_to_seed"] == pytest.approx(1.0)


def test_a_supernet_is_paid_for(trainings: Trainings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NASTK_HOME", str(tmp_path / "home"))
    table, found = compare(tmp_path, (4, 500), 1, steps=2, searchers=("random", "predictor"), count=COUNT,
                           trainings=trainings)  # fmt: skip
    by = {(f.method, f.total): f for f in found}
    assert set(by) == {(name, n) for name in ("random", "predictor", "predictor with sandwich") for n in (4, 500)}
    shared = by["predictor with sandwich", 500]
    assert shared.supernet > 0
    assert shared.trainings == int(500 - shared.supernet)
    assert by["predictor", 4].trainings == 4
    assert np.isfinite(shared.spearman)
    tidy = rows(table, found)
    assert {row["metric"] for row in tidy} >= {"hypervolume", "hypervolume_above_predictor", "trainings_it_took"}
