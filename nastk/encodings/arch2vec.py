"""arch2vec: unsupervised embedding of the graph, trained here (Yan et al., arch2vec, NeurIPS 2020)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nastk.encodings.adjacency import Adjacency
from nastk.encodings.base import Context, Encoding, Features, some_archs
from nastk.spaces.base import Archs, SearchSpace

SAMPLE = 4000
"""Architectures of the training sample: coverage of the space against training time."""
BATCH = 128
"""Architectures per training step."""


class Arch2vec(Encoding):
    """Posterior means of a variational autoencoder's code; unsupervised.

    The paper's encoder is a graph isomorphism network; here encoder and decoder are perceptrons over edges and
    operations (:class:`Adjacency`), which carry the same information since nodes are ordered. Trained on a sample, once
    per process for the same space and options.

    Args:
        width: of the code.
        hidden: units of the hidden layers.
        epochs: over the sample.
        beta: weight of the divergence from a standard normal code.
        seed: random seed of sample, weights and noise.
    """

    _trained: dict[Any, tuple[Adjacency, nn.Module]] = {}  # noqa: RUF012  # shared by all instances

    def __init__(self, width: int = 32, hidden: int = 128, epochs: int = 60, beta: float = 0.005, seed: int = 0):
        self.width, self.hidden, self.epochs, self.beta, self.seed = width, hidden, epochs, beta, seed

    def fit(self, space: SearchSpace, context: Context | None = None, archs: Archs | None = None) -> Arch2vec:
        key = (space.name, space.choices, self.width, self.hidden, self.epochs, self.beta, self.seed)
        if key not in self._trained:
            some = some_archs(space)
            if len(some) > SAMPLE:
                some = some[np.random.default_rng(self.seed).choice(len(some), SAMPLE, replace=False)]
            graph = Adjacency().fit(space)
            self._trained[key] = graph, self._train(torch.as_tensor(graph.transform(some), dtype=torch.float32))
        self.graph_, self.network_ = self._trained[key]
        self.names_ = [f"code {i}" for i in range(self.width)]
        return self

    def _train(self, x: Tensor) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = _Autoencoder(x.shape[1], self.hidden, self.width)
            adam = torch.optim.Adam(network.parameters(), lr=2e-3)
            for _ in range(self.epochs):
                for rows in torch.randperm(len(x)).split(BATCH):
                    mean, log_variance = network.encoder(x[rows]).chunk(2, dim=1)
                    code = mean + torch.randn_like(mean) * (log_variance / 2).exp()
                    wrong = nn.functional.binary_cross_entropy_with_logits(network.decoder(code), x[rows])
                    divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
                    adam.zero_grad()
                    (wrong + self.beta * divergence).backward()
                    adam.step()
        return network.double().eval()  # so that a code does not depend on the rest of the batch

    def transform(self, archs: Archs) -> Features:
        if not len(archs):
            return np.empty((0, self.width))
        x = torch.as_tensor(self.graph_.transform(archs), dtype=torch.float64)
        with torch.no_grad():
            return np.asarray(self.network_.encoder(x)[:, : self.width].numpy())  # type: ignore[operator]

    def decode(self, codes: Features) -> Features:
        """Probabilities of the edges and operations of :class:`Adjacency`, ``(n, k)``, from codes."""
        with torch.no_grad():
            logits = self.network_.decoder(torch.as_tensor(codes, dtype=torch.float64))  # type: ignore[operator]
        return np.asarray(torch.sigmoid(logits).numpy())


class _Autoencoder(nn.Module):
    def __init__(self, inputs: int, hidden: int, width: int):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, 2 * width))
        self.decoder = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, inputs))
