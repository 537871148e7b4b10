"""The supernet of NAS-Bench-201: one network that holds the weights of every cell, entangled as in MODNAS's code."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from nastk.spaces._nasbench201_network import Cell, Network, _ReLUConvBN

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""Order of the columns of a one-hot cell."""
# Indices into OPERATIONS.
NONE = 0
SKIP = 1
CONV1 = 2
CONV3 = 3
POOL = 4


class _Edge(nn.Module):
    """All five operations of one edge; the 1x1 convolution is the centre of the 3x3 kernel.

    Each convolution has its own normalisation, as their outputs differ in scale.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.kernel = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.norm3 = nn.BatchNorm2d(channels)

    def operate(self, x: Tensor, operation: int) -> Tensor:
        """The output of one operation that is not `none`."""
        if operation == SKIP:
            return x
        if operation == POOL:
            return functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
        x = functional.relu(x)
        if operation == CONV3:
            return self.norm3(self.kernel(x))
        return self.norm1(functional.conv2d(x, self.centre))

    @property
    def centre(self) -> Tensor:
        """The 1x1 kernel, ``(c, c, 1, 1)``."""
        return self.kernel.weight[:, :, 1:2, 1:2]

    @torch.no_grad()
    def hand_over(self, module: _ReLUConvBN, operation: int) -> None:
        """Copy a convolution's weights."""
        wide = operation == CONV3
        module[1].load_state_dict({"weight": self.kernel.weight if wide else self.centre})
        module[2].load_state_dict((self.norm3 if wide else self.norm1).state_dict(), strict=False)

    def mixture(self, x: Tensor, weights: Tensor) -> Tensor:
        """All operations' outputs weighted by ``(5,)``; every weight gets its gradient, also where it is 0."""
        answer = weights[SKIP] * x
        for operation in (CONV1, CONV3, POOL):
            answer = answer + weights[operation] * self.operate(x, operation)
        return answer


class EntangledCell(nn.Module):
    """A cell that holds all cells' weights.

    Args:
        edges: source and target node of each edge.
        channels: in and out.
    """

    def __init__(self, edges: Sequence[tuple[int, int]], channels: int):
        super().__init__()
        self.ends = tuple(edges)
        self.edges: Sequence[_Edge] = nn.ModuleList(_Edge(channels) for _ in edges)  # type: ignore[assignment]

    def path(self, x: Tensor, cell: Sequence[int]) -> Tensor:
        """Output of one cell, six operation numbers; only its operations are computed."""
        nodes: list[Tensor] = [x]
        for target in range(1, self.ends[-1][1] + 1):
            terms = [
                edge.operate(nodes[source], int(operation))
                for (source, end), edge, operation in zip(self.ends, self.edges, cell, strict=True)
                if end == target and int(operation) != NONE
            ]
            nodes.append(sum(terms[1:], terms[0]) if terms else torch.zeros_like(x))
        return nodes[-1]

    def mixture(self, x: Tensor, weights: Tensor) -> Tensor:
        """Output of a (relaxed) one-hot cell ``(6, 5)``."""
        nodes: list[Tensor] = [x]
        for (source, target), edge, row in zip(self.ends, self.edges, weights, strict=True):
            value = edge.mixture(nodes[source], row)
            if target == len(nodes):
                nodes.append(value)
            else:
                nodes[target] = nodes[target] + value
        return nodes[-1]


class Supernet(Network):
    """The benchmark's skeleton with entangled cells.

    Batches are always normalised by their own statistics: running ones would mix those of all cells.
    Arguments are those of the network of one cell.
    """

    def __init__(
        self,
        edges: Sequence[tuple[int, int]],
        num_classes: int,
        channels: int,
        cells_per_stage: int,
        in_channels: int,
    ):
        super().__init__(["none"] * len(edges), edges, num_classes, channels, cells_per_stage, in_channels)
        width = channels
        for place, layer in enumerate(self.features):
            if isinstance(layer, Cell):
                self.features[place] = EntangledCell(edges, width)
            elif hasattr(layer, "shortcut"):
                width *= 2
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.track_running_stats = False
                module.running_mean = module.running_var = module.num_batches_tracked = None

    def forward(self, x: Tensor, cell: Tensor | Sequence[int]) -> Tensor:  # type: ignore[override]
        """Logits ``(batch, num_classes)``.

        Args:
            x: images ``(batch, in_channels, size, size)``.
            cell: six operation numbers (only these are computed), or a (relaxed) one-hot of the cell, a
                float tensor ``(30,)`` or ``(6, 5)``, through which gradients flow.
        """
        weights = cell.reshape(-1, len(OPERATIONS)) if isinstance(cell, Tensor) and cell.is_floating_point() else None
        for layer in self.features:
            if not isinstance(layer, EntangledCell):
                x = layer(x)
            elif weights is None:
                x = layer.path(x, cell)  # type: ignore[arg-type]
            else:
                x = layer.mixture(x, weights)
        return self.classifier(x)

    @torch.no_grad()
    def hand_over(self, network: Network, cell: Sequence[int]) -> Network:
        """Copy one cell's weights into its own network, which is returned."""
        for mine, its in zip(self.features, network.features, strict=True):
            if not isinstance(mine, EntangledCell):
                its.load_state_dict(mine.state_dict(), strict=False)
                continue
            assert isinstance(its, Cell)
            for edge, operation, module in zip(mine.edges, cell, its.operations, strict=True):
                if isinstance(module, _ReLUConvBN):
                    edge.hand_over(module, int(operation))
        network.classifier.load_state_dict(self.classifier.state_dict())
        return network
