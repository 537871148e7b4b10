"""A training of one network on handwritten digits, for nastk to search with: as a function, and as a command.

As a function that yields its accuracy after every epoch, and is ended by the search:

    nastk search --space train.py:Net --accuracy train.py:accuracy --epochs 1,3,9 --searcher mo-asha --budget 3

As a command, in any language, that prints it:

    nastk search --space train.py:Net --train "python train.py --arch {arch} --folder {folder}" --epochs 1,3,9 \
        --searcher mo-asha --budget 3

Either way a network whose first epochs were good is trained on from its checkpoint, in the folder that nastk gives it.
"""

import argparse
import json
import os

import torch
from sklearn.datasets import load_digits
from torch import nn

import nastk


class Net(nn.Module):
    """One to three convolutions for 8x8 images."""

    input_shape = (1, 8, 8)

    def __init__(self):
        super().__init__()
        width = nastk.choice("width", [4, 8, 16])
        layers, channels = [], 1
        for i in range(nastk.choice("depth", [1, 2, 3])):
            layers += [nn.Conv2d(channels, width, nastk.choice(f"kernel {i}", [1, 3]), padding="same"), nn.ReLU()]
            channels = width
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, 10))

    def forward(self, x):
        return self.body(x)


def accuracy(network, folder):
    """Train on two thirds of the digits; yield each epoch and the accuracy on the rest in %, until nobody asks."""
    torch.set_num_threads(1)
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16, torch.tensor(labels)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    file = os.path.join(folder, "checkpoint.pt")
    done = []
    if os.path.exists(file):
        saved = torch.load(file)
        network.load_state_dict(saved["network"])
        optimizer.load_state_dict(saved["optimizer"])
        done = saved["done"]
    yield from done  # again what this network told before, for a search that was killed before it heard
    for epoch in range(len(done) + 1, 1000):
        shuffled = torch.randperm(1200, generator=torch.Generator().manual_seed(epoch))
        for batch in shuffled.split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x[batch]), y[batch]).backward()
            optimizer.step()
        with torch.no_grad():
            right = (network(x[1200:]).argmax(1) == y[1200:]).float().mean()
        done.append((epoch, 100 * float(right)))
        content = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "done": done}
        torch.save(content, f"{file}.new")  # the training may be ended at any moment: a whole file or none
        os.replace(f"{file}.new", file)
        yield done[-1]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--arch", required=True)
    parser.add_argument("--folder", required=True)
    arguments = parser.parse_args()
    space = nastk.space_of(Net)
    torch.manual_seed(0)
    for epoch, value in accuracy(space.build(space.parse(arguments.arch)), arguments.folder):
        print(json.dumps({"epoch": epoch, "accuracy": value}), flush=True)
