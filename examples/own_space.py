"""A search space of one's own: small networks for handwritten digits, really trained and really measured.

Run: python examples/own_space.py    (about half a minute on two cores)
The same from the command line: nastk search --space examples/own_space.py:DigitNets
--accuracy examples/own_space.py:accuracy --budget 20
"""

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

import nastk


class DigitNets(nastk.SearchSpace):
    """Convolutional networks for 8x8 images: three choices of depth, width and kernel, 36 architectures."""

    name = "digit-nets"
    choices = (
        nastk.Choice("depth", ("1", "2", "3", "4")),
        nastk.Choice("width", ("4", "8", "16")),
        nastk.Choice("kernel", ("1", "3", "5")),
    )

    def build(self, arch, **options):
        depth, width, kernel = (int(c.options[i]) for c, i in zip(self.choices, arch, strict=True))
        layers = []
        for i in range(depth):
            layers += [nn.Conv2d(1 if i == 0 else width, width, kernel, padding="same"), nn.ReLU()]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * width, 10))

    def input_shape(self, **options):
        return (1, 8, 8)


def accuracy(arch, epochs=5):
    """Train on two thirds of the digits, answer the accuracy on the rest in %."""
    torch.manual_seed(0)
    images, labels = load_digits(return_X_y=True)
    x = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    y = torch.tensor(labels)
    network = DigitNets().build(arch)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(epochs):
        for batch in torch.randperm(1200).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x[batch]), y[batch]).backward()
            optimizer.step()
    with torch.no_grad():
        return 100 * float((network(x[1200:]).argmax(1) == y[1200:]).float().mean())


if __name__ == "__main__":
    torch.set_num_threads(1)
    space = DigitNets()
    trained = nastk.FunctionOracle(space, accuracy, "accuracy", unit="%", direction="max", one_by_one=True)
    measured = nastk.oracles.Latency(space, device="this", threads=1, batch=1)
    result = nastk.search(space, objectives=[trained, measured], searcher="predictor", budget=14, seed=0)
    print(result.front.to_string(index=False))
    best = np.atleast_2d(space.parse(result.front["arch"].iloc[-1]))[0]
    print("the last one as a network:", space.build(best), sep="\n")
