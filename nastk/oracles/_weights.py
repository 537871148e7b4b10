"""Weights of trained networks, kept in the folder of their training as ``weights.safetensors``."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nastk.errors import DataError, InvalidValue
from nastk.evaluation import reason_of
from nastk.files import atomic_path

if TYPE_CHECKING:
    from torch import Tensor, nn

    State = dict[str, Tensor]

SAFE, PICKLED = "weights.safetensors", "weights.pt"
"""Names of the file: as nastk writes it, and as PyTorch's own format, which a user's training may write."""

FACTS = "nastk"
"""Key of the file's metadata under which it says what was trained."""

WITHIN = ("state_dict", "model_state_dict", "model", "network")
"""Keys under which checkpoints of a training keep the state dict beside other things."""

PREFIXES = ("module.", "_orig_mod.")
"""What `DistributedDataParallel` and `torch.compile` put before each name."""


@dataclass(frozen=True)
class Weights:
    """Weights of one trained network.

    Args:
        state: its state dict, on the CPU.
        file: where they were read.
        facts: what nastk knows of the training: ``space``, ``arch`` (text), ``function``, ``seed``, ``epochs``,
            ``value``; empty where the user wrote the file.
    """

    state: State
    file: Path
    facts: dict[str, Any] = field(default_factory=dict)


def stamps(folder: str | os.PathLike[str]) -> dict[str, tuple[int, int]]:
    """Time and size of the files of weights in a folder, by name: whether a training has written one."""
    found = {}
    for name in (SAFE, PICKLED):
        try:
            status = os.stat(os.path.join(folder, name))
        except OSError:
            continue
        found[name] = status.st_mtime_ns, status.st_size
    return found


def state_of(weights: Any) -> State:
    """The state dict of a network, or of a mapping that is one, on the CPU and without prefixes of wrappers.

    Raises:
        TypeError: it is neither.
    """
    import torch
    from torch import nn

    if isinstance(weights, nn.Module):
        weights = weights.state_dict()
    if not isinstance(weights, Mapping) or not weights or not all(isinstance(name, str) for name in weights):
        raise TypeError(f"weights are a network or its state_dict(), not {type(weights).__name__}")
    if not any(isinstance(value, torch.Tensor) for value in weights.values()):
        raise TypeError("weights are a network or its state_dict(), and this mapping holds no tensors")
    found = {}
    for name, value in weights.items():
        for prefix in PREFIXES:
            name = name.removeprefix(prefix)
        found[name] = value.detach().cpu() if isinstance(value, torch.Tensor) else value
    return found


def write_weights(folder: str | os.PathLike[str], weights: Any, facts: Mapping[str, Any]) -> Path:
    """Write the weights of a network into a folder, whole or not at all.

    Args:
        folder: of its training.
        weights: the network, or its state dict.
        facts: JSON-able; see :class:`Weights`.

    Returns:
        The file: ``weights.safetensors``, or ``weights.pt`` of a state dict that has more than tensors.

    Raises:
        StorageError: it cannot be written.
        TypeError: see :func:`state_of`.
    """
    import torch
    from safetensors.torch import save_file

    state = state_of(weights)
    text = json.dumps(dict(facts), sort_keys=True)
    if all(isinstance(value, torch.Tensor) and value.layout == torch.strided for value in state.values()):
        file = Path(folder) / SAFE
        whole = {name: value.clone(memory_format=torch.contiguous_format) for name, value in state.items()}
        with atomic_path(file) as temporary:  # copies: tensors that share memory are refused
            save_file(whole, temporary, {FACTS: text})
        return file
    file = Path(folder) / PICKLED
    with atomic_path(file) as temporary:
        torch.save({"state_dict": state, FACTS: text}, temporary)
    return file


def read_weights(path: str | os.PathLike[str]) -> Weights | None:
    """The weights in a file, or of a training's folder (of both files the later one); None where a folder has none.

    Raises:
        InvalidValue: there is no such file.
        DataError: it holds no weights, or what only pickle could read.
    """
    place = Path(path)
    if place.is_dir():
        found = stamps(place)
        if not found:
            return None
        place = place / max(found, key=lambda name: found[name])
    if not place.is_file():
        raise InvalidValue(f"{place}: no such file of weights")
    try:
        content, facts = _read_safe(place) if place.suffix == ".safetensors" else _read_pickled(place)
        return Weights(state_of(content), place, facts)
    except OSError as error:
        raise DataError(f"cannot read {place}: {error.strerror or error}") from error
    except TypeError as error:
        raise DataError(f"{place} holds no weights: {error}") from error


def _read_safe(file: Path) -> tuple[Any, dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as opened:
            state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  # no mapping
            return state, _facts((opened.metadata() or {}).get(FACTS))
    except SafetensorError as error:
        raise DataError(f"{file} is damaged or no safetensors file: {error}") from error


def _read_pickled(file: Path) -> tuple[Any, dict[str, Any]]:
    import torch

    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except (pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise DataError(
            f"{file} cannot be read as weights ({reason_of(error)}); write torch.save(network.state_dict(), ...)"
        ) from error
    if isinstance(content, Mapping):
        inner = next((content[key] for key in WITHIN if isinstance(content.get(key), Mapping)), None)
        if inner is not None:
            return inner, _facts(content.get(FACTS))
    return content, {}


def _facts(text: Any) -> dict[str, Any]:
    """What the file says of its training; of a file that another program wrote, nothing."""
    try:
        found = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def load_weights(network: nn.Module, weights: Weights) -> None:
    """Give a network these weights, in place.

    Raises:
        InvalidValue: they are those of another network; the message says where they differ.
    """
    own = network.state_dict()
    missing = [name for name in own if name not in weights.state]
    beyond = [name for name in weights.state if name not in own]
    shaped = [
        f"{name} is {tuple(weights.state[name].shape)} and must be {tuple(value.shape)}"
        for name, value in own.items()
        if name in weights.state and getattr(weights.state[name], "shape", None) != getattr(value, "shape", None)
    ]
    if missing or beyond or shaped:
        parts = [
            f"{len(missing)} are missing ({missing[0]}, ...)" if missing else "",
            f"{len(beyond)} are unknown to it ({beyond[0]}, ...)" if beyond else "",
            shaped[0] if shaped else "",
        ]
        raise InvalidValue(
            f"{weights.file} holds the weights of another network: of {len(own)} tensors "
            + "; ".join(part for part in parts if part)
        )
    network.load_state_dict(weights.state)


class Untouched:
    """Parameters of a network as they were before a training, to tell whether it was trained in place.

    A function may train a copy, or evaluate without training; the network that it was given then is no trained one.
    """

    def __init__(self, network: nn.Module):
        from torch.nn.parameter import UninitializedParameter

        self.before = {
            name: value.detach().clone()
            for name, value in network.named_parameters()
            if not isinstance(value, UninitializedParameter)
        }

    def changed(self, network: nn.Module) -> bool:
        """Whether any parameter has another value now."""
        import torch

        now = dict(network.named_parameters())
        if not now or now.keys() != self.before.keys():
            return bool(now)
        return any(not torch.equal(value.detach().cpu(), self.before[name].cpu()) for name, value in now.items())
