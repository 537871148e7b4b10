"""Weights of trained networks, kept by nastk, returned or written by the user's function."""

from __future__ import annotations

import copy
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nastk
from nastk.errors import DataError, DataWarning, InvalidValue
from nastk.evaluation import evaluate
from nastk.oracles._weights import PICKLED, SAFE, load_weights, read_weights, state_of, write_weights
from nastk.oracles.base import FunctionOracle
from nastk.oracles.own_function import accuracy_function
from nastk.search.base import Objective

OWN = """
import copy, os
import torch
from torch import nn
import nastk


class Net(nn.Module):
    input_shape = (4,)

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, nastk.choice("width", [2, 3]))

    def forward(self, x):
        return self.layer(x)


def _train(network, steps=1):
    with torch.no_grad():
        for value in network.parameters():
            value += steps
    return 50.0 + steps

def in_place(network):
    return _train(network)

def at_epochs(network, epochs):
    return _train(network, epochs)

def yields(network):
    for epoch in range(1, 100):
        yield epoch, _train(network) + epoch

def reports(model, report):
    for epoch in range(1, 100):
        _train(model)
        report(epoch, 50.0 + epoch)

def a_copy(network):
    return _train(copy.deepcopy(network))

def untrained(network):
    return 1.0

def gives_network(network):
    best = copy.deepcopy(network)
    _train(best, 7)
    _train(network)
    return 90.0, best

def gives_state(arch):
    return 90.0, {"layer.weight": torch.ones(2, 4), "layer.bias": torch.zeros(2)}

def gives_nonsense(network):
    return 90.0, "best"

def writes(network, folder):
    _train(network)
    torch.save({"model": {"layer.weight": torch.full((2, 4), 5.0), "layer.bias": torch.zeros(2)}, "epoch": 3},
               os.path.join(folder, "weights.pt"))
    return 60.0

def fails(network):
    _train(network)
    raise RuntimeError("diverged")
"""


@pytest.fixture
def own(tmp_path: Path) -> Any:
    file = tmp_path / "trained.py"
    file.write_text(OWN)
    space = nastk.space(f"{file}:Net")

    def made(name: str, epochs: Any = (), **options: Any) -> FunctionOracle:
        oracle = accuracy_function(space, f"{file}:{name}", epochs, 0, **options)
        oracle.study_folder = str(tmp_path / "networks")
        return oracle

    return made


def start(oracle: Any) -> Any:
    torch.manual_seed(0)
    return oracle.space.build(np.array([0])).state_dict()


def kept(oracle: Any) -> Any:
    return read_weights(oracle.network_folder(np.array([0])))


@pytest.mark.parametrize(("name", "steps"), [("in_place", 1), ("yields", 3), ("reports", 3)])
def test_a_network_trained_in_place_is_kept_as_it_was_at_its_value(own: Any, name: str, steps: int) -> None:
    oracle = own(name, () if name == "in_place" else (1, 3))
    value = oracle.evaluate(["2"]).value[0]
    found = kept(oracle)
    assert found.file.name == SAFE
    torch.testing.assert_close(found.state["layer.weight"], start(oracle)["layer.weight"] + steps)
    assert found.facts["value"] == value
    assert (found.facts["arch"], found.facts["seed"], found.facts["function"][-len(name) :]) == ("2", 0, name)


def test_a_longer_training_replaces_the_weights_and_a_shorter_one_does_not(own: Any) -> None:
    oracle = own("at_epochs", (2, 5))
    oracle.evaluate(["2"], 2)
    assert kept(oracle).facts["epochs"] == [2]
    oracle.evaluate(["2"], 5)
    oracle.evaluate(["2"], 2)
    assert kept(oracle).facts["epochs"] == [5]
    torch.testing.assert_close(kept(oracle).state["layer.weight"], start(oracle)["layer.weight"] + 5)


@pytest.mark.parametrize("name", ["a_copy", "untrained", "fails"])
def test_what_was_not_trained_is_not_kept(own: Any, name: str) -> None:
    oracle = own(name)
    if name == "fails":
        assert evaluate(Objective.of(oracle), np.array([0]), None).reason.endswith("diverged")
    else:
        oracle.evaluate(["2"])
    assert not Path(oracle.study_folder).exists()


def test_returned_weights_go_before_the_network_in_place(own: Any) -> None:
    oracle = own("gives_network")
    assert oracle.evaluate(["2"]).value[0] == 90.0
    torch.testing.assert_close(kept(oracle).state["layer.weight"], start(oracle)["layer.weight"] + 7)
    oracle = own("gives_state")
    assert oracle.evaluate(["2"]).value[0] == 90.0
    assert kept(oracle).state["layer.weight"].eq(1).all()
    record = evaluate(Objective.of(own("gives_nonsense")), np.array([0]), None)
    assert "weights are a network or its state_dict(), not str" in record.reason


def test_what_the_function_writes_stays(own: Any) -> None:
    oracle = own("writes")
    oracle.evaluate(["2"])
    found = kept(oracle)
    assert found.file.name == PICKLED
    assert found.state["layer.weight"].eq(5).all()
    assert not (found.file.parent / SAFE).exists()


def test_it_can_be_left_out_and_needs_a_place(own: Any, tmp_path: Path) -> None:
    oracle = own("in_place", weights=False)
    assert not oracle.needs_folder
    oracle.evaluate(["2"])
    alone = own("in_place")
    alone.study_folder = ""
    alone.evaluate(["2"])
    assert not (tmp_path / "networks").exists()
    rows = FunctionOracle(oracle.space, lambda arch: (1.0, {}), "accuracy", one_by_one=True)
    with pytest.raises(TypeError, match="weights=True"):
        rows.evaluate(["2"])


def test_a_worker_keeps_them_too_and_the_identity_is_as_before(own: Any) -> None:
    oracle = own("in_place")
    assert oracle.identity() == own("in_place", weights=False).identity()
    pickle.loads(pickle.dumps(oracle)).evaluate(["2"])
    assert kept(oracle) is not None


def test_a_value_survives_weights_that_cannot_be_written(own: Any, tmp_path: Path) -> None:
    oracle = own("in_place")
    (tmp_path / "networks").write_text("a file")
    with pytest.warns(DataWarning, match="the weights of 2 are not kept"):
        assert oracle.evaluate(["2"]).value[0] == 51.0


# ---- the file


def test_tied_weights_and_more_than_tensors(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(3, 3), nn.Linear(3, 3)
            self.two.weight = self.one.weight

    network = Tied()
    write_weights(tmp_path, network, {})
    other = Tied()
    found = read_weights(tmp_path)
    assert found is not None
    load_weights(other, found)
    torch.testing.assert_close(other.state_dict(), network.state_dict())
    more = write_weights(tmp_path / "more", {**network.state_dict(), "extra": {"steps": 3}}, {"seed": 1})
    assert more.name == PICKLED
    again = read_weights(more.parent)
    assert again is not None
    assert (again.state["extra"], again.facts) == ({"steps": 3}, {"seed": 1})


def test_wrapped_networks_lose_their_prefix() -> None:
    state = nn.Linear(2, 2).state_dict()
    assert state_of({f"module._orig_mod.{name}": value for name, value in state.items()}).keys() == state.keys()


class Evil:
    def __reduce__(self) -> Any:
        return (print, ("loaded",))


def test_other_files_are_refused(tmp_path: Path, capsys: Any) -> None:
    assert read_weights(tmp_path) is None
    with pytest.raises(InvalidValue, match="no such file"):
        read_weights(tmp_path / "none.pt")
    for name in (SAFE, PICKLED):
        (tmp_path / name).write_bytes(b"nonsense")
        with pytest.raises(DataError):
            read_weights(tmp_path / name)
    torch.save(Evil(), tmp_path / PICKLED)
    with pytest.raises(DataError, match="state_dict"):
        read_weights(tmp_path / PICKLED)
    assert not capsys.readouterr().out
    torch.save([1, 2], tmp_path / PICKLED)
    with pytest.raises(DataError, match="holds no weights"):
        read_weights(tmp_path / PICKLED)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    write_weights(tmp_path, nn.Linear(2, 2), {})
    found = read_weights(tmp_path)
    assert found is not None
    for other, says in ((nn.Linear(2, 3), r"weight is \(2, 2\) and must be \(3, 2\)"), (nn.PReLU(), "unknown to it")):
        before = copy.deepcopy(other.state_dict())
        with pytest.raises(InvalidValue, match=says):
            load_weights(other, found)
        torch.testing.assert_close(other.state_dict(), before)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_weights(nn.Linear(2, 2), found)
