"""Decoder-only transformers of HW-GPT-Bench: rotary positions, layer normalisation first, gated perceptrons.

Sizes and biases give the benchmark's parameters exactly. What parameter counts do not determine (rotary positions on
all channels, attention before the perceptron) follows the usual GPT.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


def _rotate(x: Tensor) -> Tensor:
    """Rotary positions (Su et al., 2021) for ``(batch, heads, length, size)``."""
    length, size = x.shape[-2:]
    frequency = 10000.0 ** (-torch.arange(0, size, 2, device=x.device, dtype=torch.float32) / size)
    angle = torch.arange(length, device=x.device, dtype=torch.float32)[:, None] * frequency
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    first, second = x[..., : size // 2], x[..., size // 2 :]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


class Attention(nn.Module):
    """Causal attention of heads of a fixed size."""

    def __init__(self, width: int, heads: int, head_size: int, bias: bool):
        super().__init__()
        self.heads, self.head_size = heads, head_size
        self.inputs = nn.Linear(width, 3 * heads * head_size, bias=bias)
        self.output = nn.Linear(heads * head_size, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, _ = x.shape
        parts = self.inputs(x).view(batch, length, 3, self.heads, self.head_size).permute(2, 0, 3, 1, 4)
        queries, keys, values = parts.unbind(0)
        mixed = functional.scaled_dot_product_attention(_rotate(queries), _rotate(keys), values, is_causal=True)
        output: Tensor = self.output(mixed.transpose(1, 2).reshape(batch, length, -1))
        return output


class Perceptron(nn.Module):
    """Gated by SiLU (Shazeer, 2020)."""

    def __init__(self, width: int, ratio: int, bias: bool):
        super().__init__()
        self.gate = nn.Linear(width, ratio * width, bias=bias)
        self.up = nn.Linear(width, ratio * width, bias=bias)
        self.down = nn.Linear(ratio * width, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.down(functional.silu(self.gate(x)) * self.up(x))
        return output


class Block(nn.Module):
    """Attention and perceptron, each after a normalisation and added to its input."""

    def __init__(self, width: int, ratio: int, heads: int, head_size: int, bias: bool):
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads, head_size, bias)
        self.perceptron = Perceptron(width, ratio, bias)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.first(x))
        output: Tensor = x + self.perceptron(self.second(x))
        return output


class Network(nn.Module):
    """Embedding, blocks, normalisation, and a linear layer to the vocabulary (weights not tied to the embedding).

    Args:
        width: of the embedding.
        blocks: perceptron ratio and heads of each.
        bias: of the linear layers within blocks.
        head_size: channels of a head.
        vocabulary, block_size: number of tokens, and longest sequence.
    """

    def __init__(
        self,
        width: int,
        blocks: Sequence[tuple[int, int]],
        bias: bool,
        head_size: int,
        vocabulary: int,
        block_size: int,
    ):
        super().__init__()
        self.block_size = block_size
        self.embedding = nn.Embedding(vocabulary, width)
        self.blocks = nn.Sequential(*(Block(width, ratio, heads, head_size, bias) for ratio, heads in blocks))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        if tokens.shape[-1] > self.block_size:
            raise ValueError(f"{tokens.shape[-1]} tokens; at most {self.block_size} fit")
        logits: Tensor = self.head(self.norm(self.blocks(self.embedding(tokens.long()))))
        return logits
