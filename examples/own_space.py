"""Your own network with choices in its constructor: from nothing to a front of accuracy against latency.

Small convolutional networks for handwritten digits are really trained, and really measured on this machine.

Run: python examples/own_space.py    (about 20 seconds on two cores)
The same from the command line: nastk search --space examples/own_space.py:DigitNet
--accuracy examples/own_space.py:accuracy --budget 20
Expect: the seven choices, a front of measured accuracy and measured latency, and the last network of it in full.
"""

import torch
from sklearn.datasets import load_digits
from torch import nn

import nastk


class DigitNet(nn.Module):
    """One to four convolutions for 8x8 images; a shallow network does not make the choices of missing kernels."""

    input_shape = (1, 8, 8)

    def __init__(self):
        super().__init__()
        width = nastk.choice("width", [4, 8, 16, 32])
        activation = nastk.choice("activation", [nn.ReLU, nn.SiLU])
        layers, channels = [], 1
        for i in range(1, 1 + nastk.choice("depth", [1, 2, 3, 4])):
            kernel = nastk.choice(f"kernel {i}", [1, 3, 5])
            layers += [nn.Conv2d(channels, width, kernel, padding="same"), activation()]
            channels = width
        side = nastk.choice("pooled to", [1, 2, 4])
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(side), nn.Flatten())
        self.head = nn.Linear(channels * side**2, 10)

    def forward(self, x):
        return self.head(self.body(x))


def accuracy(network, epochs=6):
    """Train on two thirds of the digits, return the accuracy on the rest in %."""
    images, labels = load_digits(return_X_y=True)
    x = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    y = torch.tensor(labels)
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
    space = nastk.space_of(DigitNet)
    print(space, {choice.name: choice.options for choice in space.choices}, sep="\n")

    def train(arch):
        torch.manual_seed(0)
        return accuracy(space.build(arch))

    trained = nastk.FunctionOracle(space, train, "accuracy", unit="%", direction="max", one_by_one=True)
    measured = nastk.oracles.Latency(space, device="this", threads=1, batch=1)
    result = nastk.search(space, objectives=[trained, measured], searcher="predictor", budget=20, seed=0)
    print(result.front.to_string(index=False))
    best = space.parse(result.front["arch"].iloc[-1])
    print("the last one makes the choices", space.params(best), "and as a network is", space.build(best), sep="\n")
