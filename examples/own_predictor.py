"""A predictor of one's own in a search: nearest neighbours, fifteen lines.

Run: python examples/own_predictor.py    (under a minute)
From the command line: nastk search --predictor examples/own_predictor.py:Nearest --budget 20
"""

import numpy as np

import nastk


class Nearest(nastk.Predictor):
    """The mean of the k architectures that differ in the fewest choices; their spread is the uncertainty."""

    def __init__(self, k=3):
        self.k = k

    def fit(self, task):
        self.task_ = task
        return self

    def predict(self, archs):
        distance = (self._checked(archs)[:, None] != self.task_.archs).sum(axis=2)
        near = self.task_.values[np.argsort(distance, axis=1, kind="stable")[:, : self.k]]
        return nastk.Prediction(near.mean(axis=1), near.std(axis=1) + 1e-3)


if __name__ == "__main__":
    space = nastk.space("nasbench201")
    latency = nastk.oracles.Latency(space, device="this", threads=1, batch=1)
    estimator = nastk.predictor("gp", pretrained="nasbench201-cifar10")
    accuracy = nastk.oracles.Predicted(estimator, space, "accuracy", "%", "max", source="shipped estimate")
    result = nastk.search(space, objectives=[accuracy, latency], searcher="predictor", predictor=Nearest(), budget=16)
    print(result.front.to_string(index=False))
