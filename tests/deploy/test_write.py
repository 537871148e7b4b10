"""Networks as files: which network, with which weights, checked against PyTorch, whole or not at all."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nastk
from nastk.deploy.python import load_module
from nastk.deploy.weights import find_weights, weights_of
from nastk.deploy.write import export
from nastk.errors import DataWarning, InvalidValue, NastkError, UnknownName, Unsupported
from nastk.finished import FinishedSearch, read_search
from nastk.oracles._weights import write_weights
from nastk.registry import RUNTIMES, SPACES
from nastk.runtimes._agreement import LEAST_COSINE
from nastk.runtimes._torch_files import load_torchscript
from nastk.runtimes.base import Runtime, runtime_class
from nastk.spaces.precisions import PRECISIONS

SMALL = {"channels": 8, "layers": 4, "input_size": 16}
"""Options of NAS-Bench-301's networks."""

OWN = """
import nastk, torch
from torch import nn
from nastk.runtimes.base import Runtime


class Net(nn.Module):
    input_shape = (3, 6, 6)

    def __init__(self):
        super().__init__()
        width = nastk.choice("width", [4, 8])
        if nastk.choice("deep", [False, True]):
            self.more = nn.Conv2d(width, width, nastk.choice("kernel", [1, 3]), padding="same")
        self.layer = nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU())
        self.head = nn.Linear(width, 5)

    def forward(self, x):
        x = self.layer(x)
        if hasattr(self, "more"):
            x = self.more(x)
        return self.head(x.mean((2, 3)))


def train(network):
    with torch.no_grad():
        for value in network.parameters():
            value.mul_(1.5)
    return 50.0 + len(list(network.parameters()))


class Pickled(Runtime):
    name = "pickled"
    suffix = ".pth"
    share = 1.0
    precisions = ("fp32", "bf16")

    def describe(self):
        return "pickled 1"

    def export(self, network, inputs, file):
        torch.save(network, file)

    def _prepare(self, source, inputs):
        network = torch.load(source, weights_only=False)
        return lambda: network(inputs) * self.share


class Wrong(Pickled):
    name = "wrong"
    share = 1.01


class Inverted(Pickled):
    name = "inverted"
    share = -1.0


class Owned:
    # a run whose result is its own memory, which is gone with it
    def __init__(self, network, inputs):
        self.network, self.inputs, self.memory = network, inputs, None

    def __call__(self):
        self.memory = self.network(self.inputs)
        return self.memory

    def __del__(self):
        if self.memory is not None:
            self.memory.numpy()[:] = 7.0


class Owning(Pickled):
    name = "owning"

    def _prepare(self, source, inputs):
        return Owned(torch.load(source, weights_only=False), inputs)


class Failing(Pickled):
    name = "failing"

    def export(self, network, inputs, file):
        file.write_text("half")
        raise ValueError("no such operator: Det")
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    Path("shipped.py").write_text(OWN)
    return nastk.space("shipped.py:Net")


@pytest.fixture
def searched(own: Any) -> FinishedSearch:
    """A search by names that trained four networks, in its folder."""
    from nastk import run

    described = run.describe(
        "shipped.py:Net", objectives=["accuracy", "params"], accuracy="shipped.py:train", searcher="random", budget=4
    )
    Path("out").mkdir()
    composed = run.compose(described, storage="sqlite:///out/history.db")
    try:
        composed.search().to_json("out/result.json")
    finally:
        composed.close()
    return read_search("out")


def state(finished: FinishedSearch, row: Any) -> Any:
    """What the search trained, by the recipe that nobody should have to know."""
    torch.manual_seed(0)
    network = finished.space.build(row)
    with torch.no_grad():
        for value in network.parameters():
            value.mul_(1.5)
    return network.state_dict()


# ---- weights


def test_the_weights_of_each_trained_network_are_found(searched: FinishedSearch) -> None:
    texts = [r["arch"] for r in searched.content["history"] if r["objective"] == "accuracy"]
    assert len(texts) == 4
    for text in texts:
        row = searched.arch(text)
        found = find_weights(searched, row)
        assert found is not None
        torch.testing.assert_close(found.state, dict(state(searched, row)), rtol=0, atol=0)
        assert found.facts["arch"] == text
    rest = next(row for row in searched.space.enumerate() if searched.space.format(row) not in texts)
    assert weights_of(searched, rest) is None
    assert len({str(find_weights(searched, searched.arch(text)).file) for text in texts}) == 4  # type: ignore[union-attr]


def test_an_isomorphic_encoding_is_exported_as_it_was_trained(tmp_path: Path) -> None:
    from nastk.oracles.base import network_folder_name

    space = nastk.space("nasbench301")
    archs = space.sample(50, seed=3)
    forms = space.as_networks(archs)
    trained, other = next((row, form) for row, form in zip(archs, forms, strict=True) if not np.array_equal(row, form))
    folder = tmp_path / "networks" / network_folder_name(space.as_networks(trained[None])[0])
    folder.mkdir(parents=True)
    network = space.build(trained, **SMALL).eval()
    write_weights(folder, network, {"arch": space.format(trained), "function": "f.py:f"})
    objective = {"name": "accuracy", "fidelity": None, "oracle": {"oracle": "training", "build": SMALL}}
    content = {
        "search": {"space": "nasbench301", "objectives": [objective]},
        "objectives": [
            {"name": "accuracy", "direction": "max", "expensive": True, "networks": str(tmp_path / "networks")}
        ],
        "front": [{"arch": space.format(other), "accuracy": 90.0}],
    }
    made = export(FinishedSearch(content), format="python", folder=tmp_path / "out", name="n")
    inputs = torch.randn(2, 3, 16, 16)
    assert torch.equal(load_module(tmp_path / "out" / "n.py").load()(inputs), network(inputs))
    assert made.card["weights"]["trained"]
    assert made.card["build"] == SMALL
    assert made.card["arch"] == space.format(other)


def test_random_weights_have_to_be_asked_for(own: Any, searched: FinishedSearch) -> None:
    with pytest.raises(InvalidValue, match=r"a space alone has none; --weights FILE .*--untrained"):
        export(own, 0, format="safetensors")
    made = export(own, 0, format="safetensors", untrained=True)
    assert made.card["weights"]["origin"] == "The weights are random (seed 0): the network is not trained"
    assert not made.card["weights"]["trained"]
    known = {r["arch"] for r in searched.content["history"]}
    rest = next(t for t in own.format_all(own.enumerate()) if t not in known)
    with pytest.raises(InvalidValue, match="was it trained in the search, in place"):
        export(searched, rest, format="safetensors")
    assert not Path("nastk-export/result.json").exists()


def test_a_search_of_estimates_trained_nothing() -> None:
    content = {
        "search": {
            "space": "nasbench201",
            "objectives": [
                {"name": "accuracy", "fidelity": None, "oracle": {"oracle": "shipped", "weights": "w"}},
                {"name": "params", "fidelity": None, "oracle": {"oracle": "count", "metric": "params"}},
            ],
        },
        "objectives": [{"name": name, "direction": "max", "expensive": False} for name in ("accuracy", "params")],
        "front": [{"arch": nastk.space("nasbench201").format(np.zeros(6, dtype=int)), "accuracy": 9.0, "params": 1}],
    }
    with pytest.raises(InvalidValue, match="this search trained no networks, its accuracies are looked up"):
        export(FinishedSearch(content), format="safetensors")


def test_own_weights_and_a_network_that_was_trained_further(own: Any, tmp_path: Path) -> None:
    network = own.build(np.zeros(3, dtype=int))
    torch.save(network.state_dict(), "mine.pt")
    made = export(own, 0, format="safetensors", weights="mine.pt")
    assert made.card["weights"]["origin"] == "The weights are those of mine.pt"
    again = export(own, 0, format="safetensors", network=network.train(), origin="Trained for longer", folder="again")
    assert again.card["weights"]["sha256"] == made.card["weights"]["sha256"]
    assert again.card["weights"]["origin"] == "Trained for longer"
    assert network.training, "the user's network stays as it is"
    with pytest.raises(InvalidValue, match="weights of another network"):
        export(own, "8_False_1", format="safetensors", weights="mine.pt")
    assert export(own, 0, format="safetensors", weights=network.state_dict(), folder="third").card["weights"]["trained"]


# ---- which network


def test_which_network_must_be_clear(own: Any, searched: FinishedSearch) -> None:
    best = searched.pick("accuracy")["arch"]
    made = export("out", pick="accuracy, params<=1e9", format="python")
    assert made.card["arch"] == best
    assert {o["name"]: o["value"] for o in made.card["objectives"]}["accuracy"] == searched.pick("accuracy")["accuracy"]
    if len(searched.front) > 1:
        with pytest.raises(InvalidValue, match="say which: --pick"):
            export("out", format="python")
    with pytest.raises(InvalidValue, match="leave one out"):
        export("out", best, "accuracy", format="python")
    with pytest.raises(InvalidValue, match="say which network"):
        export(own, format="python", untrained=True)
    with pytest.raises(NastkError, match="expected 3 options"):
        export("out", "nonsense", format="python")


def test_a_space_without_networks_is_refused() -> None:
    class Rows(nastk.SearchSpace):
        name = "rows"
        choices = (nastk.Choice("width", ("16", "32")),)

    with pytest.raises(Unsupported, match="an export needs networks, and the space rows builds none"):
        export(Rows(), "16", format="pt2", untrained=True)


# ---- files


def test_all_of_pytorchs_formats_and_a_card(own: Any, searched: FinishedSearch) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no warning of PyTorch's reaches the user
        formats = "pt2, torchscript,python"
        made = export("out", pick="accuracy", format=formats, folder="files", name="best", command="c")
    assert sorted(p.name for p in made.files) == ["best.pt", "best.pt2", "best.py", "best.safetensors"]
    assert sorted(p.name for p in Path("files").iterdir()) == sorted(
        ["best.pt", "best.pt2", "best.py", "best.safetensors", "best.json", "best.md"]
    )
    card = json.loads(made.json.read_text())
    assert card == made.card
    row = searched.arch(card["arch"])
    assert card["choices"] == {name: str(value) for name, value in searched.space.params(row).items()}, (
        "without choices that it does not make"
    )
    assert [f["agreement"]["difference"] for f in card["files"] if f["format"] in ("python", "safetensors")] == [0, 0]
    assert all(f["agreement"]["difference"] <= 1e-3 and f["agreement"]["examples"] == 4 for f in card["files"])
    assert card["weights"]["origin"].endswith(f"shipped.py:train (seed 0, accuracy {row_value(card):g} %)")
    assert card["search"]["description"]["seed"] == 0
    assert card["export"]["command"] == "c"
    text = made.markdown.read_text()
    assert "| torchscript | fp32 |" in text
    assert "PyTorch has deprecated TorchScript" in text
    assert f"| accuracy | {row_value(card):g} % |" in text
    own.build(row).load_state_dict(load_torchscript(Path("files/best.pt")).state_dict())


def row_value(card: Any) -> float:
    return float(next(o["value"] for o in card["objectives"] if o["name"] == "accuracy"))


def test_a_later_export_of_the_same_network_keeps_the_card_of_the_first(own: Any) -> None:
    export(own, 0, format="torchscript", untrained=True, name="n")
    later = export(own, 0, format="safetensors", untrained=True, name="n")
    assert [f["file"] for f in later.card["files"]] == ["n.pt", "n.safetensors"]
    other = export(own, 1, format="safetensors", untrained=True, name="n")
    assert [f["file"] for f in other.card["files"]] == ["n.safetensors"]


def test_a_lower_precision_and_the_users_inputs(own: Any) -> None:
    inputs = np.random.default_rng(0).normal(size=(7, 3, 6, 6))
    np.save("inputs.npy", inputs)
    made = export(own, 1, format="pt2", precision="bf16", untrained=True, inputs="inputs.npy", batch=2, name="n")
    (file,) = made.card["files"]
    assert (file["file"], file["precision"], file["agreement"]["examples"]) == ("n.bf16.pt2", "bf16", 6)
    assert 0.99 < file["agreement"]["cosine"] < 1
    assert made.card["checked_on"] == "6 of your inputs (inputs.npy)"
    assert made.card["input"]["shape"] == [2, 3, 6, 6]


@pytest.mark.parametrize("runtime", ["Wrong", "Failing"])
def test_a_file_that_is_wrong_is_an_error_and_leaves_nothing(own: Any, runtime: str) -> None:
    says = "answers other outputs than PyTorch.*allowed is 0.001" if runtime == "Wrong" else "no such operator: Det"
    with pytest.raises(NastkError, match=says):
        export(own, 0, format="safetensors", runtime=f"shipped.py:{runtime}", untrained=True, folder="made/here")
    assert not Path("made").exists()


def test_results_that_belong_to_their_run_are_copied_while_it_lives(own: Any) -> None:
    made = export(own, 0, runtime="shipped.py:Owning", untrained=True)
    assert made.card["files"][0]["agreement"]["difference"] == 0


def test_an_interrupt_leaves_nothing(own: Any) -> None:
    def interrupt(what: str) -> None:
        if what.endswith(".pth"):
            raise KeyboardInterrupt

    Path("made").mkdir()
    with pytest.raises(KeyboardInterrupt):
        export(own, 0, None, "torchscript", "shipped.py:Pickled", untrained=True, folder="made", progress=interrupt)
    assert not list(Path("made").iterdir())


def test_a_lower_precision_that_is_far_off_is_told(own: Any) -> None:
    with pytest.warns(DataWarning, match="outputs in bf16 are far from those in fp32"):
        export(own, 0, runtime="shipped.py:Inverted", precision="bf16", untrained=True)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({}, InvalidValue, "say what to write: --format"),
        ({"format": "onx"}, UnknownName, "did you mean 'onnx'"),
        ({"runtime": "torch"}, InvalidValue, "no file of its own"),
        ({"runtime": "nothing"}, UnknownName, "unknown runtime"),
        ({"format": "pt2", "precision": "int8"}, InvalidValue, "int8 is of a runtime, such as --runtime onnx"),
        ({"format": "python", "precision": "fp16"}, InvalidValue, "written in fp32, not in fp16"),
        ({"format": "pt2", "calibration": np.zeros((2, 3, 6, 6))}, InvalidValue, "calibration is of int8"),
        ({"format": "pt2", "inputs": "none.npy"}, InvalidValue, r"cannot read the inputs none\.npy"),
        ({"format": "pt2", "inputs": np.zeros((2, 3))}, InvalidValue, r"the network takes \(n, 3, 6, 6\)"),
        ({"format": "pt2", "inputs": np.zeros((2, 3, 6, 6)), "batch": 3}, InvalidValue, "fewer than a batch of 3"),
        ({"format": "pt2", "batch": 0}, InvalidValue, "must be at least 1"),
        ({"format": "pt2", "name": "../up"}, InvalidValue, "letters, digits"),
        ({"format": "pt2", "weights": "none.pt"}, InvalidValue, "no such file of weights"),
        ({"format": "pt2", "folder": "shipped.py"}, NastkError, "shipped.py"),
    ],
)
def test_what_cannot_be_is_refused(own: Any, options: Any, error: Any, says: str) -> None:
    with pytest.raises(error, match=says):
        export(own, 0, untrained=True, **options)
    assert not Path("nastk-export").exists()


def test_a_precision_that_the_architecture_chose(own: Any) -> None:
    from nastk.spaces.precisions import in_precisions

    space = in_precisions(own, "fp32,bf16")
    made = export(space, "8_True_3@bf16", format="pt2", untrained=True, name="n")
    assert [f["file"] for f in made.card["files"]] == ["n.bf16.pt2"]
    assert made.card["choices"]["precision"] == "bf16"
    made = export(space, "8_True_3@bf16", format="python", precision="fp32", untrained=True, name="n")
    assert "n.py" in [f["file"] for f in made.card["files"]]


def test_the_public_name() -> None:
    assert nastk.export is export


# ---- runtimes


def test_onnx_in_both_precisions(own: Any) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    made = export(own, 2, format="onnx", untrained=True, name="n")
    assert made.card["files"][0]["agreement"]["difference"] <= 1e-3
    inputs = np.random.default_rng(0).normal(size=(8, 3, 6, 6)).astype(np.float32)
    made = export(own, 2, format="onnx", precision="int8", untrained=True, name="n", inputs=inputs, calibration=inputs)
    (quantised,) = [f for f in made.card["files"] if f["precision"] == "int8"]
    assert quantised["file"] == "n.int8.onnx"
    assert quantised["agreement"]["cosine"] > LEAST_COSINE
    assert "calibrated on 8 given inputs" in quantised["run_by"]


def has(kind: type[Runtime], precision: str) -> bool:
    """Whether this machine runs networks in a precision that a runtime declares."""
    try:
        kind(precision=precision)
    except Unsupported:
        return False
    return True


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(n for n in SPACES.names() if ":" not in n))
def test_a_network_of_each_space_in_each_runtime(name: str, tmp_path: Path) -> None:
    """Float32 within the tolerance, which the export checks itself; lower precisions are told."""
    space = nastk.space(name)
    row = space.sample(1, seed=2)[0]
    kinds = [kind for kind in map(runtime_class, RUNTIMES.names()) if kind.suffix and kind.available()]
    told = []
    for precision in PRECISIONS:
        usable = [kind.name for kind in kinds if precision in kind.precisions and has(kind, precision)]
        if not usable:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            made = export(space, row, None, (), usable, precision, untrained=True, folder=tmp_path, name=precision)
        assert sorted(f["format"] for f in made.card["files"]) == sorted(usable)
        for file in made.card["files"]:
            agreed = file["agreement"]
            told.append(f"{name} {file['run_by']}: {agreed['difference']:.1e}, cosine {agreed['cosine']:.4f}")
            assert precision != "fp32" or agreed["difference"] <= 1e-3
    print("\n".join(told))
    assert told
