"""Your own predictor in a search: neighbours weighted by distance, fifteen lines.

Run: python examples/own_predictor.py    (about a minute)
From the command line: nastk search --predictor examples/own_predictor.py:Nearby --budget 16
Expect: a front of accuracy against latency in which nothing is predicted by another model than this one.
"""

import numpy as np

import nastk


class Nearby(nastk.Predictor):
    """Mean and spread of the known architectures, weights decay with the number of differing choices."""

    def __init__(self, decay=0.3):
        self.decay = decay

    def fit(self, task):
        self.task_ = task
        return self

    def predict(self, archs):
        differences = (self._checked(archs)[:, None] != self.task_.archs).sum(axis=2)
        weights = self.decay**differences
        weights /= weights.sum(axis=1, keepdims=True)
        mean = weights @ self.task_.values
        return nastk.Prediction(mean, np.sqrt((weights * (self.task_.values - mean[:, None]) ** 2).sum(axis=1)))


if __name__ == "__main__":
    space = nastk.space("nasbench201")
    latency = nastk.oracles.Latency(space, device="this", threads=1, batch=1)
    estimator = nastk.predictor("gp", pretrained="nasbench201-cifar10")
    accuracy = nastk.oracles.Predicted(estimator, space, "accuracy", "%", "max", source="shipped estimate")
    result = nastk.search(space, objectives=[accuracy, latency], searcher="predictor", predictor=Nearby(), budget=16)
    print(result.front.to_string(index=False))
