"""mlp-ensemble: perceptrons on an encoding (Lakshminarayanan et al., Deep ensembles, NeurIPS 2017)"""

from __future__ import annotations

from nastk.predictors._stacked_mlp import StackedMLP


class MLPEnsemble(StackedMLP):
    """Perceptrons with different initial weights; their spread is the standard deviation.

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
        encoding: str = "vec",
        members: int = 10,
        width: int = 64,
        depth: int = 2,
        epochs: int = 250,
        learning_rate: float = 0.01,
        weight_decay: float = 0.01,
        seed: int = 0,
        device: str = "cpu",
    ):
        self.encoding, self.members, self.width, self.depth = encoding, members, width, depth
        self.epochs, self.learning_rate, self.weight_decay = epochs, learning_rate, weight_decay
        self.seed, self.device = seed, device
