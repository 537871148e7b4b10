"""The networks of NAS-Bench-Macro."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from nastk.spaces._nasbench_macro_shapes import Layer


def _conv(c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """A convolution without bias with padding that keeps the side at stride 1, and batch normalisation."""
    return [nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(c_out)]


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution, linear projection; added to the input where the shapes agree."""

    def __init__(self, layer: Layer, expansion: int, kernel: int):
        super().__init__()
        middle = layer.c_in * expansion
        self.body = nn.Sequential(
            *_conv(layer.c_in, middle, 1),
            nn.ReLU6(inplace=True),
            *_conv(middle, middle, kernel, layer.stride, middle),
            nn.ReLU6(inplace=True),
            *_conv(middle, layer.c_out, 1),
        )
        self.residual = layer.stride == 1 and layer.c_in == layer.c_out

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.residual else y


class Network(nn.Module):
    """Stem, layers, 1x1 head, global average pooling, linear classifier.

    Args:
        blocks: expansion and kernel of each layer; expansion 0 is the identity.
        layers: their shapes.
        stem: input and output channels of the first convolution.
        head: channels of the last one.
        num_classes: of the classifier.
    """

    def __init__(
        self,
        blocks: Sequence[tuple[int, int]],
        layers: Sequence[Layer],
        stem: tuple[int, int],
        head: int,
        num_classes: int,
    ):
        super().__init__()
        parts = [*_conv(*stem, 3), nn.ReLU6(inplace=True)]
        for (expansion, kernel), layer in zip(blocks, layers, strict=True):
            if expansion:
                parts.append(InvertedResidual(layer, expansion, kernel))
            elif layer.stride == 2:
                parts.append(nn.Sequential(*_conv(layer.c_in, layer.c_out, 1, layer.stride)))
        parts += [*_conv(layers[-1].c_out, head, 1), nn.ReLU6(inplace=True)]
        self.features = nn.Sequential(*parts)
        self.classifier = nn.Linear(head, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(x).mean(dim=(2, 3)))
        return logits
