"""The experiments of MODNAS (Sukthanker et al., arXiv 2402.18213, ICLR 2025), with what repeats them.

The paper shows its hypervolumes as radar plots and its fronts as scatter plots, without numbers: ours are beside
baselines and bounds that are run here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nastk.reproduce import modnas, modnas_figures
from nastk.reproduce.items import Item, Outcome, Setting, Size

PAPER = "MODNAS"

DRAWN_ONLY = "The paper draws these without numbers: the bounds and baselines beside ours are run here."


def _compared(
    name: str,
    what: str,
    quick: Mapping[str, Any],
    full: Mapping[str, Any],
    options: Mapping[str, Any] | None = None,
    reason: str = "",
) -> Item:
    """An item of ``nastk reproduce modnas``.

    Args:
        quick, full: ``seeds``, and other options of the command.
        options: those that both have.
    """
    given = {"quick": {**(options or {}), **quick}, "full": {**(options or {}), **full}}
    command: dict[Size, str] = {
        size: " ".join(["nastk reproduce modnas", *(f"--{key} {value}" for key, value in given[size].items())])
        for size in ("quick", "full")
    }

    def run(setting: Setting) -> Outcome:
        mine = dict(given[setting.size])
        seeds = mine.pop("seeds")
        lists = {key: mine.pop(key).split(",") for key in ("objectives", "train", "unseen") if key in mine}
        asked = modnas.setting(mine.pop("space", "nasbench201"), **lists, **mine)
        found = modnas.run(asked, seeds, workers=setting.workers, progress=setting.progress)
        folder = setting.folder / "figures" / name.lower().replace(" ", "-").replace(",", "")
        drawn = [str(Path(folder.name, file)) for file in modnas_figures.draw(found, folder)]
        captions = [
            (file, "hypervolume by device" if "radar" in file else "fronts of the first seed") for file in drawn
        ]
        notes = [DRAWN_ONLY, asked.note] if asked.note else [DRAWN_ONLY]
        return Outcome(tables=modnas_figures.tables(found.rows()), pictures=captions, notes=notes)

    return Item(PAPER, name, what, run, command, reason)


_DEMONSTRATION: dict[Size, tuple[int, str]] = {
    "quick": (
        1,
        "--epochs 30 --trainings 4 --devices torch:1:1,torch:1:16 --held-out torch:1:4 --measurements 12 --scored 12",
    ),
    "full": (6, "--devices torch:1:1,torch:1:4,onnx:1:1 --held-out onnx:1:16 --measurements 30 --scored 60"),
}


def _demonstration(setting: Setting) -> Outcome:
    from nastk.reproduce import supernet_demo as demo
    from nastk.reproduce.supernet_devices import Setting as Device

    seeds, text = _DEMONSTRATION[setting.size]
    words = text.split()
    given = dict(zip(words[::2], words[1::2], strict=True))
    plan = demo.Plan(
        epochs=int(given.get("--epochs", 100)),
        trainings=int(given.get("--trainings", 12)),
        measurements=int(given["--measurements"]),
        scored=int(given["--scored"]),
        devices=tuple(Device.parse(device) for device in given["--devices"].split(",")),
        held_out=Device.parse(given["--held-out"]),
        folder=str(setting.folder / "supernet"),
    )
    follow = setting.progress

    def move(what: str, done: int, total: int) -> None:
        if follow:
            follow(done, total)

    found = demo.run(plan, seeds, setting.workers, move)
    file = demo.draw(found, setting.folder / "figures")
    return Outcome(tables=demo.tables(found), pictures=[(file, "fronts of the supernet, random search, NSGA-II")],
                   notes=demo.notes(found))  # fmt: skip


ITEMS: tuple[Item, ...] = (
    _compared("NAS-Bench-201", "19 devices, 13 of them trained on: hypervolume, GD+ and IGD+ by device, and fronts.",
              {"seeds": 2}, {"seeds": 10}),
    _compared("smooth hypernetwork", "The smooth hypernetwork in place of the bank of tables.",
              {"seeds": 1}, {"seeds": 5}, {"network": "smooth"}),
    _compared("three objectives", "Accuracy, latency and energy at a time.", {"seeds": 1}, {"seeds": 10},
              {"objectives": "test_accuracy,latency:pixel3,energy:eyeriss"}),
    _compared("HW-GPT-Bench", "Perplexity against latency, four GPUs trained on and four unseen.", {"seeds": 1},
              {"seeds": 5}, {"space": "gpt"}),
    Item(PAPER, "supernet", "The search with a supernet that is trained, on digits and this machine's settings.",
         _demonstration,
         {size: f"nastk reproduce supernet --seeds {n} {text}" for size, (n, text) in _DEMONSTRATION.items()},
         "On the images that ship with scikit-learn in place of CIFAR-10, and with a small network."),
    _compared("MobileNetV3 on ImageNet", "Once-for-all, 12 GPU settings, one of them unseen.", {"seeds": 1},
              {"seeds": 5}, {"space": "mobilenetv3"},
              "No public table has accuracies and latencies of the same networks: surrogates of both judge."),
    _compared("HAT on WMT14", "Transformers for translation, three devices, one of them unseen.", {"seeds": 1},
              {"seeds": 5}, {"space": "hat"},
              "BLEU comes from a supernet trained on WMT14, and no public table has it: parameters stand for it."),
)  # fmt: skip
"""All experiments of the paper."""
