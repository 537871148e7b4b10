"""A network of your own, from its choices to files that ship: a search that trains, a full training, an export.

Run: python examples/own_network_to_model.py    (under a minute; no download; the extra onnx)
From the command line: examples/ship_own_network/ship.sh
Expect: a front of accuracy against parameters; the test accuracy of the chosen network, some 90 to 97 % with two seeds
that the search did not use; and the paths of an ONNX file and of a Python module that needs no nastk, both checked
against PyTorch.
"""

from torch import nn

import nastk
from nastk.data.images import read_images
from nastk.oracles import Params, Training


class Net(nn.Module):
    input_shape = (1, 8, 8)

    def __init__(self, num_classes=10):
        super().__init__()
        width, layers, channels = nastk.choice("width", [8, 16, 32]), [], 1
        for i in range(nastk.choice("depth", [1, 2, 3])):
            kernel = nastk.choice(f"kernel {i + 1}", [1, 3, 5])
            layers += [nn.Conv2d(channels, width, kernel, padding="same"), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten())
        self.head = nn.Linear(width * 16, num_classes)

    def forward(self, x):
        return self.head(self.body(x))


if __name__ == "__main__":
    space = nastk.space(f"{__file__}:Net")  # by its file: what was trained can be made again later
    accuracy = Training(space, read_images("digits"), epochs=3)
    params = Params(space, **accuracy.build_options)
    result = nastk.search(space, [accuracy, params], budget=8, seed=0)
    print(result.front[["arch", "accuracy", "params"]].to_string(index=False))

    pick = "accuracy, params<=8000"  # the best of the front that keeps this limit
    trained = nastk.train(result, "digits", pick=pick, epochs=10, seeds=2, export=["onnx", "python"])
    (network,) = trained.networks
    test = network.summary("test_accuracy")
    print(f"{network.arch}: test accuracy {test['mean']:.1f} +- {test['ci95']:.1f} %, seeds {list(network.seeds)}")
    print(*trained.exported[network.arch], sep="\n")
