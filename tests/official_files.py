"""Official files as the tests write them: small ones of the documented forms, and hostile pickles."""

from __future__ import annotations

import bz2
import collections
import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from nastk.data import _pickles, hw_nas_bench_360
from nastk.data.nasbench201 import DATASETS
from nastk.data.official import hw_nas_bench
from nastk.spaces.nasbench201 import NASBench201

SPACE = NASBench201()
CELLS = SPACE.enumerate()
TEXTS = SPACE.format_all(CELLS)


def trial(trained_on: str, seed: int, epochs: int, arch: int) -> dict[str, Any]:
    """As the official files have it; its last accuracies are ``arch + seed / 1000`` plus 10 for each split."""
    splits = {"cifar10-valid": ("ori-test", "x-valid"), "cifar10": ("ori-test",)}.get(
        trained_on, ("x-test", "x-valid", "ori-test")
    )
    accuracies = {
        f"{split}@{e}": (arch + seed / 1000 + 10 * k if e == epochs - 1 else 0.5)
        for k, split in enumerate(splits)
        for e in range(epochs)
    }
    by_epoch = collections.OrderedDict((e, 1.5) for e in range(epochs))
    return {
        "name": "infer.tiny",
        "net_state_dict": None,
        "train_acc1es": dict(by_epoch),
        "train_acc5es": dict(by_epoch),
        "train_losses": dict(by_epoch),
        "train_times": by_epoch,
        "arch_config": {"arch_str": TEXTS[arch], "channel": 16},
        "params": np.float64(1.5),
        "flop": 15.6,
        "seed": seed,
        "epochs": epochs,
        "latency": [0.01, 0.03] if trained_on == "cifar10" else [-1.0],
        "eval_names": list(splits),
        "eval_acc1es": accuracies,
        "eval_times": dict.fromkeys(accuracies, 0.1),
        "eval_losses": dict.fromkeys(accuracies, 0.2),
    }


def record(arch: int, epochs: int, seeds: tuple[int, ...] = (777, 888)) -> dict[str, Any]:
    trained_on = ("cifar10-valid", "cifar10", "cifar100", "ImageNet16-120")
    results = {(d, s): trial(d, s, epochs, arch) for d in trained_on for s in seeds}
    return {
        "arch_index": arch,
        "arch_str": TEXTS[arch],
        "all_results": collections.OrderedDict(results),
        "dataset_seed": {key: list(seeds) for key in trained_on},
        "clear_net_done": True,
    }


def whole(archs: list[int], less: str = "less", full: str = "full") -> dict[str, Any]:
    return {
        "meta_archs": TEXTS,
        "total_archs": len(TEXTS),
        "arch2infos": {a: {less: record(a, 12, (777,)), full: record(a, 200)} for a in archs},
        "evaluated_indexes": set(archs),
    }


def old_torch(content: Any) -> bytes:
    """What ``torch.save`` wrote before torch 1.6: magic number, version, sizes, object, keys of storages."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    return b"".join(pickle.dumps(part, 2) for part in (_pickles.TORCH_MAGIC, 1001, system, content, []))


def new_torch(content: Any) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(content, 2))
        archive.writestr("archive/version", "3\n")
    return file.getvalue()


def write_pbz2(path: Path, content: Any, protocol: int = 4) -> None:
    path.write_bytes(bz2.compress(pickle.dumps(content, protocol)))


def hardware(seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    part: dict[str, Any] = {name: rng.uniform(1, 2, 15625).tolist() for name in hw_nas_bench.METRICS}
    part["edgetpu_latency"][4] = -1
    part["fpga_energy"] = np.array(part["fpga_energy"])
    part["config"] = [{"name": "infer.tiny", "arch_str": text} for text in TEXTS]
    return {"nasbench201": dict.fromkeys(DATASETS, part), "fbnet": {"edgegpu_latency": {"k3_e1_...": 0.5}}}


def naslib(archs: list[int], epochs: int = 200) -> dict[str, Any]:
    def result(arch: int) -> dict[str, Any]:
        return {
            "train_acc1es": [*[1.0] * (epochs - 1), 90 + arch / 100],
            "eval_acc1es": [*[1.0] * (epochs - 1), np.float64(80 + arch / 100)],
            "train_losses": [0.5] * epochs,
            "cost_info": {"flops": 15.0, "params": 0.1, "latency": 0.02, "train_time": 3.0},
        }

    return {TEXTS[a]: {"cifar10-valid": result(a), "cifar100": result(a)} for a in archs}


def entry(value: float, timed: bool = True) -> dict[str, Any]:
    scores: dict[str, Any] = {"nwot": value, "synflow": -1e8, "snip": float("-inf"), "params": 1.5}
    return {k: {"score": v, "time": 0.25} if timed else v for k, v in scores.items()} | {"val_accuracy": 10 * value}


class _Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch pwned",)


class _Exec:
    def __reduce__(self) -> Any:
        return exec, ("open('pwned', 'w').close()",)


def hostile_pickles() -> dict[str, bytes]:
    def state(module: str, name: str) -> bytes:
        return b"\x80\x02c" + f"{module}\n{name}\n".encode() + b"}X\x01\x00\x00\x00aK\x01sb."

    return {
        "os.system": pickle.dumps(_Evil(), 2),
        "os.system, protocol 0": pickle.dumps(_Evil(), 0),
        "exec": pickle.dumps({"meta_archs": _Exec()}, 4),
        "nested": pickle.dumps({"arch2infos": {1: [{"a": (_Evil(),)}]}}, 2),
        "a call of a text": b"\x80\x02X\x06\x00\x00\x00systemX\x05\x00\x00\x00touch\x85R.",
        "a call of a call": b"\x80\x02ccollections\nOrderedDict\n)R)R.",
        "dotted": b"\x80\x04\x8c\x05numpy\x8c\x0fdtype.__class__\x93)R.",
        "name of numbers": b"\x80\x04K\x01K\x02\x93)R.",
        "numpy.load": b"\x80\x02cnumpy\nload\nX\x05\x00\x00\x00pwned\x85R.",
        "getattr": b"\x80\x02c__builtin__\ngetattr\n.",
        "OrderedDict of a name": b"\x80\x02ccollections\nOrderedDict\nccollections\nOrderedDict\n\x85R.",
        "state of a name": state("collections", "OrderedDict"),
        "state of a dictionary": b"\x80\x02}}X\x01\x00\x00\x00aK\x01sb.",
        "items of a list": b"\x80\x02](K\x01K\x02u.",
        "items of a text": b"\x80\x02X\x01\x00\x00\x00aK\x01a.",
        "unhashable": b"\x80\x02}]K\x01s.",
        "odd items": b"\x80\x02}(K\x01u.",
        "object opcode": b"(cos\nsystem\nX\x05\x00\x00\x00touch o.",
        "instance opcode": b"(S'touch pwned'\nios\nsystem\n.",
        "new object": b"\x80\x02ccollections\nOrderedDict\n)\x81.",
        "extension": b"\x80\x02\x82\x01.",
        "persistent text": b"Pabc\n.",
        "huge memo": b"\x80\x02Nr\xff\xff\xff\x7f.",
        "huge text": b"\x80\x04\x8d" + (2**60).to_bytes(8, "little") + b"x.",
        "long text": b"\x80\x02X\xff\xff\xff\x03" + b"x" * 100,
        "endless name": b"\x80\x02c" + b"x" * 10_000,
        "name that is no text": b"\x80\x02c\xff\xfe\nx\n.",
        "huge array": (
            b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n)R(K\x01J\x00\x00\x00\x40\x85"
            b"cnumpy\ndtype\nX\x02\x00\x00\x00f8\x85R\x89X\x01\x00\x00\x00atb."
        ),
        "array without a state": b"\x80\x02}X\x01\x00\x00\x00acnumpy.core.multiarray\n_reconstruct\n)Rs.",
        "not in the memo": b"\x80\x02h\x07.",
        "no mark": b"\x80\x02K\x01u.",
        "nothing on the stack": b"\x80\x02.",
        "too few for a tuple": b"\x80\x02K\x01\x87.",
        "deep": b"\x80\x02" + b"(" * 50_000 + b".",
        "empty": b"",
        "noise": bytes(range(256)) * 8,
    }


def zipped(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/data.pkl", content)
    return file.getvalue()


def rows_360() -> dict[str, Any]:
    """Columns of HW-NAS-Bench-360's file: copies hold values of measured cells, and the Pixel has latencies only."""
    devices, datasets = hw_nas_bench_360.DEVICES, hw_nas_bench_360.DATASETS
    arch = np.tile(np.arange(len(CELLS)), len(devices) * len(datasets))
    measured = hw_nas_bench_360._first_of_class()[arch]
    on = np.repeat([tuple(d.split("-")) for d in devices for _ in datasets], len(CELLS), axis=0)
    with_energy = on[:, 0] == "pi5"
    latency = 1 + measured / 100
    return {
        "arch_idx": arch,
        "rep_arch_idx": measured,
        "device": on[:, 0].astype(object),
        "framework": on[:, 1].astype(object),
        "task": np.tile(np.repeat(np.array(datasets, dtype=object), len(CELLS)), len(devices)),
        "lat_ms_median": latency,
        "lat_ms_var": np.where(with_energy, (latency / 100) ** 2, np.nan),
        "energy_mj": np.where(with_energy, 2 * latency, np.nan),
        "accuracy": np.full(len(arch), 50.0),
    }
