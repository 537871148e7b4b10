"""Error of networks trained from scratch."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nastk.errors import DataError, InvalidValue, NastkError
from nastk.evaluation import reason_of
from nastk.files import writable_folder, write_text
from nastk.oracles._outputs import AmbiguousOutput, Logits
from nastk.oracles.base import Evaluation, Oracle
from nastk.spaces.base import Archs, SearchSpace

if TYPE_CHECKING:
    from torch import Tensor

    Images = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Trained:
    """A network after its training.

    Args:
        validation, test: error, %.
        seconds: processor time.
    """

    validation: float
    test: float
    seconds: float


class Training(Oracle):
    """Validation error (%) of networks trained from scratch, one after another; an expensive oracle.

    SGD with Nesterov momentum and a learning rate annealed to 0 by a cosine. On one kind of machine the result depends
    on the seed and the architecture only. Each architecture is trained once: results are cached, in `folder` if given,
    where other runs on the same images with the same settings find them. A network that cannot be built or trained gets
    NaN. Where it returns several tensors, its logits are the one that is called so, or the only one that suits the
    labels.

    Args:
        space: whose networks to train.
        training, validation, test: images ``(n, channels, size, size)`` and labels ``(n,)``.
        epochs, batch, rate, momentum, decay: of the training.
        seed: random seed of initial weights and of the order of the images.
        device: of the training.
        folder: where results are cached.
        build_options: of `SearchSpace.build`.

    Attributes:
        reasons: for architectures (as text) that failed, why.

    Raises:
        InvalidValue: images without labels, or too few.
        Unsupported: the space builds no networks.
        StorageError: the folder cannot be written to.
    """

    name = "error"
    unit = "%"

    def __init__(
        self,
        space: SearchSpace,
        training: Images,
        validation: Images,
        test: Images,
        epochs: int = 30,
        batch: int = 64,
        rate: float = 0.05,
        momentum: float = 0.9,
        decay: float = 5e-4,
        seed: int = 0,
        device: str = "cpu",
        folder: str | os.PathLike[str] | None = None,
        **build_options: Any,
    ):
        for pictures, labels in (training, validation, test):
            if len(pictures) < 2 or len(pictures) != len(labels):
                raise InvalidValue(f"needs 2 or more images with one label each; got {len(pictures)} and {len(labels)}")
        if epochs < 1 or batch < 2:
            raise InvalidValue(f"a training needs at least 1 epoch and 2 images per batch; got {epochs} and {batch}")
        space.need_networks(self.name)
        self.space, self.seed, self.device, self.build_options = space, seed, device, build_options
        self._parts = {"training": training, "validation": validation, "test": test}
        self.epochs, self.batch, self.rate, self.momentum, self.decay = epochs, batch, rate, momentum, decay
        self.source = f"trained {epochs} epochs on {len(training[0])} images"
        self._folder = None if folder is None else writable_folder(folder) / self._fingerprint()
        self._known: dict[bytes, Trained] = {}
        self.reasons: dict[str, str] = {}

    def _fingerprint(self) -> str:
        """Hash of all that a result depends on besides the architecture."""
        settings = [self.space.name, self.epochs, self.batch, self.rate, self.momentum, self.decay, self.seed]
        digest = hashlib.sha256(json.dumps([settings, self.device, self.build_options], sort_keys=True).encode())
        for part in self._parts.values():
            for tensor in part:
                digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def _evaluate(self, archs: Archs, fidelity: float | None) -> Evaluation:
        if fidelity is not None:
            raise InvalidValue("a training from scratch has no fidelities")
        found = [self._attempt(arch) for arch in archs]
        return Evaluation(
            np.array([t.validation for t in found], dtype=np.float64),
            np.full(len(found), np.nan),
            np.array([t.seconds for t in found], dtype=np.float64),
        )

    def _attempt(self, arch: Archs) -> Trained:
        """The result of a training; NaN, with the reason kept, where the network fails."""
        try:
            return self.train(arch)
        except NastkError as error:
            if not isinstance(error, AmbiguousOutput):
                raise
            self.reasons[self.space.format(arch)] = str(error)
        except (Exception, SystemExit) as error:
            self.reasons[self.space.format(arch)] = reason_of(error)
        return Trained(math.nan, math.nan, math.nan)

    def train(self, arch: Any) -> Trained:
        """The result of one architecture (text, index or row); trains it if it is not cached.

        Raises:
            Exception: whatever the network raises.
        """
        row = self.space.as_archs(arch)[0]
        key = row.tobytes()
        if key not in self._known:
            file = None if self._folder is None else self._folder / f"{'-'.join(map(str, row))}.json"
            kept = None if file is None else _read(file)
            if kept is None:
                kept = self._train(row)
                if file is not None:
                    write_text(file, json.dumps(asdict(kept)) + "\n")
            self._known[key] = kept
        return self._known[key]

    def _train(self, arch: Archs) -> Trained:
        import torch
        from torch.nn import functional

        from nastk.oracles._networks import build_network

        started = time.process_time()
        generator = torch.Generator().manual_seed(self.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = build_network(self.space, arch, **self.build_options).to(self.device).train()
        least = max(int(labels.max()) for _, labels in self._parts.values()) + 1
        logits = Logits(self.build_options.get("num_classes"), least=least, dimensions=2)
        x, y = (tensor.to(self.device) for tensor in self._parts["training"])
        parts = max(round(len(x) / self.batch), 1)
        optimiser = torch.optim.SGD(
            network.parameters(), self.rate, momentum=self.momentum, weight_decay=self.decay, nesterov=True
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.epochs * parts)
        for _ in range(self.epochs):
            for rows in torch.randperm(len(x), generator=generator).tensor_split(parts):
                rows = rows.to(x.device)
                optimiser.zero_grad()
                functional.cross_entropy(logits.choose(network(x[rows]))[1], y[rows]).backward()
                optimiser.step()
                schedule.step()
        network.eval()
        errors: dict[str, float] = {}
        with torch.inference_mode():
            for name in ("validation", "test"):
                x, y = (tensor.to(self.device) for tensor in self._parts[name])
                right = sum(
                    int((logits.choose(network(a))[1].argmax(1) == b).sum())
                    for a, b in zip(x.split(500), y.split(500), strict=True)
                )
                errors[name] = 100.0 * (1.0 - right / len(x))
        return Trained(errors["validation"], errors["test"], time.process_time() - started)


def _read(file: Path) -> Trained | None:
    """A cached result, or None.

    Raises:
        DataError: the file holds something else.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        found = Trained(*(float(content[name]) for name in ("validation", "test", "seconds")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise DataError(f"{file} is not the result of a training: {error}; remove it") from error
    if not all(math.isfinite(value) for value in asdict(found).values()):
        raise DataError(f"{file} is not the result of a training: its numbers are not finite; remove it")
    return found
