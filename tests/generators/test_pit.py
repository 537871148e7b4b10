"""PIT: what is exported computes what the masked network does, its costs are exact, and limits are met."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from nastk.errors import InvalidValue, NastkError, UnknownName
from nastk.generators import PIT, LayerLatency
from nastk.generators._pit_masks import TapMask
from nastk.oracles.counts import count_network


class Chomp(nn.Module):
    def __init__(self, cut: int):
        super().__init__()
        self.cut = cut

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, : -self.cut].contiguous()


class Residual(nn.Module):
    """A block of Bai et al.'s TCN: weight normalisation, symmetric padding that is cut, a residual connection."""

    def __init__(self, c_in: int, c_out: int, kernel: int):
        super().__init__()
        pad = kernel - 1
        self.one = weight_norm(nn.Conv1d(c_in, c_out, kernel, padding=pad))
        self.two = weight_norm(nn.Conv1d(c_out, c_out, kernel, padding=2 * pad, dilation=2))
        self.cuts = nn.ModuleList([Chomp(pad), Chomp(2 * pad)])
        self.down = nn.Conv1d(c_in, c_out, 1) if c_in != c_out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = functional.dropout(torch.relu(self.cuts[0](self.one(x))), 0.1, self.training)
        y = torch.relu(self.cuts[1](self.two(y)))
        return torch.relu(y + self.down(x))


class Residuals(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Residual(3, 8, 9), Residual(8, 8, 9))
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(x)[:, :, -1])


class Branches(nn.Module):
    """Padding of every kind, a concatenation, a gate, a depthwise and a grouped convolution, a flattening."""

    def __init__(self) -> None:
        super().__init__()
        self.causal = nn.Sequential(nn.ConstantPad1d((8, 0), 0.0), nn.Conv1d(3, 6, 9), nn.BatchNorm1d(6), nn.ReLU())
        self.same = nn.Sequential(nn.Conv1d(3, 6, 5, padding="same", bias=False), nn.BatchNorm1d(6), nn.SiLU())
        self.depthwise = nn.Sequential(nn.Conv1d(12, 12, 7, padding=3, groups=12), nn.BatchNorm1d(12))
        self.gate = nn.Sequential(nn.AdaptiveAvgPool1d(1), nn.Conv1d(12, 4, 1), nn.ReLU(), nn.Conv1d(4, 12, 1))
        self.grouped = nn.Conv1d(12, 8, 3, groups=2)
        self.valid = nn.Conv1d(8, 6, 4, stride=2, dilation=2)
        self.hidden = nn.Linear(6 * 6, 10)
        self.head = nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.cat([self.causal(x), self.same(x)], dim=1)
        y = self.depthwise(y) * torch.sigmoid(self.gate(y))
        y = torch.relu(self.valid(self.grouped(y)))
        return self.head(torch.relu(self.hidden(y.view(y.size(0), -1))))


class Pictures(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2))
        self.two = nn.Conv2d(6, 6, 3, padding=1)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x)
        return self.head((x + functional.relu(self.two(x))).mean((2, 3)))


NETWORKS = [(Residuals, (3, 20)), (Branches, (3, 20)), (Pictures, (1, 8, 8))]


def made(network: Callable[[], nn.Module], shape: tuple[int, ...]) -> tuple[PIT, Tensor]:
    torch.manual_seed(0)
    x = torch.randn(5, *shape)
    net = network()
    for _ in range(3):
        net(x)  # statistics
    return PIT(net, x), x


@pytest.mark.parametrize(("network", "shape"), NETWORKS)
def test_what_is_exported_is_the_masked_network(network: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    search, x = made(network, shape)
    search.eval()
    for seed in range(4):
        torch.manual_seed(seed)
        with torch.no_grad():
            for mask in search.masks():
                mask.uniform_(-0.2 if seed else 0.6, 1.0)
        small = search.export()
        torch.testing.assert_close(small(x), search(x), rtol=1e-5, atol=1e-5)
        assert not any(type(module).__module__.startswith("nastk") for module in small.modules())
        counted = count_network(small, x[:1])
        told = {name: round(value.item()) for name, value in search.costs().items()}
        assert told == counted
    assert counted["params"] < 0.8 * sum(p.numel() for p in network().parameters())


@pytest.mark.parametrize(("network", "shape"), NETWORKS)
def test_with_all_masks_open_it_is_the_network(network: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    search, x = made(network, shape)
    torch.manual_seed(0)
    torch.randn(5, *shape)
    net = network()
    for _ in range(3):
        net(x)
    torch.testing.assert_close(search.eval()(x), net.eval()(x), rtol=1e-6, atol=1e-6)


def test_taps_go_from_the_oldest_and_by_powers_of_two() -> None:
    mask = TapMask(9)
    assert mask.kept() == (9, 1)
    with torch.no_grad():
        mask.beta[-3:] = 0.1
    assert mask.kept() == (6, 1)
    assert mask().tolist() == [0, 0, 0, 1, 1, 1, 1, 1, 1]
    with torch.no_grad():
        mask.gamma[0] = 0.2
    assert mask().tolist() == [0, 0, 0, 0, 1, 0, 1, 0, 1]
    assert mask.kept() == (3, 2)
    with torch.no_grad():
        mask.gamma.zero_()
        mask.beta.fill_(1.0)
    assert mask().tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 1]
    with torch.no_grad():
        mask.beta.zero_()
    assert mask.kept() == (1, 1)
    assert mask().tolist() == [0] * 8 + [1]


def test_gradients_pass_the_threshold() -> None:
    search, x = made(*NETWORKS[0])
    with torch.no_grad():
        for mask in search.masks():
            mask.fill_(0.3)
    (search(x).square().mean() + search.cost_term()).backward()
    assert all(mask.grad is not None and bool(mask.grad.any()) for mask in search.masks())


def fitted(search: PIT, x: Tensor, y: Tensor, steps: int) -> None:
    optimiser = torch.optim.Adam(search.parameter_groups(1e-2, 2e-2))
    for _ in range(steps):
        optimiser.zero_grad()
        loss = functional.cross_entropy(search(x), y)
        (loss + search.cost_term(loss)).backward()
        optimiser.step()


def test_a_stronger_cost_leaves_a_smaller_network() -> None:
    found = []
    for strength in (0.3, 30.0):
        torch.manual_seed(0)
        search = PIT(Residuals(), x := torch.randn(24, 3, 16), strength=strength)
        fitted(search, x, torch.arange(24) % 4, 40)
        found.append(search.costs()["params"].item())
    assert found[1] < 0.5 * found[0]


def test_two_limits_are_met_in_one_run() -> None:
    torch.manual_seed(0)
    x = torch.randn(24, 3, 16)
    limits = {"params": 900.0, "flops": 12_000.0}
    search = PIT(Residuals(), x, limits=limits, steps=80)
    assert all(search.costs()[name].item() > 1.5 * limit for name, limit in limits.items())
    fitted(search, x, torch.arange(24) % 4, 80)
    counted = count_network(search.export(), x[:1])
    assert all(counted[name] <= 1.02 * limit for name, limit in limits.items())


def test_a_cost_of_ones_own_is_lowered() -> None:
    torch.manual_seed(0)
    x = torch.randn(8, 3, 16)
    search = PIT(
        Residuals(), x, cost="widest", costs={"widest": lambda sizes: torch.stack([s.outputs for s in sizes]).amax()}
    )
    assert search.costs()["widest"].item() == 8
    fitted(search, x, torch.arange(8) % 4, 40)
    assert search.costs()["widest"].item() < 8


def test_what_is_kept_is_told_with_its_reason() -> None:
    search, _ = made(*NETWORKS[1])
    kept = search.left_out()
    assert kept["head"] == "it reaches the output"
    assert "grouped" in kept["grouped"]
    assert {row["layer"] for row in search.summary()} >= {"causal.1", "hidden"}


class Own(nn.Conv1d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(functional.pad(x, (4, 0)))


def test_a_convolution_with_its_own_forward_pass_loses_channels_only() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(Own(3, 6, 5), nn.ReLU(), nn.Conv1d(6, 4, 3), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    search = PIT(net, x := torch.randn(4, 3, 12))
    assert "own" in search.left_out()["taps of 0"]
    with torch.no_grad():
        search.masks()[0][:3] = 0.0
    small = search.eval().export()
    assert small[0].out_channels == 3
    torch.testing.assert_close(small(x), search(x))


def test_wrong_use_is_one_line() -> None:
    x = torch.randn(4, 3, 16)
    net = Residuals()
    for error, arguments in (
        (UnknownName, {"cost": "paramz"}), (InvalidValue, {"strength": -1.0}),
        (InvalidValue, {"limits": {"params": 500}}), (InvalidValue, {"limits": {"params": 3}, "steps": 9}),
        (UnknownName, {"limits": {"watts": 3}, "steps": 9}),
    ):  # fmt: skip
        with pytest.raises(error) as refused:
            PIT(net, x, **arguments)  # type: ignore[arg-type]
        assert "\n" not in str(refused.value)
    with pytest.raises(InvalidValue, match="nothing"):
        PIT(nn.Sequential(nn.Flatten(), nn.Linear(48, 2)), x)
    with pytest.raises(InvalidValue, match="fails on the example"):
        PIT(net, x[:, :2])
    with pytest.raises(InvalidValue, match="loss"):
        PIT(net, x, limits={"params": 600}, steps=9).cost_term()


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class Counting(nn.Module):
    """Scales by its number of channels, which the graph does not show."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv1d(3, 6, 3), nn.Conv1d(6, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.one(x)
        return self.two(y * y.shape[1]).mean(2)


def test_networks_that_cannot_be_pruned_are_refused() -> None:
    x = torch.randn(4, 3, 16)
    with pytest.raises(InvalidValue, match="traced"):
        PIT(Branching(), x)
    search = PIT(Counting(), x)
    with torch.no_grad():
        search.masks()[0][:3] = 0.0
    with pytest.raises(NastkError, match="differ"):
        search.export()


def test_a_search_goes_on_from_its_state() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(8, 3, 16), torch.arange(8) % 4
    search = PIT(Residuals(), x, limits={"params": 900}, steps=20)
    fitted(search, x, y, 5)
    again = PIT(Residuals(), x, limits={"params": 900}, steps=20)
    again.load_state_dict(search.state_dict())
    assert again.cost_term().item() == search.cost_term().item() > 0


def test_a_latency_of_layers_is_learned_and_limited() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(24, 3, 16), torch.arange(24) % 4

    def milliseconds(network: nn.Module) -> float:
        return 0.2 + 1e-5 * count_network(network, x[:1])["flops"]

    latency = LayerLatency.measured(Residuals(), x[:2], milliseconds, networks=12)
    search = PIT(Residuals(), x[:2], limits={"latency": 0.4, "params": 1500}, costs={"latency": latency}, steps=60)
    for seed in (100, 101):
        search.draw(seed)
        assert search.costs()["latency"].item() == pytest.approx(milliseconds(search.export()), rel=0.05)
    search = PIT(Residuals(), x[:2], limits={"latency": 0.4, "params": 1500}, costs={"latency": latency}, steps=60)
    fitted(search, x, y, 60)
    assert milliseconds(search.export()) < 0.42
    with pytest.raises(InvalidValue, match="two networks"):
        LayerLatency.measured(Residuals(), x[:2], milliseconds, networks=1)


def test_limits_that_a_search_leaves_broken_are_met_by_the_export() -> None:
    torch.manual_seed(0)
    limits = {"params": 900, "flops": 12_000}
    search = PIT(Residuals(), x := torch.randn(4, 3, 16), limits=limits, steps=60)
    counted = count_network(search.export(), x[:1])
    shares = [counted[name] / limit for name, limit in limits.items()]
    assert 0.8 < max(shares) <= 1, "no more is removed than is asked for"
    assert search.meet_limits() == 0
