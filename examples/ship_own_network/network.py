"""Small convolutional networks for 8 x 8 images of digits."""

from torch import nn

import nastk


class Net(nn.Module):
    input_shape = (1, 8, 8)

    def __init__(self):
        super().__init__()
        channels, layers = 1, []
        for i in range(nastk.choice("depth", [2, 3, 4])):
            width = nastk.choice(f"width {i}", [8, 16, 32])
            kernel = nastk.choice(f"kernel {i}", [3, 5])
            layers += [nn.Conv2d(channels, width, kernel, padding="same"), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.head = nn.Linear(4 * channels, 10)

    def forward(self, x):
        return self.head(self.body(x))
