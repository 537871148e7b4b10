"""Generated wrong command lines: every command and every option, each refused in one line with status 2.

A line is a command that works with one thing wrong: a value that its option cannot take, a missing one, an unknown
name, two options that contradict each other. What would be heavy is replaced by :class:`WorkBegan`: a line that comes
that far has been accepted, which only a harmless one may be.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main

from nastk.cli import app, run
from nastk.data import imported
from nastk.storage import open_history

OWN = """
import nastk
from torch import nn

number = 3

class Tiny(nastk.SearchSpace):
    name = "tiny"
    choices = tuple(nastk.Choice(n, ("1", "2", "4")) for n in ("depth", "width", "kernel"))

    def build(self, arch, **options):
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 4, 10))

    def input_shape(self, **options):
        return (3, 4, 4)

class Bare(nastk.SearchSpace):
    name = "bare"
    choices = Tiny.choices

class Nameless(nastk.SearchSpace):
    choices = Tiny.choices

class Fails(Tiny):
    def __init__(self):
        raise ValueError("of its own\\naccord")

def accuracy(arch):
    return 50.0 + float(arch.sum())

def train(arch, epochs):
    return 50.0 + float(arch.sum())
"""
RESULT: dict[str, Any] = {
    "title": "t",
    "axes": [{"name": "accuracy", "unit": "%", "direction": "max"}],
    "front": [{"arch": "1_1_1", "shown": {"accuracy": {"value": 1.0, "kind": "table"}}, "predicted": {}}],
    "evaluated": [],
    "cloud": {"archs": [], "values": {}},
    "true_front": {},
    "notes": [],
}
SEARCHED: dict[str, Any] = {
    "search": {
        "space": "tiny.py:Tiny",
        "objectives": [{"name": "params", "fidelity": None, "oracle": {"oracle": "count", "metric": "params"}}],
    },
    "objectives": [{"name": "params", "direction": "min", "expensive": False}],
    "front": [{"arch": "1_1_1", "params": 490.0}],
}


SEARCHED: dict[str, Any] = {
    "schema": 1,
    "search": {
        "space": "tiny.py:Tiny",
        "objectives": [
            {"name": "accuracy", "oracle": {"oracle": "function", "function": "tiny.py:accuracy", "epochs": []}},
            {"name": "params", "oracle": {"oracle": "count", "metric": "params"}},
        ],
        "predictors": {"accuracy": "ridge"},
    },
    "objectives": [
        {"name": name, "unit": "", "direction": direction, "expensive": name == "accuracy", "source": ""}
        for name, direction in (("accuracy", "max"), ("params", "min"))
    ],
    "front": [],
    "history": [
        {"arch": arch, "objective": "accuracy", "value": value}
        for arch, value in (("1_1_1", 50.0), ("1_2_1", 60.0), ("4_4_4", 70.0))
    ],
}
"""A result of a search, as far as it is needed to open it again."""


class WorkBegan(BaseException):
    """Instead of what takes long."""


# ---- commands that work

BASES: dict[str, list[str]] = {
    "search": [
        *("search", "--space", "tiny.py:Tiny", "--accuracy", "tiny.py:accuracy", "--objective", "accuracy"),
        *("--objective", "params", "--searcher", "random", "--budget", "4", "--out", "new/out"),
    ],
    "help": ["help", "search"],
    "measure": ["measure", "1_1_1", "--space", "tiny.py:Tiny"],
    "predict": ["predict", "1_1_1", "--space", "tiny.py:Tiny", "--measured", "ms.csv"],
    "device list": ["device", "list"],
    "device test": [
        *("device", "test", "1_1_1", "--space", "tiny.py:Tiny", "--runtime", "torch", "--precision", "fp32"),
    ],
    "export": [
        *("export", "searched.json", "--arch", "1_1_1", "--untrained", "--format", "safetensors"),
        *("--out", "new/made"),
    ],
    "train": ["train", "searched.json", "--arch", "1_1_1", "--data", "images.npz", "--out", "new/trained"],
    "mcu": ["mcu", "1_1_1", "--space", "tiny.py:Tiny"],
    "zcp": ["zcp", "1_1_1", "--space", "tiny.py:Tiny", "--proxies", "snip", "--batch", "random"],
    "list": ["list", "predictors"],
    "report": ["report", "result.json"],
    "front": ["front", "--storage", "sqlite:///study.db"],
    "choices": ["choices", "searched.json", "--refits", "2", "--samples", "50", "--out", "new/choices"],
    "bench search": [
        *("bench", "search", "--space", "tiny.py:Tiny", "--objective", "test_accuracy", "--searchers", "random"),
        *("--budgets", "2", "--seeds", "1"),
    ],
    "bench predict": ["bench", "predict", "--predictors", "ridge", "--sizes", "5", "--seeds", "1"],
    "bench supernet-search": ["bench", "supernet-search", "--pool", "10", "--seeds", "1", "--out", "new/supernets"],
    "bench workers": ["bench", "workers", "--searcher", "random", "--evaluations", "2"],
    "bench delivered": [
        "bench",
        "delivered",
        "--space",
        "tiny.py:Tiny",
        "--objective",
        "params",
        "--seeds",
        "1",
        "--sample",
        "5",
    ],
    "bench zcp": ["bench", "zcp", "--space", "tiny.py:Tiny", "--proxies", "snip", "--batch", "random"],
    "bench storage": ["bench", "storage", "--records", "10"],
    "bench overhead": [
        *("bench", "overhead", "--space", "tiny.py:Tiny", "--functions", "1", "--searcher", "random"),
        *("--observations", "5", "--proposals", "2"),
    ],
    "bench local-sources": [
        *("bench", "local-sources", "--space", "tiny.py:Tiny", "--networks", "10", "--sources", "30"),
        *("--settings", "torch"),
    ],
    "bench supernet": ["bench", "supernet", "--methods", "params"],
    "reproduce latency": ["reproduce", "latency", "--tasks", "ND", "--methods", "flops", "--seeds", "1"],
    "reproduce accuracy": ["reproduce", "accuracy", "--methods", "ridge", "--seeds", "1"],
    "reproduce correlations": ["reproduce", "correlations"],
    "reproduce lists": ["reproduce", "lists", "spaces"],
    "reproduce all": ["reproduce", "all", "--items", "multi-predict-table-14", "--out", "new/all"],
    "reproduce modnas": ["reproduce", "modnas", "--seeds", "1"],
    "reproduce hat-latency": ["reproduce", "hat-latency", "--seeds", "1"],
    "reproduce supernet": ["reproduce", "supernet", "--seeds", "1"],
    "reproduce tcn": ["reproduce", "tcn", "--data", "series.npz", "--seeds", "1", "--out", "new/tcn"],
    "reproduce mtl": ["reproduce", "mtl", "--seeds", "1", "--out", "new/mtl"],
    "reproduce counting": ["reproduce", "counting", "--seeds", "1", "--out", "new/counting"],
    "study list": ["study", "list", "--storage", "sqlite:///study.db"],
    "study show": ["study", "show", "--storage", "sqlite:///study.db"],
    "study retry": ["study", "retry", "--storage", "sqlite:///study.db"],
    "study serve": ["study", "serve", "--storage", "sqlite:///study.db", "--port", "0"],
    "study export": ["study", "export", "--storage", "sqlite:///study.db", "--optuna", "sqlite:///optuna.db"],
    "study delete": ["study", "delete", "--storage", "sqlite:///study.db", "--study", "nastk", "--yes"],
    "data list": ["data", "list"],
    "data fetch": ["data", "fetch", "fbnet"],
    "data import": ["data", "import", "acc.csv", "--space", "tiny.py:Tiny", "--column", "acc:val_accuracy"],
    "data forms": ["data", "forms"],
    "data forget": ["data", "forget", "acc"],
    "data status": ["data", "status"],
    "data verify": ["data", "verify"],
}
"""One line of each command; those that read a fetched table are refused without it."""
NEED_TABLES = {
    "bench workers", "reproduce latency", "reproduce accuracy", "reproduce correlations", "reproduce modnas",
    "reproduce hat-latency", "bench predict",
}  # fmt: skip

# ---- what is wrong with a value

LONG = "a" * 300
ODD = ["", " ", LONG, "a" * 5000, "💥", "\u202ex", "\udcff", "\x1b[31m", "a\nb", "²", "-", "--nope", "../..", "nope"]
COUNT = [
    "",
    " ",
    "x",
    "1.5",
    "1e3",
    "-1",
    "-99999999999999999999",
    "1" + "0" * 30,
    "9" * 5000,
    "0x10",
    "nan",
    "²",
    "💥",
]
NUMBER = ["", "x", "-1", "nope", "💥", "--", "1,5", "-inf", "inf", "nan"]
TIME = ["", "soon", "0", "-5m", "5 weeks", "nan", "inf", "1e9", "m", "💥", LONG]
LIST = ["", ",", "a,,b", ",a", "a,", "nope", "💥", LONG]
COUNTS = ["", ",", "5,,6", "0", "-3", "1.5", "x", "²", "9" * 5000, "1" + "0" * 30, "5,x"]
FILE_IN = ["", ".", "folder", "nowhere.csv", LONG, "binary", "empty", "deep.json", "text.txt/x", "\udcff", "💥"]
FILE_OUT = ["", ".", "folder", LONG, "text.txt/x.json", "/proc/nope/x.json"]
FOLDER_OUT = ["text.txt", "text.txt/out", LONG, "/proc/nope"]
SPACE = [*ODD, "nasbench21", "tiny.py", "tiny.py:", ":Tiny", "tiny.py:Nope", "tiny.py:number", "tiny.py:Fails"]
SPACE += ["tiny.py:Nameless", "broken.py:X", "folder:X", "nowhere.py:X", "os:path", "naslib:Nope", f"{LONG}.py:X"]
OBJECT = [*ODD, "tiny.py", "tiny.py:", "tiny.py:Nope", "broken.py:X", "nowhere.py:X", "os:path", "tiny.py:number"]
ARCH = [*ODD, "-5", "9" * 25, "9" * 5000, "1_1", "1_1_9", "1_1_1_1", "1_1_²", ",", "0,0,9", "1.5"]
OBJECTIVE = [*ODD, ":", "latency:", "max:", "median:latency", "accuracy@", "accuracy@x", "accuracy@-1", "a:b:c:d"]
OBJECTIVE += ["latency:tpu", "params:pi5", "params@3", "max:latency", "accuracy", "latency:cuda:99"]
CONSTRAINT = [
    *ODD,
    "accuracy",
    "accuracy<3",
    "accuracy<=x",
    "<=3",
    "nope<=3",
    "accuracy<=1e999",
    "accuracy<=",
    "a<=1<=2",
]
PREDICTOR = [*ODD, "=gp", "accuracy=", "accuracy=nope", "nope=gp", "params=gp", "tiny.py:number", "gp,"]
STORAGE = ["nonsense", "://", "sqlite:///folder", "sqlite:////proc/nope/x.db", "oracle+nope://x", "💥", LONG]
DEVICE = [*ODD, "tpu", "cuda:99", "cuda:x", "this:1"]
COLUMN = [*ODD, ":", "acc:a:b:c:d", "acc:latency", "acc:energy", "acc:mystery", "acc:accuracy:%:up", "arch:accuracy"]

WRONG: dict[str, list[str]] = {
    "--space": SPACE,
    "--dataset": ODD,
    "--device": DEVICE,
    "--devices": LIST,
    "--objective": OBJECTIVE,
    "--objectives": LIST,
    "--constraint": CONSTRAINT,
    "--searcher": OBJECT,
    "--searchers": LIST,
    "--supernet": OBJECT,
    "--predictor": PREDICTOR,
    "--storage": STORAGE,
    "--config": [*(name for name in FILE_IN if name != "empty"), "wrong.toml", "broken.toml", "deep.toml", "nul.toml"],
    "--out": [*FOLDER_OUT, ""],
    "--figures": FOLDER_OUT,
    "--folder": FOLDER_OUT,
    "--json": FILE_OUT,
    "--csv": FILE_OUT,
    "--html": FILE_OUT,
    "--png": FILE_OUT,
    "--svg": FILE_OUT,
    "--pdf": FILE_OUT,
    "--predictors": LIST,
    "--sizes": COUNTS,
    "--runtime": OBJECT,
    "--accuracy": OBJECT,
    "--epochs": COUNTS,
    "--proxies": LIST,
    "--init": ODD,
    "--images": FILE_IN,
    "--measured": FILE_IN,
    "--archs": ARCH,
    "--sources": LIST,
    "--targets": LIST,
    "--report": ODD,
    "--tasks": LIST,
    "--methods": LIST,
    "--sampler": ODD,
    "--experiment": ODD,
    "--train": LIST,
    "--unseen": LIST,
    "--network": ODD,
    "--combination": ODD,
    "--items": LIST,
    "--source-share": [*NUMBER, "2"],
    "--max-correlation": NUMBER,
    "--min-correlation": NUMBER,
    "--held-out": [*ODD, "torch", "torch:x:1", "torch:1:0", "torch:1:1:1"],
    "--column": COLUMN,
    "--arch": ["nope", "💥", "acc", "\x1b[31m", LONG],
    "--name": ["", "../x", ".hidden", "a/b", LONG, "💥", "a b"],
    "--output": [""],
    "--budgets": COUNTS,
    "--observations": COUNTS,
    "--samples": COUNTS,
    "--source-samples": COUNTS,
    "--batch": COUNT,
    "--fidelity": NUMBER,
    "--seconds": NUMBER,
    "--precision": [*ODD, ",", "fp32,", "fp32,fp32", "FP32", "fp64", "fp32,nope"],
    "--calibration": FILE_IN,
    "--device-command": ["", " ", "nowhere/to-be-found", '"unclosed', LONG],
    "--for-device": FOLDER_OUT,
    "--format": ODD,
    "--archs-file": FILE_IN,
    "--save-measured": FILE_OUT,
    "--accelerator": ODD,
    "--local-sources-time": TIME,
    "--sources-time": TIME,
    "--settings": LIST,
    "--second": ODD,
    "--data": [*FILE_IN, "nope", "text.npz", "tiny.py:Nope", "tiny.py:number", "nowhere.py:X"],
    "--optimizer": ODD,
    "--augment": LIST,
    **{option: [*NUMBER, "-0.1"] for option in ("--rate", "--decay", "--warmup", "--smoothing", "--ema")},
    "--build": [*LIST, "channels=x", "=3", "channels=-1"],
    "--from": FILE_IN,
    "--keep": FILE_OUT,
}
"""Wrong values by option; those that are whole numbers, `COUNT`, need no line here."""
OF_COMMAND: dict[tuple[str, str], list[str]] = {
    ("zcp", "--batch"): ["", "nope", "nowhere.npz", "text.npz", "folder", LONG, "💥"],
    ("bench zcp", "--batch"): ["", "nope", "💥", "\x1b[31m"],
    ("predict", "--measurements"): FILE_IN,
    ("reproduce supernet", "--devices"): [*LIST, "torch:1", "torch:x:1", "torch:0:1", "torch:1:1,torch:1:1"],
    ("reproduce supernet", "--device"): DEVICE,
    ("search", "--study"): [""],
    ("search", "--train"): ["", " ", "nowhere/to-be-found {arch}", '"unclosed', "sh {arhc}", "sh {arch}", LONG],
    **{(name, "--devices"): FILE_IN for name in ("search", "measure", "predict", "device list")},
    ("mcu", "--out"): FILE_OUT,
    **{(name, "--arch"): ARCH for name in ("export", "train")},
    ("train", "--pick"): ["", "params", "params<=1", ",", "💥", LONG],
    ("train", "--device"): DEVICE,
    ("train", "--epochs"): COUNT,
    ("train", "--export"): LIST,
    ("export", "--pick"): ["", "params", "params<=1", ",", "💥", LONG],
    ("export", "--weights"): FILE_IN,
    ("export", "--inputs"): FILE_IN,
    ("export", "--name"): ["", "../x", ".hidden", "a/b", LONG, "💥"],
    ("study show", "--study"): ODD,
    ("study retry", "--study"): ODD,
    **{(f"study {name}", "--study"): ODD for name in ("serve", "export", "delete")},
    ("study export", "--name"): [""],
    ("study export", "--optuna"): [*STORAGE, "", "sqlite:///text.txt", "sqlite://"],
    **{
        (f"study {name}", "--storage"): [*STORAGE, "", "sqlite:///text.txt", "sqlite:///nowhere.db"]
        for name in ("list", "show", "retry", "serve", "export", "delete")
    },
    ("search", "--predictor"): [*PREDICTOR, "gp"],
    ("front", "--storage"): [*STORAGE, "", "sqlite:///text.txt", "sqlite:///nowhere.db"],
    ("front", "--study"): ODD,
    ("front", "--objective"): [*ODD, ":", "latency", "acc"],
    ("front", "--constraint"): [text for text in CONSTRAINT if text != "accuracy<=1e999"],
    ("front", "--space"): ["tiny.py:Tiny", ""],
    ("data import", "--dataset"): [],
    ("data import", "--device"): ["pi5"],
    ("data forget", "--space"): SPACE,
    ("bench local-sources", "--sources"): COUNT,
    ("bench supernet", "--samples"): COUNT,
    ("bench search", "--predictor"): [*OBJECT, "gp", "=gp"],
    ("bench overhead", "--predictor"): [*OBJECT, "=gp"],
}
"""The same for one command; empty where any text is right."""
ARGUMENTS: dict[tuple[str, str], list[str]] = {
    ("help", "command"): ["nonsense", "search nonsense"],
    ("measure", "archs"): ARCH,
    ("device test", "archs"): ARCH,
    ("mcu", "target"): ARCH,
    ("predict", "archs"): ARCH,
    ("zcp", "archs"): ARCH,
    ("list", "kind"): [*ODD, "predictor"],
    ("reproduce lists", "which"): [*ODD, "device"],
    ("front", "result"): [*FILE_IN, "nastk-out"],
    ("choices", "result"): [*FILE_IN, "other.json", "list.json", "result.json"],
    ("report", "result"): [*FILE_IN, "other.json", "list.json", *(f"bad{i}.json" for i in range(8))],
    ("train", "result"): [*FILE_IN, "other.json", "list.json", *(f"bad{i}.json" for i in range(8))],
    ("export", "result"): [*FILE_IN, "other.json", "list.json", *(f"bad{i}.json" for i in range(8))],
    ("data fetch", "names"): ODD,
    ("data import", "paths"): [*FILE_IN, "csv", "nope acc.csv", "nasbench201-pth"],
    ("data forget", "names"): ODD,
    ("data verify", "names"): ODD,
}
CONTRADICTIONS = [
    "search --epochs 5,50 --space tiny.py:Tiny --accuracy tiny.py:accuracy --objective accuracy",
    "search --space tiny.py:Tiny --accuracy tiny.py:train --objective accuracy",
    "search --space tiny.py:Tiny --objective params --objective params",
    "search --space tiny.py:Tiny --objective params --predictor gp --searcher random",
    "search --space tiny.py:Bare --objective latency --objective flops",
    "search --space tiny.py:Bare --objective params",
    "search --space tiny.py:Tiny --objective latency --objective latency:this",
    "search --space tiny.py:Tiny --objective accuracy --dataset cifar10",
    "search --space tiny.py:Tiny --objective latency --device pi6",
    "search --space tiny.py:Tiny --objective test_accuracy --objective test_accuracy@3 --searcher random",
    "search --space tiny.py:Tiny --searcher multi-fidelity --objective params",
    "search --epochs 5,50",
    "search --space tiny.py:Tiny --objective params --device pi5",
    "search --space tiny.py:Tiny --objective params --dataset cifar10",
    "search --space tiny.py:Tiny --objective params --runtime torch --threads 4",
    "search --space tiny.py:Tiny --objective test_accuracy --batch 8 --searcher random",
    "search --space tiny.py:Tiny --objective params --runtime onnx",
    "bench search --space tiny.py:Tiny --objective test_accuracy --searchers random --predictor gp",
    "measure --space tiny.py:Tiny",
    "measure --space tiny.py:Bare 1_1_1",
    "measure --space tiny.py:Tiny --check-predictor 1_1_1",
    "measure --space tiny.py:Tiny --random 28",
    "predict --measured ms.csv --measurements ms.csv --space tiny.py:Tiny",
    "predict --space tiny.py:Tiny",
    "predict --measured ms.csv --space tiny.py:Tiny --all 1_1_1",
    "predict --measured ms.csv --space tiny.py:Tiny --pretrained",
    "predict --measured ms.csv --space fbnet",
    "zcp --space tiny.py:Tiny",
    "zcp --space tiny.py:Tiny 1_1_1 --image-size 4",
    "zcp --space tiny.py:Tiny 1_1_1 --data images.npz --batch random",
    "search --space tiny.py:Tiny --data images.npz --accuracy tiny.py:accuracy --objective accuracy",
    "search --space tiny.py:Tiny --data images.npz --objective params",
    "search --space tiny.py:Tiny --data digits --objective accuracy",
    "search --space tiny.py:Tiny --supernet sandwich --objective accuracy",
    "search --space tiny.py:Tiny --supernet sandwich --data images.npz --objective params",
    "search --space tiny.py:Tiny --supernet sandwich --data images.npz --objective accuracy --searcher random",
    "search --space tiny.py:Tiny --supernet block-wise --data images.npz --objective accuracy --ship-supernet",
    "search --space tiny.py:Tiny --data images.npz --objective accuracy --ship-supernet",
    "search --space tiny.py:Tiny --pairs ms.csv acc.csv --objective accuracy --objective params",
    "search --space hat --pairs ms.csv acc.csv --objective accuracy --objective params",
    "search --space hat --pairs nowhere.txt text.txt --objective accuracy --objective params",
    "search --space hat --pairs text.txt text.txt --accuracy tiny.py:accuracy",
    "search --space hat --objective params --supernet-steps 5",
    "train searched.json --top 1 --data images.npz --supernet-start",
    "search --space tiny.py:Bare --data images.npz --objective accuracy",
    "train searched.json --data images.npz",
    "train searched.json --top 1",
    "train searched.json --top 1 --arch 1_1_1 --data images.npz",
    "train searched.json --top 1 --data digits",
    "zcp --space tiny.py:Bare 1_1_1",
    "zcp --space tiny.py:Tiny --random 28",
    "bench search --space tiny.py:Bare",
    "bench search --space tiny.py:Tiny --devices pi5 --objective test_accuracy",
    "bench search --space tiny.py:Tiny --objective params",
    "bench search --space tiny.py:Tiny --with-proxies",
    "bench search --space tiny.py:Tiny,tiny.py:Tiny --objective test_accuracy",
    "bench search --space tiny.py:Tiny@cifar10 --objective test_accuracy",
    "bench search --space tiny.py:Tiny,fbnet --dataset cifar10",
    "bench search --space tiny.py:Tiny --objective test_accuracy --searchers random@gp",
    "bench search --space tiny.py:Tiny --objective test_accuracy --objective params --blank",
    "bench search --space tiny.py:Tiny --objective test_accuracy --searchers predictor@gp@statics --blank",
    "bench search --space tiny.py:Tiny --objective test_accuracy --searchers npenas@nope",
    "bench predict --space tiny.py:Tiny --objective test_accuracy --sizes 2",
    "bench predict --space tiny.py:Bare",
    "report result.json --svg front.png",
    "bench zcp --space tiny.py:Bare",
    "bench zcp --space tiny.py:Tiny --agreement 3",
    "bench zcp --space tiny.py:Tiny --accuracies 3",
    "reproduce accuracy --experiment transfer --samples 5,10",
    "reproduce accuracy --calibration --wrong-prior",
    "reproduce accuracy --calibration --samples 3",
    "reproduce accuracy --calibration --figures new/figures",
    "reproduce latency --tasks ND --min-correlation .5",
    "reproduce latency --tasks ND --source-share .15",
    "reproduce latency --unseen --source-share .15",
    "reproduce supernet --devices torch:1:1 --held-out torch:1:1",
    "data import acc.csv --column acc:val_accuracy",
    "data import acc.csv --space tiny.py:Tiny",
    "data import acc.csv acc.csv --space tiny.py:Tiny --column acc:val_accuracy",
    "data import acc.csv --space tiny.py:Tiny --column acc:val_accuracy --column acc:val_accuracy",
    "data import acc.csv --space tiny.py:Tiny --column acc:val_accuracy --device pi5",
    "data forget acc --space tiny.py:Bare",
    "export searched.json --arch 1_1_1 --format safetensors",
    "export searched.json --arch 1_1_1 --untrained",
    "export searched.json --arch 1_1_1 --pick params --untrained --format safetensors",
    "export searched.json --untrained --format python --precision int8",
    "export --space tiny.py:Bare --arch 1_1_1 --untrained --format pt2",
    "export --format python",
]


def commands() -> dict[str, Any]:
    """Every command of the application by its words."""
    found: dict[str, Any] = {}

    def visit(command: Any, words: tuple[str, ...]) -> None:
        if hasattr(command, "commands"):
            for name, child in command.commands.items():
                visit(child, (*words, name))
        else:
            found[" ".join(words)] = command

    visit(typer.main.get_command(app), ())
    return found


def is_option(parameter: Any) -> bool:
    return str(parameter.opts[0]).startswith("-")


def wrong_values(command: str, parameter: Any) -> list[str] | None:
    """Values that an option or argument must refuse; None where it takes none."""
    if not is_option(parameter):
        return ARGUMENTS[command, parameter.name]
    if getattr(parameter, "is_flag", False):
        return None
    flag = parameter.opts[0]
    if (command, flag) in OF_COMMAND:
        return OF_COMMAND[command, flag]
    return WRONG.get(flag, COUNT)


def with_value(base: list[str], parameter: Any, value: str) -> list[str]:
    """The line with another value of a parameter, in its place or at the end."""
    if not is_option(parameter):
        words = 2 if base[0] in ("bench", "reproduce", "data", "study", "device") else 1
        line = base[:words] + base[words + 1 :]
        values = value.split(" ") if value.strip() else [value]
        return [*line, "--", *values]
    flag = parameter.opts[0]
    if flag in base and flag not in ("--objective", "--column"):
        place = base.index(flag)
        return [*base[: place + 1], value, *base[place + 2 :]]
    return [*base, flag, value]


def wrong_lines(n: int, seed: int = 0) -> list[list[str]]:
    """`n` lines: every option and argument at least once, the contradictions, then random ones."""
    rng = random.Random(seed)
    pairs = [(name, p) for name, command in commands().items() for p in command.params if p.name != "help"]
    lines = []
    for name, parameter in pairs:
        values = wrong_values(name, parameter)
        if values:
            lines.append(with_value(BASES[name], parameter, rng.choice(values)))
    lines += [line.split() for line in CONTRADICTIONS]
    while len(lines) < n:
        name, parameter = rng.choice(pairs)
        base, values = BASES[name], wrong_values(name, parameter)
        kind = rng.random()
        if kind < 0.75 and values:
            line = with_value(base, parameter, rng.choice(values))
            also = rng.choice([p for of, p in pairs if of == name])  # two faults are one line, too
            more = wrong_values(name, also) if kind < 0.25 and is_option(also) and is_option(parameter) else None
            lines.append(with_value(line, also, rng.choice(more)) if more else line)
        elif is_option(parameter) and kind < 0.85:
            flag = parameter.opts[0]
            lines.append([*base, f"{flag}=yes"] if values is None else [*base, flag])
        elif is_option(parameter) and kind < 0.95:
            flag = parameter.opts[0]
            place = rng.randrange(3, len(flag) + 1)
            lines.append([*base, flag[:place] + rng.choice("xq#") + flag[place:], "1"])
        else:
            words = name.split()
            i = rng.randrange(len(words))
            place = rng.randrange(1, len(words[i]) + 1)
            words[i] = words[i][:place] + rng.choice("xq#") + words[i][place:]
            lines.append([*words, *base[len(words) :]])
    return lines[:n]


# ---- running them


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder with the files that the lines name, and a cache with one import."""
    monkeypatch.setenv("NASTK_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("NASTK_MIRROR", raising=False)
    here = tmp_path / "here"
    (here / "folder").mkdir(parents=True)
    monkeypatch.chdir(here)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    texts = {
        "tiny.py": OWN,
        "broken.py": "def x(:",
        "ms.csv": "arch,ms\n1_1_1,1.0\n1_2_1,1.5\n4_4_4,4.0\n",
        "acc.csv": "arch,acc\n1_1_1,50\n1_2_1,60\n4_4_4,70\n",
        "text.txt": "text",
        "text.npz": "text",
        "empty": "",
        "wrong.toml": "bugdet = 3\n",
        "broken.toml": "budget = ",
        "deep.toml": f"objective = {'[' * 100_000}",
        "nul.toml": 'json = "a\\u0000b"\n',
        "deep.json": "[" * 100_000,
        "result.json": json.dumps({"chart": RESULT}),
        "searched.json": json.dumps(SEARCHED),
        "other.json": '{"chart": {}}',
        "list.json": "[1]",
    }
    bad: list[dict[str, Any]] = [
        {"axes": 5},
        {"front": "abc"},
        {"notes": 3},
        {"true_front": 3},
        {"axes": []},
        {"cloud": {"archs": 3}},
        {"front": [{"arch": "a", "shown": {"accuracy": {"value": 1.0, "kind": "nope"}}, "predicted": {}}]},
        {"front": [{"arch": "a", "shown": {"accuracy": {"value": "x", "kind": "table"}}, "predicted": {}}]},
    ]
    texts |= {f"bad{i}.json": json.dumps({"chart": RESULT | change}) for i, change in enumerate(bad)}
    for name, text in texts.items():
        (here / name).write_text(text, encoding="utf-8")
    labels = np.arange(60) % 10
    np.savez(here / "images.npz", images=np.random.default_rng(0).normal(size=(60, 3, 4, 4)), labels=labels)
    np.savez(here / "series.npz", series=np.random.default_rng(0).normal(size=(60, 2, 8)), labels=labels)
    (here / "binary").write_bytes(bytes(range(256)))
    imported.bring("csv", [Path("acc.csv")], space="tiny.py:Tiny", columns=["acc:test_accuracy"])
    config = {"space": "tiny", "objectives": [{"name": "accuracy", "direction": "max"}]}
    open_history("sqlite:///study.db", "nastk", config).close()
    return here


@pytest.fixture
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever measures, trains, searches, downloads or starts processes raises `WorkBegan`."""

    def began(*_: Any, **__: Any) -> Any:
        raise WorkBegan

    for where in (
        "nastk.study.Study.run", "nastk.full_training._train_all", "nastk.oracles.latency.Latency.measure_many",
        "nastk.bench.runtimes.compare", "nastk.bench.repeatability.measure_once", "nastk.data.fetch.Store._download",
        "nastk.oracles.zerocost._oracle.each", "nastk.bench.search.each_once", "nastk.bench.accuracy.each_once",
        "nastk.bench.predict.each_once",
        "nastk.bench.latency.each_once", "nastk.bench.proxy_cost.each", "nastk.bench.proxy_cost._plain",
        "nastk.bench.storage.each", "nastk.bench.overhead.each",
        "nastk.bench.stand_alone.each_once", "nastk.report.serve.StudyServer.serve_forever",
        "nastk.bench.workers.ProcessPoolExecutor", "nastk.reproduce.cross_space.each_once",
        "nastk.reproduce.correlations.first_dataset", "nastk.reproduce.modnas.each",
        "nastk.bench.hat_latency.each",
        "nastk.supernets._kept.KeptSupernet.get", "nastk.bench.supernet_search.Trainings.get",
        "nastk.reproduce.supernet_demo.World", "nastk.reproduce.accuracy_transfer.each_once",
        "nastk.bench.calibration.each_once", "nastk.bench.wrong_prior.each_once",
        "nastk.reproduce.everything.run", "nastk.reproduce.tcn.each_once",
        "nastk.reproduce.mtl.each_once", "nastk.reproduce.counting.each_once",
    ):  # fmt: skip
        monkeypatch.setattr(where, began)


def left(folder: Path) -> set[Path]:
    """Files and folders here, and those of the cache that a user would see as imported."""
    return {*folder.rglob("*"), *imported.saved()}


def outcome(line: list[str]) -> int | str:
    """The status of a line, or "began" where work would begin; an exception of any other kind is not caught."""
    try:
        return run(line)
    except WorkBegan:
        return "began"


def fault(line: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> str | None:
    """What is wrong with how a line is refused."""
    before = left(folder)
    try:
        status = outcome(line)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    said = capsys.readouterr().err
    if status != 2:
        return f"status {status}"
    if said.count("\n") != 1 or not said.startswith("nastk: error: "):
        return f"said {said!r}"
    new = left(folder) ^ before
    return f"left {sorted(map(str, new))}" if new else None


@pytest.mark.usefixtures("light")
def test_each_command_is_accepted_as_it_stands(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert set(BASES) == set(commands())
    for name, line in BASES.items():
        status = outcome(line)
        said = capsys.readouterr().err
        if name == "mcu" and status == 2:  # its extras are in no environment of the others
            assert "install it with: pip install " in said
        elif name in NEED_TABLES:  # another test of this process may have left one in memory
            assert status == "began" or (status, "run: nastk data fetch" in said) == (2, True), (name, said)
        else:
            assert status in (0, "began"), (name, said)


def test_every_option_has_wrong_values() -> None:
    for name, command in commands().items():
        for parameter in command.params:
            if parameter.name != "help":
                assert wrong_values(name, parameter) != [] or (name, parameter.opts[0]) in OF_COMMAND


@pytest.mark.parametrize("n", [pytest.param(500, marks=pytest.mark.long), 50])
@pytest.mark.usefixtures("light")
def test_generated_wrong_command_lines_are_one_line_each(
    folder: Path, capsys: pytest.CaptureFixture[str], n: int
) -> None:
    lines = wrong_lines(500)
    chosen = lines if n == 500 else lines[::10]
    assert len(chosen) == n
    faults = {tuple(line): what for line in chosen if (what := fault(line, folder, capsys)) is not None}
    assert not faults, "\n".join(f"{' '.join(line)[:200]!r}: {what[:300]}" for line, what in faults.items())
