"""NEAR, VKDNW and the three proxies of AZ-NAS, against values computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from nastk.oracles.zerocost import zcp

AZ = ["az_expressivity", "az_progressivity", "az_trainability"]
NEWER = [*AZ, "near", "vkdnw"]


def _images(n: int, *shape: int) -> torch.Tensor:
    return torch.randn((n, *shape), generator=torch.Generator().manual_seed(1))


def _rank(matrix: np.ndarray) -> float:
    found = np.linalg.svd(matrix, compute_uv=False)
    shares = found / found.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _entropy(maps: torch.Tensor) -> float:
    rows = maps.detach().double().movedim(1, -1).flatten(0, -2).numpy()
    shares = np.linalg.eigvalsh(np.cov(rows.T, bias=True))
    shares = shares / shares.sum()
    return float(-(shares * np.log(shares + 1e-8)).sum())


class _Block(nn.Module):
    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


def _blocks(last: nn.Module | None = None) -> nn.Sequential:
    """A stem, and two or three blocks, the second of which halves the resolution."""
    torch.manual_seed(0)
    body = [_Block(nn.Conv2d(4, 4, 1)), _Block(nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(4, 6, 1)))]
    body += [] if last is None else [_Block(last)]
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Sequential(*body)), nn.Flatten(), nn.LazyLinear(3)
    )


def test_near_adds_the_effective_ranks_before_and_after_each_nonlinearity() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6))
    x = _images(6, 5)  # as many rows as columns: all are taken
    wanted, values = 0.0, x
    for layer in network:
        values = layer(values)
        wanted += _rank(values.detach().double().numpy())
    assert zcp(network, x, proxies=["near"]).values["near"] == pytest.approx(wanted, rel=1e-5)
    still = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LazyLinear(3))
    zcp(still, _images(2, 3, 4, 4), proxies=["near"])  # shapes
    with torch.no_grad():
        still[0].weight.zero_()
        still[0].bias.fill_(1.0)
    assert zcp(still, _images(3, 3, 4, 4), proxies=["near"]).values["near"] == pytest.approx(2.0, abs=0.01)


def test_near_takes_neighbouring_places_of_maps_along_columns() -> None:
    torch.manual_seed(0)
    layer, x = nn.Conv2d(3, 4, 1), _images(3, 3, 2, 3)
    rows = layer(x).detach().double().permute(0, 3, 2, 1).reshape(18, 4).numpy()
    windows = [_rank(rows[i : i + 4]) for i in range(15)]
    found = [zcp(layer, x, proxies=["near"], seed=seed).values["near"] for seed in range(8)]
    starts = [int(np.argmin([abs(value - window) for window in windows])) for value in found]
    assert found == pytest.approx([windows[i] for i in starts], rel=1e-5)
    assert len(set(starts)) > 2
    assert any(i % 6 > 2 for i in starts)  # of two images


def test_an_output_that_is_not_finite_leaves_other_proxies_their_values() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))
    with torch.no_grad():
        network[0].bias[1] = float("inf")
    found = zcp(network, _images(5, 4), proxies=["near", "params"])
    assert np.isnan(found.values["near"])
    assert "near" in found.reasons
    assert found.values["params"] > 0


def test_expressivity_and_progressivity_are_entropies_of_the_features_between_blocks() -> None:
    network, x = _blocks(), _images(8, 3, 8, 8)
    zcp(network, x, proxies=["params"])  # shapes of the lazy layer
    stem, body = network[0][0], network[0][1]
    features = [stem(x), body[0](stem(x)), body[1](body[0](stem(x)))]
    entropies = [_entropy(maps) for maps in features]
    found = zcp(network, x, proxies=AZ).values
    assert found["az_expressivity"] == pytest.approx(sum(entropies), rel=1e-5)
    assert found["az_progressivity"] == pytest.approx(
        min(entropies[1] - entropies[0], entropies[2] - entropies[1]), abs=1e-5
    )
    assert "blocks" in zcp(nn.Sequential(nn.Linear(4, 3)), _images(2, 4), proxies=AZ).reasons["az_expressivity"]


def test_blocks_of_a_network_of_tokens_have_their_channels_last_though_no_layer_ran_before_them() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Embedding(50, 6), _Block(nn.Linear(6, 6)), _Block(nn.Linear(6, 4)), nn.Linear(4, 50))
    tokens = torch.randint(0, 50, (8, 9))
    embedded = network[0](tokens)
    features = [embedded, network[1](embedded), network[2](network[1](embedded))]
    found = zcp(network, tokens, proxies=AZ)
    assert found.values["az_expressivity"] == pytest.approx(sum(_entropy(f.movedim(-1, 1)) for f in features), rel=1e-5)
    assert not found.reasons


def test_trainability_is_best_where_blocks_keep_the_size_of_gradients() -> None:
    network, x = _blocks(), _images(64, 3, 16, 16)
    first, second = network[0][1][0].layer, network[0][1][1].layer[1]
    # many random signs: the estimate of a 1 x 1 convolution's Jacobian is its weight; averaging four places makes four
    # copies of a quarter of it, whose norm is half of the weight's
    sizes = [float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1).double(), 2)) for layer in (first, second)]
    sizes[1] /= 2
    wanted = np.mean([2 - s - 1 / s for s in sizes])
    found = zcp(network, x, proxies=["az_trainability"]).values["az_trainability"]
    assert found == pytest.approx(wanted, abs=0.1)
    with torch.no_grad():
        first.weight.copy_(torch.linalg.qr(first.weight.flatten(1))[0][..., None, None])
        second.weight.copy_(2 * torch.linalg.qr(second.weight.flatten(1))[0][..., None, None])
    assert found < zcp(network, x, proxies=["az_trainability"]).values["az_trainability"] < 0
    assert "identity" in zcp(_blocks(nn.Identity()), x, proxies=AZ).reasons.get("az_trainability", "")


def test_vkdnw_is_the_entropy_of_the_fisher_matrix() -> None:
    """Of y = Wx + b the first logit alone depends on the first entries, by x_0 and by one."""
    torch.manual_seed(0)
    layer, x = nn.Linear(5, 3), _images(7, 5)
    q = torch.softmax(layer(x).detach().double(), dim=1).numpy() * 0.95 + 0.05 / 3
    slopes = np.stack([x[:, 0].double().numpy(), np.ones(7)], axis=1)
    fisher = np.mean([(q[i, 0] - q[i, 0] ** 2) * np.outer(s, s) for i, s in enumerate(slopes)], axis=0)
    deciles = np.quantile(np.linalg.eigvalsh(fisher), np.arange(1, 10) / 10)
    shares = deciles / deciles.sum()
    wanted = 2 - (shares * np.log(shares)).sum() / 10
    assert zcp(layer, x, proxies=["vkdnw"]).values["vkdnw"] == pytest.approx(wanted, rel=1e-5)


def test_batch_normalisation_is_the_identity_to_vkdnw_whatever_ran_before() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 3),
    )  # fmt: skip
    x = _images(9, 3, 6, 6)
    network.eval()
    alone = zcp(network, x, proxies=["vkdnw"]).values["vkdnw"]
    assert zcp(network, x, proxies=["nwot", "zen", "vkdnw"]).values["vkdnw"] == pytest.approx(alone, rel=1e-6)
    assert 6 < alone < 6.22


def test_the_newer_proxies_leave_the_network_as_it_came() -> None:
    network, x = _blocks(), _images(6, 3, 8, 8)
    zcp(network, x, proxies=["params"])
    network.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    first = zcp(network, x, proxies=NEWER, seed=3)
    assert not first.reasons
    assert first.values == zcp(network, x, proxies=NEWER, seed=3).values
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(m.training or m._forward_hooks or m._forward_pre_hooks for m in network.modules())
    assert all(p.grad is None for p in network.parameters())
