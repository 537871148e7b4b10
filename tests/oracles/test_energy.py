"""Energy from the processor's counters, as a folder that stands in for the kernel's shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import nastk
from nastk import run
from nastk.errors import InvalidValue, NastkError, Unsupported
from nastk.oracles import Energy
from nastk.oracles._rapl import POWERCAP, Rapl
from nastk.runtimes.torch import Torch
from nastk.testing import check_oracle

SPACE = nastk.space("nasbench201")
TINY = {"channels": 4, "cells_per_stage": 1, "input_size": 8}
QUICK = {"rounds": 3, "seconds": 0.005, **TINY}


def counter(root: Path, number: int = 0, energy: str = "1000", name: str = "package-0", top: int = 10**12) -> Path:
    """Show one counter, as Linux does, with a part of it and a second way to it; returns the file that counts."""
    folder = root / f"intel-rapl:{number}"
    for place, called in (
        (folder, name),
        (root / f"intel-rapl:{number}:0", "core"),
        (root / "intel-rapl-mmio:0", name),
    ):
        place.mkdir(exist_ok=True)
        (place / "name").write_text(f"{called}\n")
        (place / "energy_uj").write_text(f"{energy}\n")
        (place / "max_energy_range_uj").write_text(f"{top}\n")
    return folder / "energy_uj"


class Burning(Torch):
    """A runtime each of whose runs uses two millijoules of the first counter."""

    file: ClassVar[Path]
    top: ClassVar[int] = 10**12

    def _prepare(self, source: Any, inputs: Any) -> Any:
        def burn() -> Any:
            self.file.write_text(f"{(int(self.file.read_text()) + 2000) % (self.top + 1)}\n")
            return source(inputs)

        return burn


def test_a_runs_energy_is_that_of_all_packages_divided_by_the_runs(tmp_path: Path) -> None:
    counter(tmp_path, 1, name="package-1")  # stands still
    counter(tmp_path, 2, name="psys")  # the platform: has the packages' energy in it
    Burning.file = counter(tmp_path)
    oracle = Energy(SPACE, runtime=Burning, powercap=tmp_path, **QUICK)
    found = oracle.evaluate(SPACE.sample(3, 0))
    assert found.value.tolist() == [2.0] * 3
    assert found.std.tolist() == [0.0] * 3
    assert (found.cost >= 3 * 0.005).all()
    assert (oracle.unit, oracle.kind, oracle.expensive) == ("mJ", "measured", True)
    assert "2 whole processor packages (RAPL), idle included, measured on" in oracle.source


def test_a_counter_that_begins_anew_has_counted_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = 50_000_000
    monkeypatch.setattr(Burning, "top", top)
    Burning.file = counter(tmp_path, energy=str(top - 4500), top=top)
    assert Energy(SPACE, runtime=Burning, powercap=tmp_path, **QUICK)(SPACE.sample(2, 0)).tolist() == [2.0, 2.0]
    assert int(Burning.file.read_text()) < top - 4500  # it did begin anew

    file = counter(tmp_path, energy="90", top=99)
    counters = Rapl(tmp_path)
    before = counters.read()
    file.write_text("5\n")
    assert counters.since(before) == 15 / 1000


def test_median_and_its_deviation_are_those_of_the_rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counter(tmp_path)
    oracle = Energy(SPACE, powercap=tmp_path, **QUICK)
    rounds = iter([1.0, 10.0, 2.0, 20.0, 6.0, 30.0])  # two networks take turns
    monkeypatch.setattr(oracle, "_visit", lambda arch, file: next(rounds))
    found = oracle.evaluate(SPACE.sample(2, 0))
    assert found.value.tolist() == [2.0, 20.0]
    assert found.std == pytest.approx(1.2533 * np.array([7**0.5, 10.0]) / 3**0.5)


def test_it_keeps_the_contract_of_oracles(tmp_path: Path) -> None:
    Burning.file = counter(tmp_path)
    check_oracle(Energy(SPACE, runtime=Burning, powercap=tmp_path, **QUICK), SPACE.sample(3, 0), repeatable=False)


def test_without_a_counter_it_says_so_and_what_would_work_instead(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(
            Unsupported, match=r'no energy counter .*RAPL.*instead is --device .* command answers "energy"'
        ):
            Energy(SPACE, powercap=folder, **QUICK)
    counter(tmp_path, name="psys")
    with pytest.raises(Unsupported, match="no energy counter"):
        Energy(SPACE, powercap=tmp_path, **QUICK)


@pytest.mark.parametrize(("content", "message"), [("", "holds ''"), ("-5", "holds '-5'"), ("many", "holds 'many'")])
def test_a_counter_that_holds_no_number_is_named(tmp_path: Path, content: str, message: str) -> None:
    file = counter(tmp_path, energy=content)
    with pytest.raises(NastkError, match=f"{file} {message}, and not a number of microjoules"):
        Energy(SPACE, powercap=tmp_path, **QUICK)


def test_a_counter_that_this_user_may_not_read_says_what_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, read = counter(tmp_path), Path.read_text

    def refuse(path: Path, *args: Any, **options: Any) -> str:
        if path == file:  # root, as whom tests may run, is never refused
            raise PermissionError(13, "Permission denied")
        return read(path, *args, **options)

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(NastkError, match=r"may not read .*energy_uj; run as root, or .*sudo chmod a\+r"):
        Energy(SPACE, powercap=tmp_path, **QUICK)


def test_a_counter_that_stands_still_is_an_error(tmp_path: Path) -> None:
    counter(tmp_path)
    with pytest.raises(NastkError, match="did not move"):
        Energy(SPACE, powercap=tmp_path, **QUICK)(SPACE.sample(1, 0))


def test_a_network_that_fails_has_no_energy_and_the_others_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Burning.file = counter(tmp_path)
    archs = SPACE.sample(3, 0)
    build = type(SPACE).build

    def failing(self: Any, arch: Any, **options: Any) -> Any:
        if np.array_equal(arch, archs[1]):
            raise ValueError("no such layer")
        return build(self, arch, **options)

    monkeypatch.setattr(type(SPACE), "build", failing)
    oracle = Energy(SPACE, runtime=Burning, powercap=tmp_path, **QUICK)
    assert np.isnan(oracle(archs)).tolist() == [False, True, False]
    assert oracle.reasons == {SPACE.format(archs[1]): "ValueError: no such layer"}


@pytest.mark.parametrize("option", [{"rounds": 0}, {"seconds": 0.0}, {"together": 0}, {"batch": 0}])
def test_options_below_their_least_values_are_refused(tmp_path: Path, option: dict[str, float]) -> None:
    counter(tmp_path)
    with pytest.raises(InvalidValue, match="at least 1"):
        Energy(SPACE, powercap=tmp_path, **{**QUICK, **option})


def test_a_search_measures_it_here() -> None:
    description = run.describe(objectives=["accuracy", "energy"], constraints=["energy<=50"], threads=2)
    facts = description.objectives[1]["oracle"]
    assert facts == {"oracle": "energy", "device": "this", "runtime": "torch", "threads": 2, "batch": 1}
    if any(POWERCAP.glob("intel-rapl:*")):
        pytest.skip("this machine has counters")
    with pytest.raises(Unsupported, match="no energy counter"):
        run.compose(description)
