"""mlp: one small perceptron on an encoding, without a standard deviation."""

from __future__ import annotations

from nastk.predictors._stacked_mlp import StackedMLP


class MLP(StackedMLP):
    """A perceptron trained from scratch; see :class:`StackedMLP`.

    Args:
        encoding: terms joined by ``+``.
        width, depth: of the hidden layers.
        epochs, learning_rate, weight_decay: of AdamW on all samples at once.
        seed: random seed of the initial weights.
        device: torch device.
    """

    def __init__(
        self,
        encoding: str = "vec",
        width: int = 64,
        depth: int = 2,
        epochs: int = 250,
        learning_rate: float = 0.01,
        weight_decay: float = 0.01,
        seed: int = 0,
        device: str = "cpu",
    ):
        self.encoding, self.members, self.width, self.depth = encoding, 1, width, depth
        self.epochs, self.learning_rate, self.weight_decay = epochs, learning_rate, weight_decay
        self.seed, self.device = seed, device
