"""Prune a network of your own in your own training loop (PIT): channels, receptive fields, dilations, under two limits.

By default the series are scikit-learn's handwritten digits, read from left to right: eight steps of eight pixels.

Run: python examples/prune_my_network.py                    (under three minutes; no download)
     python examples/prune_my_network.py japanese-vowels    (pip install 'nastk[timeseries]')
Expect: a seed network of 32,010 parameters and a pruned one of a fifteenth of them that loses some three points, and
how much of each limit it uses.
"""

import sys

import torch
from torch import nn

from nastk.data.images import read_images
from nastk.generators import PIT
from nastk.oracles.counts import count_network

data = read_images(sys.argv[1] if len(sys.argv) > 1 else "digits")
parts = [part.tensors() for part in (data.training, data.validation, data.test)]
(x, y), (u, v), (s, t) = [(series.squeeze(1), labels) for series, labels in parts]
torch.manual_seed(0)


class Block(nn.Module):
    """Two causal convolutions around which the input passes."""

    def __init__(self, c_in: int, c_out: int, taps: int):
        super().__init__()
        self.pad = nn.ConstantPad1d((taps - 1, 0), 0.0)
        self.one, self.two = nn.Conv1d(c_in, c_out, taps), nn.Conv1d(c_out, c_out, taps)
        self.norms = nn.ModuleList([nn.BatchNorm1d(c_out), nn.BatchNorm1d(c_out)])
        self.past = nn.Conv1d(c_in, c_out, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.norms[0](self.one(self.pad(x))))
        return torch.relu(self.norms[1](self.two(self.pad(y))) + self.past(x))


class Net(nn.Module):
    """The seed: as large as it may have to be."""

    def __init__(self, channels: int, classes: int):
        super().__init__()
        self.blocks = nn.Sequential(Block(channels, 32, 9), Block(32, 32, 9))
        self.head = nn.Linear(32, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(x).mean(2))


def train(model: nn.Module, groups: list[dict], steps: int, search: PIT | None = None) -> None:
    """Your own loop: PIT adds one line."""
    optimiser = torch.optim.Adam(groups, lr=2e-3)
    model.train()
    for _ in range(steps):
        rows = torch.randint(len(x), (32,))
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
        if search is not None:
            loss = loss + search.cost_term(loss)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval()


def told(name: str, model: nn.Module) -> dict[str, int]:
    with torch.no_grad():
        right = [100 * float((model(a).argmax(1) == b).float().mean()) for a, b in ((u, v), (s, t))]
    counts = count_network(model, x[:1])
    print(
        f"{name:22} {right[0]:5.1f} % validation {right[1]:5.1f} % test {counts['params']:7,} parameters "
        f"{counts['flops']:9,} multiply-adds"
    )
    return counts


net = Net(x.shape[1], len(data.classes))
train(net, [{"params": list(net.parameters())}], 300)
whole = told("seed", net)

limits = {"params": whole["params"] / 15, "flops": whole["flops"] / 20}
search = PIT(net, x[:2], limits=limits, steps=400)
train(search, search.parameter_groups(2e-3, mask_rate=1e-2), 400, search)
small = search.export()
train(small, [{"params": list(small.parameters())}], 150)
found = told("pruned, fine-tuned", small)
print("limits:", ", ".join(f"{name} {found[name] / limit:.0%}" for name, limit in limits.items()))
for row in search.summary():
    print("  ", ", ".join(f"{name} {value}" for name, value in row.items()))
