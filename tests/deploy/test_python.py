"""Networks as Python modules of their own: equal to what the space builds, bit for bit, and without nastk."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nastk
from nastk.deploy._format import Network
from nastk.deploy.python import PythonModule
from nastk.deploy.tensors import Safetensors
from nastk.deploy.write import choices_of
from nastk.errors import Unsupported
from nastk.oracles._on_runtime import example
from nastk.registry import SPACES, load_object
from nastk.runtimes.base import first_of

SMALL: dict[str, dict[str, Any]] = {
    "counting": {"input_size": 8},
    "edgetpu": {"input_size": 32, "num_classes": 10},
    "fbnet": {},
    "gpt": {"vocabulary": 50, "block_size": 16, "length": 8},
    "hat": {"vocabulary": 50, "length": 4, "shrink": 16},
    "mnasnet": {"input_size": 32, "num_classes": 10},
    "tcn": {"input_size": 16},
    "mtl-fusion": {},
    "mobilenetv3": {"width": 0.5, "input_size": 32, "num_classes": 10},
    "mobilenetv3-w10": {"width": 0.5, "input_size": 32, "num_classes": 10},
    "nasbench-macro": {"input_size": 16},
    "nasbench101": {"channels": 16, "cells_per_stack": 1, "input_size": 8},
    "nasbench201": {"channels": 4, "cells_per_stage": 1, "input_size": 8},
    "nasbench301": {"channels": 8, "layers": 4, "input_size": 16},
    "transbench101-macro": {"task": "jigsaw"},
    "transbench101-micro": {"task": "ninapro"},
}
"""Options of each registered space with which its networks are built in a moment."""

OWN = '''
"""Networks of mine."""

import math  # not needed

import nastk
import torch
from nastk import choice as pick
from torch import nn
from torch.nn import functional as F

# what divides by four
WIDTHS = [4, 8]
WIDTHS += [16]
UNUSED = math.pi


def conv(a, b, kernel):
    # keeps the side
    return nn.Conv2d(a, b, kernel, padding="same")


class Block(nn.Module):
    """A convolution and an activation."""

    def __init__(self, a, b, kernel, activation):
        super().__init__()
        self.body, self.activation = conv(a, b, kernel), activation()

    def forward(self, x):
        return self.activation(self.body(x))


class Net(nn.Module):
    input_shape = (1, 8, 8)

    def __init__(self, classes=10):
        super().__init__()
        width = nastk.choice("width", WIDTHS)
        activation = nastk.choice("activation", [nn.ReLU, nn.SiLU])  # smooth or not
        layers, channels = [], 1
        for i in range(1, 1 + nastk.choice("depth", [1, 2, 3])):
            layers += [Block(channels, width, pick(f"kernel {i}", [1, 3, 5]), activation)]
            channels = width
        if nastk.choice("norm", {"no": 0, "yes": 1}):
            layers.append(nastk.choice("kind", {"batch": nn.BatchNorm2d, "group": lambda c: nn.GroupNorm(2, c)})(width))
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(channels, classes)

    def forward(self, x):
        return self.head(F.adaptive_avg_pool2d(self.body(x), 1).flatten(1))


class Mixed(nn.Module):
    input_shape = (4,)

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(*(nastk.choice(f"layer {i}", [nn.ReLU, nn.Tanh])() for i in range(2)))
        self.out = nn.LazyLinear(nastk.choice("out", options=(2, 3)))

    def forward(self, x):
        return self.out(self.layers(x))


def suggested(trial):
    width = trial.suggest_int("width", 4, 12, step=4)
    layers = [nn.Linear(4, width)]
    for i in range(trial.suggest_categorical("depth", [1, 2])):
        layers += [nn.Linear(width, width), getattr(nn, trial.suggest_categorical(f"act {i}", ["ReLU", "SiLU"]))()]
    return nn.Sequential(*layers)


class Knows(nn.Module):
    """Needs nastk for more than its choices."""

    input_shape = (4,)

    def __init__(self):
        super().__init__()
        self.widths = list(nastk.Choice("w", ("2", "3")).options)
        self.scale = nn.Parameter(torch.ones(4))
        self.register_buffer("shift", torch.zeros(4))
        self.layer = nn.Linear(4, nastk.choice("width", [2, 3]))

    def forward(self, x):
        return self.layer(x * self.scale + self.shift) * self.doubled(len(self.widths))

    def doubled(self, n):
        return 2 * n
'''


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("own") / "own_networks.py"
    file.write_text(OWN)
    return file


def check(space: Any, count: int, folder: Path, seed: int = 5, small: int | None = None, **build: Any) -> str:
    """Sampled networks as modules answer what the space's own do, with the same state dict; the last one's text."""
    text = ""
    archs = space.sample(count if small is None else small, seed=seed)
    if small is not None:  # of these the cheapest
        archs = archs[np.argsort(space.statics(archs, **build)["flops"], kind="stable")[:count]]
    for arch in archs:
        module, inputs = example(space, arch, 1, compared=True, **build)
        network = Network(space, arch, module, inputs, build, choices_of(space, arch))
        file = folder / "network.py"
        made = PythonModule()
        made.write(network, file)
        Safetensors().write(network, file.with_suffix(".safetensors"))
        with torch.no_grad():
            expected = first_of(module(inputs))
        assert torch.equal(made.outputs(network, file, [inputs])[0], expected), space.format(arch)
        text = file.read_text()
        imported = [n for n in ast.walk(ast.parse(text)) if isinstance(n, (ast.Import, ast.ImportFrom))]
        assert not any("nastk" in ast.unparse(n) for n in imported)
    return text


def test_all_spaces_are_covered() -> None:
    assert sorted(SMALL) == sorted(name for name in SPACES.names() if ":" not in name)


@pytest.mark.parametrize("name", SMALL)
def test_two_networks_of_each_space(name: str, tmp_path: Path) -> None:
    text = check(nastk.space(name), 2, tmp_path, small=64, **SMALL[name])
    assert "Network" in text


@pytest.mark.long
@pytest.mark.parametrize("name", SMALL)
def test_twenty_networks_of_each_space_as_they_are(name: str, tmp_path: Path) -> None:
    check(nastk.space(name), 20, tmp_path, seed=25)


def test_the_users_class_with_its_choices_fixed(own: Path, tmp_path: Path) -> None:
    space = nastk.space(f"{own}:Net")
    check(space, 20, tmp_path)
    arch = space.parse("8_SiLU_2_3_5_1_yes_group")
    module, inputs = example(space, arch, 1, compared=True, classes=7)
    text = PythonModule().text(Network(space, arch, module, inputs, {"classes": 7}, choices_of(space, arch)), "n")
    for kept in (
        "        width = 8\n        activation = nn.SiLU  # smooth or not\n",
        'CHOICES = {"kernel 1": 3, "kernel 2": 5}',
        'Block(channels, width, CHOICES[f"kernel {i}"], activation)',
        "    # keeps the side\n",
        "(lambda c: nn.GroupNorm(2, c))(width)",
        "network = Net(classes=7)",
        "    kernel 2: 5\n    norm: yes\n",
    ):
        assert kept in text, kept
    for left_out in ("import math", "UNUSED", "import nastk", "Mixed", "kernel 3: "):
        assert left_out not in text, left_out


@pytest.mark.parametrize("name", ["Mixed", "suggested"])
def test_options_that_are_no_literals_and_trials(own: Path, tmp_path: Path, name: str) -> None:
    space = nastk.space_of(load_object(f"{own}:{name}"), input_shape=(4,))
    text = check(space, 6, tmp_path)
    assert ('[nn.ReLU, nn.Tanh][CHOSEN[f"layer {i}"]]' if name == "Mixed" else "suggested(None)") in text


def test_a_class_that_needs_nastk_is_written_layer_by_layer(own: Path, tmp_path: Path) -> None:
    text = check(nastk.space(f"{own}:Knows"), 2, tmp_path)
    assert "self.widths = " in text
    assert "def doubled(self, n):" in text
    assert "nn.Parameter(torch.empty((4,), dtype=torch.float32))" in text


def test_it_runs_where_there_is_no_nastk(own: Path, tmp_path: Path) -> None:
    check(nastk.space(f"{own}:Net"), 1, tmp_path)
    program = "import runpy, sys; sys.modules['nastk'] = None; runpy.run_path('network.py', run_name='__main__')"
    ran = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "torch.Size([1, 10])\n", "")


def test_what_has_no_source_is_refused() -> None:
    space = nastk.space("nasbench201")
    odd = type("Odd", (torch.nn.Module,), {"forward": lambda self, x: x, "__module__": "__typed_in__"})
    module = torch.nn.Sequential(odd())
    made = Network(space, space.sample(1, 0)[0], module, torch.zeros(1, 3))
    with pytest.raises(Unsupported, match="cannot be written as Python"):
        PythonModule().text(made, "n")
    hooked = torch.nn.Linear(2, 2)
    hooked.register_forward_hook(lambda *a: None)
    with pytest.raises(Unsupported, match="hooks"):
        PythonModule().text(Network(space, made.arch, hooked, made.inputs), "n")
