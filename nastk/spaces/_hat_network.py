"""Encoder-decoder transformers with normalisation after each part, and a decoder that runs token by token.

Sizes follow Hardware-Aware Transformers: attention has 512 channels whatever the width of the embedding, and a decoder
layer attends to the outputs of the last one to three encoder layers, one after the other as one long sentence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def positions(first: int, length: int, width: int, like: Tensor) -> Tensor:
    """Sinusoidal positions (Vaswani et al., 2017), ``(length, width)``."""
    half = width // 2
    frequency = torch.exp(torch.arange(half, device=like.device, dtype=torch.float32) * (-math.log(1e4) / (half - 1)))
    angle = torch.arange(first, first + length, device=like.device, dtype=torch.float32)[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=1).to(like.dtype)


def embedding(vocabulary: int, width: int) -> nn.Embedding:
    """Tokens with the variance by which the network scales them, so that positions are not drowned."""
    made = nn.Embedding(vocabulary, width)
    nn.init.normal_(made.weight, std=width**-0.5)
    return made


def split(x: Tensor, heads: int) -> Tensor:
    """``(batch, length, channels)`` to ``(batch, heads, length, channels of a head)``."""
    batch, length, _ = x.shape
    return x.view(batch, length, heads, -1).transpose(1, 2)


class KeysAndValues(nn.Module):
    """What attention remembers of a sequence ``(batch, length, width)``."""

    def __init__(self, width: int, inner: int, heads: int):
        super().__init__()
        self.heads = heads
        self.key, self.value = nn.Linear(width, inner), nn.Linear(width, inner)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return split(self.key(x), self.heads), split(self.value(x), self.heads)


class Heard(KeysAndValues):
    """The same of the last encoder layers ``(batch, last, length, width)``: the first `reach`, one after the other."""

    def __init__(self, width: int, inner: int, heads: int, reach: int):
        super().__init__(width, inner, heads)
        self.reach = reach

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = x[:, : self.reach].flatten(1, 2)
        return split(self.key(x), self.heads), split(self.value(x), self.heads)


class Attention(nn.Module):
    """Heads that ask keys and values.

    Args:
        width: of the queries' sequence.
        inner: channels of queries, keys and values, all heads together.
        heads: number of heads.
    """

    def __init__(self, width: int, inner: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query, self.output = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, causal: bool = False) -> Tensor:
        queries = split(self.query(x), self.heads)
        mixed = functional.scaled_dot_product_attention(queries, keys, values, is_causal=causal)
        batch, length, _ = x.shape
        output: Tensor = self.output(mixed.transpose(1, 2).reshape(batch, length, -1))
        return output


class Perceptron(nn.Module):
    """Two linear layers with ReLU between."""

    def __init__(self, width: int, inside: int):
        super().__init__()
        self.up, self.down = nn.Linear(width, inside), nn.Linear(inside, width)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.down(functional.relu(self.up(x)))
        return output


class EncoderLayer(nn.Module):
    """Attention and perceptron, each added to its input and normalised."""

    def __init__(self, width: int, inner: int, ffn: int, heads: int):
        super().__init__()
        self.remember, self.attention = KeysAndValues(width, inner, heads), Attention(width, inner, heads)
        self.perceptron = Perceptron(width, ffn)
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x + self.attention(x, *self.remember(x)))
        output: Tensor = self.second(x + self.perceptron(x))
        return output


class Encoder(nn.Module):
    """Tokens ``(batch, length)`` to the outputs of the `last` layers, ``(batch, last, length, width)``, in reverse."""

    def __init__(self, layers: Sequence[EncoderLayer], width: int, vocabulary: int, last: int):
        super().__init__()
        self.width, self.last = width, last
        self.embedding, self.layers = embedding(vocabulary, width), nn.ModuleList(layers)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens.long()) * math.sqrt(self.width)
        x = x + positions(0, x.shape[1], self.width, x)
        found = []
        for layer in self.layers:
            x = layer(x)
            found.append(x)
        return torch.stack(found[: -self.last - 1 : -1], dim=1)


class DecoderLayer(nn.Module):
    """Attention to the tokens before, attention to the encoder, perceptron."""

    def __init__(self, width: int, memory: int, inner: int, ffn: int, heads: int, cross_heads: int, reach: int):
        super().__init__()
        self.remember, self.attention = KeysAndValues(width, inner, heads), Attention(width, inner, heads)
        self.hear, self.cross = Heard(memory, inner, cross_heads, reach), Attention(width, inner, cross_heads)
        self.perceptron = Perceptron(width, ffn)
        self.first, self.second, self.third = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(
        self, x: Tensor, own: tuple[Tensor, Tensor], memory: tuple[Tensor, Tensor], causal: bool = False
    ) -> Tensor:
        x = self.first(x + self.attention(x, *own, causal))
        x = self.second(x + self.cross(x, *memory))
        output: Tensor = self.third(x + self.perceptron(x))
        return output


class Decoder(nn.Module):
    """Greedy decoding: what the encoder's last layers say to logits ``(batch, length, vocabulary)``.

    The embedding is also the output layer (Press & Wolf, 2017). The first token is 0; keys and values of earlier tokens
    are kept, those of the encoder computed once.

    Args:
        layers: of the decoder.
        width, memory: of its embedding, and of the encoder's (the first channels of its input).
        vocabulary: number of tokens.
        length: tokens to decode.
    """

    def __init__(self, layers: Sequence[DecoderLayer], width: int, memory: int, vocabulary: int, length: int):
        super().__init__()
        self.width, self.memory, self.length = width, memory, length
        self.embedding, self.layers = embedding(vocabulary, width), nn.ModuleList(layers)

    def forward(self, memory: Tensor) -> Tensor:
        memory = memory[..., : self.memory]
        layers: Any = self.layers
        heard = [layer.hear(memory) for layer in layers]
        kept: list[tuple[Tensor, Tensor] | None] = [None] * len(layers)
        token = torch.zeros(memory.shape[0], 1, dtype=torch.long, device=memory.device)
        logits = []
        for place in range(self.length):
            x = self.embedding(token) * math.sqrt(self.width)
            x = x + positions(place, 1, self.width, x)
            for i, layer in enumerate(layers):
                keys, values = layer.remember(x)
                before = kept[i]
                if before is not None:
                    keys, values = torch.cat([before[0], keys], dim=2), torch.cat([before[1], values], dim=2)
                kept[i] = keys, values
                x = layer(x, (keys, values), heard[i])
            logits.append(functional.linear(x, self.embedding.weight))
            token = logits[-1].argmax(dim=-1)
        return torch.cat(logits, dim=1)


class TeacherForced(nn.Module):
    """Logits ``(batch, length, vocabulary)`` of given translations ``(batch, length)``, all tokens at once.

    What greedy decoding would say had it chosen these tokens; for training, and for the loss of a translation.
    """

    def __init__(self, network: Network):
        super().__init__()
        self.network = network

    def forward(self, tokens: Tensor, translation: Tensor) -> Tensor:
        decoder: Any = self.network.decoder
        memory = self.network.encoder(tokens)[..., : decoder.memory]
        before = functional.pad(translation[:, :-1], (1, 0))
        x = decoder.embedding(before) * math.sqrt(decoder.width)
        x = x + positions(0, x.shape[1], decoder.width, x)
        for layer in decoder.layers:
            x = layer(x, layer.remember(x), layer.hear(memory), causal=True)
        return functional.linear(x, decoder.embedding.weight)


class Network(nn.Module):
    """Encoder, then greedy decoding: tokens ``(batch, length)`` to logits of the translation."""

    def __init__(self, encoder: Encoder, decoder: Decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.decoder(self.encoder(tokens))
        return logits
