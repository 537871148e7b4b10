"""The accuracies of networks with the weights that they share in a supernet, which is trained once."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from nastk.data.images import read_images
from nastk.devices import training_device
from nastk.errors import Unsupported
from nastk.evaluation import Kind
from nastk.oracles._fitting import options_for
from nastk.oracles._weights import SAFE, write_weights
from nastk.oracles.base import Evaluation, Oracle
from nastk.problems import CLASSIFICATION
from nastk.spaces.base import Archs, SearchSpace
from nastk.supernets._kept import KeptSupernet


class SupernetAccuracy(Oracle):
    """Accuracy on validation images with shared weights, as the networks ship: an estimate of what trainings would
    give, and exactly what these weights give.

    The supernet is trained at the first evaluation, unless it is kept in the user's cache, where it stays. In a search
    the weights of each network that was evaluated are kept, so that `nastk export` finds them.

    Args:
        space: of the networks.
        data: images; see :func:`nastk.data.images.read_images`.
        method: name of a supernet that tells accuracies, or ``file.py:Class``.
        options: of its class, such as ``{"steps": 600}``.
        seed: of its training.
        image_size: resize images to this height and width.
        build: options of `SearchSpace.build`; by default those with which networks fit the images.
        folder: see :class:`Oracle`; for evaluations outside of a search.

    Raises:
        UnknownName: no such supernet.
        InvalidValue: an option or images that cannot be used.
        Unsupported: the space builds no networks, or the supernet tells no accuracies.
    """

    name, unit, direction = "accuracy", "%", "max"
    per_network, needs_folder = True, True

    def __init__(
        self,
        space: SearchSpace,
        data: Any,
        method: str = "sandwich",
        options: Mapping[str, Any] | None = None,
        seed: int = 0,
        image_size: int | None = None,
        build: Mapping[str, Any] | None = None,
        folder: str | os.PathLike[str] | None = None,
    ):
        self.space, self.seed = space, seed
        images = read_images(data, image_size)
        if images.problem.name != CLASSIFICATION.name:
            raise Unsupported(f"a supernet tells accuracies, and {images.name} are for {images.problem.name}")
        self.build_options = dict(options_for(space, images) if build is None else build)
        self.supernet = KeptSupernet(space, images, method, options, self.build_options, seed, training_device())
        if not self.supernet.tells_accuracy:
            raise Unsupported(f"the supernet {method} rates networks, and tells no accuracies that could ship")
        self.folder = "" if folder is None else os.path.abspath(folder)
        self.source = f"weights of {self.supernet.called}, {self.supernet.steps} steps; not trained alone"

    @property
    def kind(self) -> Kind:
        return "estimate"

    @property
    def reasons(self) -> dict[str, str]:
        """Why networks failed, by their text."""
        return self.supernet.reasons

    def describe(self) -> dict[str, Any]:
        images = self.supernet.data
        if images.spec is None:
            return super().describe()
        return {"oracle": "supernet", **self.supernet.asked()}

    def identity(self) -> dict[str, Any]:
        return {"oracle": "supernet", **self.supernet.identity()}

    def _evaluate(self, archs: Archs, fidelity: float | None) -> Evaluation:
        values, seconds = np.empty(len(archs)), np.empty(len(archs))
        self.supernet.get()
        for i, arch in enumerate(archs):
            started = time.perf_counter()
            values[i] = self.supernet.evaluate(arch[None]).accuracy[0]
            if np.isfinite(values[i]) and (self.folder or self.study_folder):
                self._keep(arch, float(values[i]))
            seconds[i] = time.perf_counter() - started
        return Evaluation(values, np.full(len(archs), np.nan), seconds)

    def _keep(self, arch: Archs, accuracy: float) -> None:
        """Write the weights of a network into its folder."""
        folder = self.network_folder(arch)
        if os.path.exists(os.path.join(folder, SAFE)):
            return
        facts = {
            "space": self.space.whole.name, "arch": self.space.format(arch), "seed": self.seed, "value": accuracy,
            "metric": "accuracy", "unit": "%", "training": f"shared weights: {self.supernet.called}",
        }  # fmt: skip
        write_weights(folder, self.supernet.weights_of(arch), facts)
