"""A user's own spaces: a class with choices, a network that makes them, an Optuna function; in Python and the shell."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
import torch
from effort import calls
from torch import nn

import nastk
from nastk.cli import run
from nastk.errors import InvalidArchitecture, InvalidValue, NastkError, Unsupported
from nastk.oracles.zerocost import ZeroCost
from nastk.registry import load_object
from nastk.testing import check_space


class Towers(nastk.SearchSpace):
    """The class of ten lines that the guide shows."""

    name = "towers"
    choices = (nastk.Choice("depth", ("1", "2", "3")), nastk.Choice("width", ("16", "32", "64")))

    def build(self, arch, **options):
        depth, width = (int(c.options[i]) for c, i in zip(self.choices, arch, strict=True))
        layers = [nn.Conv2d(width if i else 3, width, 3, padding=1) for i in range(depth)]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))

    def input_shape(self, **options):
        return (3, 32, 32)


class Net(nn.Module):
    """Conditional kernels, a class as an option, a name that is asked for twice."""

    input_shape = (1, 8, 8)

    def __init__(self, classes: int = 10):
        super().__init__()
        kernel = nastk.choice("kernel", [3, 5, 7])
        width = nastk.choice("width", [8, 16])
        layers: list[nn.Module] = [nn.Conv2d(1, width, kernel, padding="same")]
        for i in range(nastk.choice("depth", [1, 2, 3])):
            side = nastk.choice(f"kernel {i}", [3, 5])
            layers += [nn.Conv2d(width, width, side, padding="same"), nastk.choice("act", [nn.ReLU, nn.GELU])()]
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


class Stages(nn.Module):
    """Conditions within conditions: whether there is a stage, how deep it is, whether its layers have a kernel."""

    input_shape = (3, 16, 16)

    def __init__(self) -> None:
        super().__init__()
        layers, channels = [], 3
        for s in range(nastk.choice("stages", [1, 2, 3])):
            width = nastk.choice(f"width {s}", [4, 8])
            for i in range(nastk.choice(f"depth {s}", [1, 2, 3])):
                if nastk.choice(f"kind {s}.{i}", ["conv", "pool"]) == "conv":
                    layers.append(nn.Conv2d(channels, width, nastk.choice(f"kernel {s}.{i}", [1, 3]), padding="same"))
                    channels = width
                else:
                    layers.append(nn.MaxPool2d(3, 1, 1))
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


def suggested(trial: Any) -> nn.Module:
    """The same in Optuna's words."""
    width = trial.suggest_categorical("width", [4, 8])
    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(64, width)]
    for i in range(trial.suggest_int("depth", 1, 3)):
        layers += [nn.Linear(width, width), getattr(nn, trial.suggest_categorical(f"act_{i}", ["ReLU", "Tanh"]))()]
    units = trial.suggest_int("units", 16, 48, step=16)
    return nn.Sequential(
        *layers, nn.Dropout(trial.suggest_float("p", 0.1, 0.5, step=0.1)), nn.Linear(width, units), nn.Linear(units, 10)
    )


def spaces() -> list[nastk.SearchSpace]:
    return [Towers(), nastk.space_of(Net), nastk.space_of(Stages), nastk.space_of(suggested, (1, 8, 8))]


def names(space: nastk.SearchSpace) -> list[str]:
    return [c.name for c in space.choices]


def made(space: Any, arch: Any) -> set[str]:
    """The choices that an architecture makes, by really building it."""
    return set(space.params(arch))


# ---- the contract


@pytest.mark.parametrize("space", spaces(), ids=lambda s: s.name)
def test_keeps_the_contract_of_spaces(space: nastk.SearchSpace) -> None:
    check_space(space)
    check_space(nastk.Pool(space, space.sample(20, 0)), n=8)


def test_choices_stand_in_the_order_in_which_the_network_makes_them() -> None:
    assert names(nastk.space_of(Net)) == ["kernel", "width", "depth", "kernel 0", "act", "kernel 1", "kernel 2"]
    choice = nastk.space_of(Net).choices[4]
    assert choice.options == ("ReLU", "GELU")


def test_an_architecture_becomes_the_network_that_its_options_say() -> None:
    space = nastk.space_of(Net)
    network = space.build(space.parse("7_16_2_5_GELU_3_5"))
    found = [(m.kernel_size[0], m.out_channels) for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert found == [(7, 16), (5, 16), (3, 16)]
    assert sum(isinstance(m, nn.GELU) for m in network.modules()) == 2
    assert space.build(space.parse("7_16_2_5_GELU_3_5"), classes=100)(torch.zeros(2, 1, 8, 8)).shape == (2, 100)


def test_the_same_weights_come_from_the_same_seed_and_deriving_draws_none() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    space = nastk.space_of(Net)
    space.params(space.sample(1, 0)[0])
    assert torch.equal(torch.get_rng_state(), before)
    first = space.build(space.sample(1, 0)[0])
    torch.manual_seed(3)
    assert torch.equal(next(space.build(space.sample(1, 0)[0]).parameters()), next(first.parameters()))


# ---- conditions


@pytest.mark.parametrize("network", [Net, Stages])
def test_the_canonical_form_keeps_exactly_the_choices_that_are_made(network: type[nn.Module]) -> None:
    space = nastk.space_of(network)
    archs = space.sample(150, 1)
    for arch, canonical in zip(archs, space.canonical(archs), strict=True):
        used = made(space, arch)
        expected = [v if c.name in used else 0 for c, v in zip(space.choices, arch, strict=True)]
        assert canonical.tolist() == expected
        assert space.params(arch) == space.params(canonical)


def test_conditions_are_those_that_the_network_has() -> None:
    assert nastk.space_of(Net).conditions["kernel 2"] == ("depth",)
    assert nastk.space_of(Net).conditions["act"] == ()
    assert nastk.space_of(Stages).conditions["kernel 2.1"] == ("depth 2", "kind 2.1", "stages")


def test_a_choice_that_several_others_make_together_is_found() -> None:
    def network() -> nn.Module:
        values = [nastk.choice(f"a{i}", [0, 1, 2]) for i in range(6)]
        return nn.Linear(4, nastk.choice("rare", [8, 16]) if sum(values) >= 8 else 4)

    space = nastk.space_of(network, (4,), checks=200)
    everything = space.enumerate()
    rare = names(space).index("rare")
    lost = (everything[:, :rare].sum(axis=1) < 8) & (everything[:, rare] > 0)
    assert np.array_equal(np.flatnonzero((space.canonical(everything) != everything).any(axis=1)), np.flatnonzero(lost))


def test_a_small_space_is_built_whole_so_that_nothing_is_missed() -> None:
    def network() -> nn.Module:
        values = [nastk.choice(f"a{i}", [0, 1]) for i in range(7)]
        return nn.Linear(4, nastk.choice("rare", [8, 16]) if all(values) else 4)

    assert nastk.space_of(network, (4,)).conditions["rare"] == tuple(f"a{i}" for i in range(7))


def test_a_chain_of_conditions_needs_one_build_a_link() -> None:
    def network() -> nn.Module:
        layers: list[nn.Module] = []
        while len(layers) < 20 and nastk.choice(f"layer {len(layers)}", ["yes", "no"]) == "yes":
            layers.append(nn.Linear(4, 4))
        return nn.Sequential(*layers, nn.Linear(4, 2))

    space = nastk.space_of(network, (4,))
    canonical = space.canonical(space.sample(20_000, 0))
    assert len(np.unique(canonical, axis=0)) <= 21
    assert (canonical.sum(axis=1) <= 1).all(), "after the first no, nothing is asked"


def test_large_populations_are_vectorised() -> None:
    space = nastk.space_of(Stages)
    space.canonical(space.sample(1000, 0))
    archs = space.sample(10_000, 0)
    for action in (lambda: space.sample(10_000, 0), lambda: space.mutate(archs, 0), lambda: space.canonical(archs)):
        assert calls(action) < 5000


# ---- options


def test_outside_of_a_space_a_choice_is_its_first_option() -> None:
    assert nastk.choice("kernel", [3, 5]) == 3
    first = [m.kernel_size[0] for m in Net().modules() if isinstance(m, nn.Conv2d)]
    assert first == [3, 3]


def test_options_are_any_values_with_labels_from_their_names() -> None:
    def network() -> nn.Module:
        act = nastk.choice("act", [nn.ReLU, partial(nn.LeakyReLU, 0.2), nn.Identity])()
        norm = nastk.choice("norm", {"none": lambda: nn.Identity(), "batch|norm": lambda: nn.BatchNorm1d(4)})()
        bias = nastk.choice("bias", [True, None, 0.5])
        drop = nastk.choice("drop", [nn.Dropout(0.1), nn.Dropout(0.2)])
        return nn.Sequential(nn.Linear(3, 4, bias=bool(bias)), norm, act, drop)

    space = nastk.space_of(network, (3,), name="any")
    assert [c.options for c in space.choices] == [
        ("ReLU", "LeakyReLU(0.2)", "Identity"),
        ("none", "batch/norm"),
        ("True", "None", "0.5"),
        ("Dropout(p=0.1, inplace=False)", "Dropout(p=0.2, inplace=False)"),
    ]
    check_space(space)


def test_labels_with_underscores_are_joined_by_bars() -> None:
    space = nastk.space_of(lambda: nn.Linear(3, len(nastk.choice("a", ["x_y", "z"]))), (3,), name="bars")
    assert space.format([0]) == "x_y"
    two = nastk.space_of(
        lambda: nn.Linear(len(nastk.choice("a", ["x_y", "z"])), nastk.choice("b", [1, 2])), (3,), name="two"
    )
    assert two.format([0, 1]) == "x_y|2"
    assert two.parse("x_y|2").tolist() == [0, 1]


# ---- errors


def bad_options() -> nn.Module:
    return nn.Linear(4, nastk.choice("a", [1, 2]) + nastk.choice("a", [1, 3]))


def bad_later() -> nn.Module:
    return nn.Linear(4, nastk.choice("b", [1, 2]) if nastk.choice("a", [1, 2]) == 1 else nastk.choice("b", [1]))


def bad_groups() -> nn.Module:
    return nn.Conv2d(4, 4, 1, groups=nastk.choice("groups", [3, 1]))


def bad_lambdas() -> nn.Module:
    return nastk.choice("act", [lambda: nn.ReLU(), lambda: nn.GELU()])()


COUNT = [0]


def bad_chance() -> nn.Module:
    COUNT[0] += 1
    values = [nastk.choice(f"a{i}", [1, 2]) for i in range(3)]
    return nn.Linear(sum(values), nastk.choice(f"odd {COUNT[0] % 7}", [1, 2]))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Identity, "Identity makes no choice"),
        (lambda: nastk.choice("a", [1, 2]), "must return a torch.nn.Module, not int"),
        (bad_options, "choice 'a' is made among 1, 2 and among 1, 3"),
        (bad_later, "choice 'b' is made among 1, 2 and among 1"),
        (bad_groups, r"first option: groups=3: ValueError: in_channels must be divisible.*first an option that is"),
        (bad_lambdas, "'act' has two options '<lambda>'; label them"),
        (bad_chance, "asks for different choices when it is built twice"),
        (nn.Linear, "Linear needs the arguments in_features, out_features"),
        (3, "a network class or a function; got 3"),
        (lambda: nastk.choice("a", []), "'a' has no options"),
        (lambda: nastk.choice("a", "357"), "options must be a list"),
        (lambda: nastk.choice("", [1]), "one line of text"),
        (lambda trial: nn.Linear(3, trial.suggest_float("x", 1, 2)), r"suggest_float\('x'\).*give a step"),
        (lambda trial: nn.Linear(3, trial.suggest_int("x", 2, 1)), r"suggest_int\('x'\)"),
        (lambda trial: trial.report(0.5, 1), "trial.report is not available"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(network: Any, message: str) -> None:
    with pytest.raises(NastkError, match=message) as caught:
        nastk.space_of(network)
    assert "\n" not in str(caught.value)


def test_choices_without_end_are_an_error_and_not_a_long_wait() -> None:
    def network() -> nn.Module:
        for i in range(10_000):
            if nastk.choice(f"more {i}", [False, True]) is False:
                break
        return nn.Identity()

    with pytest.raises(InvalidValue, match="after 100 builds"):
        nastk.space_of(network, runs=100)


def test_a_choice_that_appears_only_after_deriving_is_an_error() -> None:
    extra: list[int] = []

    def network() -> nn.Module:
        return nn.Linear(nastk.choice("a", [1, 2]), nastk.choice("late", [3, 4]) if extra else 3)

    space = nastk.space_of(network, (1,))
    extra.append(1)
    with pytest.raises(InvalidArchitecture, match="'late' was not found"):
        space.build([0])


def test_a_condition_that_was_not_foreseen_is_a_warning() -> None:
    extra: list[int] = []

    def network() -> nn.Module:
        a = nastk.choice("a", [1, 2])
        return nn.Linear(a, nastk.choice("b", [3, 4]) if not extra else 3)

    space = nastk.space_of(network, (1,))
    extra.append(1)
    with pytest.warns(UserWarning, match="whether b matters"):
        space.build([1, 1])


def test_without_an_input_shape_the_error_says_where_to_write_it() -> None:
    with pytest.raises(Unsupported, match="input_shape="):
        nastk.space_of(lambda: nn.Linear(3, nastk.choice("a", [1, 2]))).input_shape()


def test_an_argument_that_the_network_lacks_is_an_error_of_the_user() -> None:
    with pytest.raises(InvalidValue, match="num_classes"):
        nastk.space_of(Net).build(np.zeros(7, dtype=int), num_classes=3)


def test_a_constructor_that_needs_values_is_built_with_them() -> None:
    def network() -> nn.Module:
        rates = torch.linspace(0, 0.5, nastk.choice("depth", [2, 3])).tolist()  # fails without memory
        return nn.Sequential(*[nn.Dropout(r) for r in rates])

    assert nastk.space_of(network, (4,), name="rates").size == 2


# ---- threads and processes


def test_threads_build_each_its_own_architecture() -> None:
    space = nastk.space_of(Net)
    archs = space.sample(40, 0)
    wrong: list[int] = []

    def work(start: int) -> None:
        for arch in archs[start::4]:
            kernel = next(m for m in space.build(arch).modules() if isinstance(m, nn.Conv2d)).kernel_size[0]
            if kernel != (3, 5, 7)[arch[0]]:
                wrong.append(kernel)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_space_goes_to_another_process() -> None:
    space = nastk.space_of(Net)
    again = pickle.loads(pickle.dumps(space))
    archs = space.sample(20, 0)
    assert np.array_equal(again.canonical(archs), space.canonical(archs))
    assert again.params(archs[0]) == space.params(archs[0])


# ---- Optuna


def test_optuna_builds_the_same_network_from_the_values_of_an_architecture() -> None:
    space = nastk.space_of(suggested, (1, 8, 8))
    options = {c.name: c.options for c in space.choices}
    assert (options["depth"], options["units"]) == (("1", "2", "3"), ("16", "32", "48"))
    assert options["p"] == ("0.1", "0.2", "0.3", "0.4", "0.5")
    for arch in space.sample(20, 0):
        trial = optuna.trial.FixedTrial(space.params(arch))
        assert repr(suggested(trial)) == repr(space.build(arch))
        assert trial.params == space.params(arch)


def test_an_optuna_study_runs_the_function_whose_space_is_searched() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    study.optimize(lambda trial: sum(p.numel() for p in suggested(trial).parameters()), n_trials=5)
    space = nastk.space_of(suggested, (1, 8, 8))
    options = {c.name: c.options for c in space.choices}
    assert all(str(value) in options[name] for name, value in study.best_params.items())


def test_integers_on_a_logarithmic_scale_are_the_same_integers() -> None:
    space = nastk.space_of(lambda trial: nn.Linear(3, trial.suggest_int("n", 1, 4, log=True)), (3,), name="log")
    assert space.choices[0].options == ("1", "2", "3", "4")


# ---- searching


def size(space: nastk.SearchSpace) -> nastk.FunctionOracle:
    def capacity(archs: Any) -> Any:
        return np.log([sum(p.numel() for p in space.build(a).parameters()) for a in archs])

    return nastk.FunctionOracle(space, capacity, "accuracy", direction="max")


def effort(space: nastk.SearchSpace) -> nastk.FunctionOracle:
    return nastk.FunctionOracle(space, lambda archs: 1.0 + space.canonical(archs).sum(axis=1), "latency", "ms")


@pytest.mark.parametrize("searcher", ["predictor", "random", "pymoo:nsga2"])
@pytest.mark.parametrize("network", [Net, suggested], ids=["placeholders", "optuna"])
def test_searchers_run(network: Any, searcher: str) -> None:
    space = nastk.space_of(network, (1, 8, 8))
    result = nastk.search(space, [size(space), effort(space)], searcher=searcher, budget=12, seed=0)
    asked = [r.arch for r in result.history.records() if r.objective == "accuracy" and r.purpose == "search"]
    keys = space.keys(np.array(asked))
    assert len(asked) == len(set(keys)) == 12, "no network is evaluated twice"
    assert len(result.front)


@pytest.mark.parametrize(
    "predictor", ["gp", "gcn", "mlp", "lookup-table", "few-shot-gp", "sklearn:RandomForestRegressor"]
)
def test_predictors_learn(predictor: str) -> None:
    for network in (Net, suggested):
        space = nastk.space_of(network, (1, 8, 8))
        archs = space.sample(30, 0)
        task = nastk.Task(space, archs, effort(space)(archs), "latency")
        model = nastk.predictor(predictor)
        model = model.adapt(task) if hasattr(model, "adapt") else model.fit(task)
        assert np.isfinite(model.predict(space.sample(10, 1)).mean).all()


def test_proxies_and_counts_see_the_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NASTK_HOME", str(tmp_path))
    space = nastk.space_of(Net)
    archs = space.sample(3, 0)
    scores = ZeroCost(space, ["params", "synflow", "jacov"], batch_size=4)(archs)
    assert np.isfinite(scores).all()
    assert np.array_equal(scores[:, 0], nastk.oracles.counts.Params(space)(archs))


# ---- the command line

OWN = '''
import torch
from torch import nn
import nastk
from beside_own_net import WIDTHS

class Net(nn.Module):
    input_shape = (1, 8, 8)

    def __init__(self):
        super().__init__()
        w = nastk.choice("width", WIDTHS)
        layers = [nn.Conv2d(1, w, nastk.choice("kernel", [3, 5]), padding="same")]
        for i in range(nastk.choice("depth", [1, 2])):
            layers.append(nn.Conv2d(w, w, nastk.choice(f"kernel {i}", [1, 3]), padding="same"))
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(w, 10))

    def forward(self, x):
        return self.body(x)

def build(trial):
    w = trial.suggest_categorical("w", [4, 8])
    layers = [nn.Linear(w, w) for _ in range(trial.suggest_int("n", 1, 3))]
    return nn.Sequential(nn.Flatten(), nn.Linear(64, w), *layers)

class Plain(nn.Module):
    pass

class Old(nastk.SearchSpace):
    name = "old"
    choices = tuple(nastk.Choice(n, ("1", "2", "4")) for n in ("depth", "width"))

    def build(self, arch, **options):
        return nn.Sequential(nn.Flatten(), *[nn.Linear(64, 64) for _ in range(arch[0] + 1)])

    def input_shape(self, **options):
        return (1, 8, 8)

build.input_shape = Net.input_shape
space = nastk.space_of(Net, name="named")

def of_network(network):
    """Weights too, so that the seed shows."""
    return 50 + float(sum(p.abs().sum() for p in network.parameters()).detach().log())

def of_row(arch):
    assert arch.ndim == 1
    return 50.0 + float(arch.sum())
'''
SEARCH = ["--objective", "accuracy", "--objective", "params", "--budget", "5", "--verify", "0"]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with own_net.py and what it imports; the current one is another."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "own_net.py").write_text(OWN)
    (tmp_path / "code" / "beside_own_net.py").write_text("WIDTHS = [4, 8]\n")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("own_net", "beside_own_net"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path / "code" / "own_net.py"


@pytest.mark.parametrize(
    ("thing", "function"), [("Net", "of_network"), ("build", "of_row"), ("Old", "of_network"), ("space", "of_row")]
)
def test_the_main_job_searches_it_from_another_folder(own: Path, thing: str, function: str) -> None:
    assert run(["search", "--space", f"{own}:{thing}", "--accuracy", f"../code/own_net.py:{function}", *SEARCH]) == 0
    assert len(pd.read_csv("nastk-out/front.csv"))


def test_the_main_job_finds_a_module_of_the_current_folder(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(own.parent)
    assert run(["search", "--space", "own_net:Net", "--accuracy", "own_net:of_network", *SEARCH]) == 0


def test_a_function_of_a_network_starts_from_the_runs_seed(own: Path) -> None:
    command = ["search", "--space", f"{own}:Net", "--accuracy", f"{own}:of_network", "--searcher", "random", *SEARCH]
    for out, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        assert run([*command, "--out", out, "--seed", seed]) == 0
    first, same, other = ((Path(out) / "front.csv").read_text() for out in "abc")
    assert first == same != other


def test_latency_is_measured_on_its_networks(own: Path) -> None:
    arguments = ["--objective", "params", "--objective", "latency", "--measurements", "4", "--verify", "1"]
    assert run(["search", "--space", f"{own}:Net", *arguments]) == 0
    assert (pd.read_csv("nastk-out/front.csv")["latency"] > 0).all()


@pytest.mark.slow
def test_worker_processes_find_it(own: Path) -> None:
    arguments = ["zcp", "--space", f"{own}:Net", "--random", "4", "--proxies", "synflow", "--workers", "2"]
    code = f"from nastk.cli import main; main({arguments!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "synflow" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--space", "{}:Plain", "--accuracy", "{}:of_row"], "Plain makes no choice"),
        (["--space", "{}:Nothing", "--accuracy", "{}:of_row"], "has no 'Nothing'"),
        (["--space", "{}:of_row", "--accuracy", "{}:of_row"], "of_row"),
        (["--space", "nowhere.py:Net", "--accuracy", "{}:of_row"], "no such file"),
        (["--space", "{}:Net", "--accuracy", "{}:WIDTHS"], "is a list, not a function"),
        (["--space", "{}:Net", "--accuracy", "of_row"], "write module:name or file.py:name"),
        (["--space", "{}:Net"], "bring --accuracy"),
    ],
)
def test_what_is_wrong_on_the_command_line_is_one_line_and_status_2(
    own: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["search", *[a.format(own) for a in arguments]]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert message in said[0]


def test_a_file_is_run_once_while_it_stays_as_it_is(own: Path) -> None:
    assert load_object(f"{own}:Net") is load_object(f"{own}:Net")
    assert sys.modules["own_net"].Net is load_object(f"{own}:Net")
    before = load_object(f"{own}:Net")
    own.write_text(OWN + "\nadded = 1\n")
    assert load_object(f"{own}:added") == 1
    assert sys.modules["own_net"].Net is load_object(f"{own}:Net") is not before


# ---- combinations that are impossible


class Groups(nn.Module):
    """Groups do not always divide the channels; wide ones choose a kernel, and those of three groups a norm."""

    input_shape = (3, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        channels, groups = nastk.choice("channels", [8, 12, 16]), nastk.choice("groups", [1, 3, 4])
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.body = nn.Conv2d(channels, channels, 1, groups=groups)
        if channels > 8:
            self.stem = nn.Conv2d(3, channels, nastk.choice("kernel", [1, 3]), padding="same")
        self.norm = nn.BatchNorm2d(channels) if groups == 3 and nastk.choice("norm", [False, True]) else nn.Identity()
        self.head = nn.Linear(channels, 10)

    def forward(self, x: Any) -> Any:
        return self.head(self.norm(self.body(self.stem(x))).relu().mean((2, 3)))


def test_impossible_combinations_are_members_whose_evaluations_fail() -> None:
    space = nastk.space_of(Groups)
    assert space.size == 3 * 3 * 2 * 2
    archs = space.enumerate()
    impossible = {"8_3", "16_3"}
    latency = nastk.oracles.Latency(space, rounds=1, min_repeats=2, max_repeats=2, warmup=0.0)
    found = latency.evaluate(archs)
    texts = space.format_all(archs)
    for text, value in zip(texts, found.value, strict=True):
        assert np.isnan(value) == (text.rsplit("_", 2)[0] in impossible), text
    assert set(latency.reasons.values()) == {"ValueError: in_channels must be divisible by groups"}
    counted = nastk.oracles.Params(space).evaluate(archs).value
    assert np.array_equal(np.isnan(counted), np.isnan(found.value))
    assert space.params("8_3_1_False") == {"channels": 8, "groups": 3}


def test_equal_networks_stay_equal_and_different_ones_different_where_some_are_impossible() -> None:
    """Choices that a possible network does not make are fixed, those that it makes never are."""
    space = nastk.space_of(Groups)
    keys = space.keys(space.as_archs(["8_1_1_False", "8_1_3_True", "12_1_1_False", "12_1_1_True", "12_3_1_True"]))
    assert keys[0] == keys[1]
    assert keys[2] == keys[3]
    assert len({keys[0], keys[2], keys[4]}) == 3
    possible = space.as_archs(["12_3_1_False", "12_3_1_True", "12_3_3_False", "12_3_3_True"])
    assert len(set(space.keys(possible))) == 4


class Nested(nn.Module):
    """A tree of operations whose branches are only there where a choice before them says so."""

    input_shape = (4,)

    def __init__(self) -> None:
        super().__init__()
        self.body = self.node("root", 2)

    def node(self, name: str, depth: int) -> nn.Module:
        if nastk.choice(f"{name} kind", ["leaf", "pair"] if depth else ["leaf"]) == "leaf":
            return nn.Linear(4, 4, bias=nastk.choice(f"{name} bias", [False, True]))
        return nn.Sequential(self.node(f"{name} left", depth - 1), self.node(f"{name} right", depth - 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.body(x)
        return found


def test_moves_change_networks_whose_choices_depend_on_others() -> None:
    space = nastk.space_of(Nested)
    assert any(space.conditions.values())
    check_space(space, n=16)
    archs = space.sample(60, 0)
    children = space.mutate(archs, 1)
    assert all(a != b for a, b in zip(space.keys(archs), space.keys(children), strict=True))
    leaf = np.zeros((200, space.d), dtype=np.int64)
    names = [c.name for c in space.choices]
    grown = space.mutate(leaf, 2)
    grown = grown[grown[:, names.index("root kind")] == 1]
    assert len(np.unique(grown[:, names.index("root left bias")])) == 2, "what a child alone makes is random"
    both = space.crossover(leaf[: len(grown)], grown, 3)
    tall = both[:, names.index("root kind")] == 1
    kept = names.index("root left bias")
    assert np.array_equal(both[tall, kept], grown[tall, kept]), "what one parent alone makes comes from it"
