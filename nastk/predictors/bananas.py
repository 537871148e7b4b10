"""bananas: ensemble of deep, narrow perceptrons on the path encoding (White et al., BANANAS, AAAI 2021)"""

from __future__ import annotations

from torch import Tensor

from nastk.predictors._stacked_mlp import StackedMLP


class Bananas(StackedMLP):
    """The paper's five networks of ten layers with twenty units on the path encoding.

    Its loss is the mean absolute error relative to the target; here the absolute error of the normal scores, whose
    zero has no meaning.

    Args:
        encoding: terms joined by ``+``.
        members: networks with independent weights, trained together.
        width, depth: of the hidden layers.
        epochs, learning_rate, weight_decay: of AdamW on all samples at once.
        seed: random seed of the initial weights.
        device: torch device.
    """

    def __init__(
        self,
        encoding: str = "path",
        members: int = 5,
        width: int = 20,
        depth: int = 10,
        epochs: int = 250,
        learning_rate: float = 0.01,
        weight_decay: float = 0.0,
        seed: int = 0,
        device: str = "cpu",
    ):
        self.encoding, self.members, self.width, self.depth = encoding, members, width, depth
        self.epochs, self.learning_rate, self.weight_decay = epochs, learning_rate, weight_decay
        self.seed, self.device = seed, device

    def _loss(self, found: Tensor, wanted: Tensor) -> Tensor:
        return (found - wanted).abs().mean(dim=1).sum()
