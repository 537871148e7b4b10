"""Zero-cost proxies: closed forms, networks left as they came, awkward networks, the cache of the oracle."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from failing import REASONS, Failing
from torch import nn

import nastk
from nastk.bench import proxy_cost
from nastk.cli import run
from nastk.data.proxies import PROXIES
from nastk.errors import InvalidValue, UnknownName
from nastk.oracles.zerocost import Scores, SeveralOutputs, ZeroCost, zcp

CROSS_ENTROPY = nn.functional.cross_entropy


def _images(n: int = 12, *shape: int) -> torch.Tensor:
    return torch.randn((n, *(shape or (3, 8, 8))), generator=torch.Generator().manual_seed(1))


def _network(inplace: bool = False) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace), nn.Conv2d(6, 8, 3), nn.ReLU(inplace),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
    )  # fmt: skip


def _mean_output(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return logits.sum() / len(labels)


def test_the_thirteen_are_the_default_and_finite() -> None:
    scores = zcp(_network(), _images(), torch.arange(12) % 4)
    assert tuple(scores.values) == PROXIES
    assert all(map(math.isfinite, scores.values.values())), scores.reasons
    assert not scores.reasons


def test_a_linear_layer_has_closed_forms() -> None:
    """One layer y = Wx and loss = mean output: dL/dW is the mean input in every row, the Hessian is zero."""
    torch.manual_seed(0)
    layer = nn.Linear(5, 3, bias=False)
    x = _images(10, 5)
    scores = zcp(layer, x, torch.zeros(10).long(), loss=_mean_output).values
    w, mean = layer.weight.detach().double(), x.double().mean(dim=0)
    gradient = mean.expand(3, 5)
    assert scores["params"] == 15
    assert scores["flops"] == 15
    assert scores["l2_norm"] == pytest.approx(float(w.norm()), rel=1e-6)
    assert scores["grad_norm"] == pytest.approx(float(gradient.norm()), rel=1e-5)
    assert scores["snip"] == pytest.approx(float((w * gradient).abs().sum()), rel=1e-5)
    assert scores["plain"] == pytest.approx(float((w * gradient).sum()), rel=1e-5)
    assert scores["fisher"] == pytest.approx(float(((x.double() @ w.T) / 10).square().mean(dim=0).sum() / 2), rel=1e-5)
    assert scores["synflow"] == pytest.approx(float(w.abs().sum()), rel=1e-6)
    assert math.isnan(scores["nwot"])


def test_grasp_is_the_exact_hessian_times_the_gradient() -> None:
    """Loss = mean of (w.x)^2 / 2: gradient A w, Hessian A = mean of x x'."""
    torch.manual_seed(0)
    layer = nn.Linear(4, 1, bias=False)
    x = _images(20, 4)
    scores = zcp(layer, x, torch.zeros(20).long(), ["grasp"], lambda y, _: (y**2).mean() / 2).values
    a = (x.double().T @ x.double()) / 20
    w = layer.weight.detach().double()[0]
    assert scores["grasp"] == pytest.approx(float(-(w @ a @ a @ w)), rel=1e-4)


def test_jacobian_scores_of_a_linear_layer_are_those_of_equal_rows() -> None:
    """Every image's Jacobian is the same, so all correlations are one."""
    torch.manual_seed(0)
    scores = zcp(nn.Linear(5, 3), _images(6, 5), torch.tensor([0, 0, 0, 1, 1, 1]), ["jacov", "epe_nas"]).values
    k = 1e-5
    assert scores["jacov"] == pytest.approx(-(5 * (math.log(k) + 1 / k) + math.log(6 + k) + 1 / (6 + k)), rel=1e-3)
    assert scores["epe_nas"] == pytest.approx(2 * 9 * math.log(1 + k), abs=1e-6)


def test_nwot_counts_agreeing_signs() -> None:
    network = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU())
    network[0].weight.data = torch.eye(2)
    x = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    agree = np.array([[2.0, 1, 0], [1, 2, 1], [0, 1, 2]])
    found = zcp(network, x, torch.tensor([0, 1, 0]), ["nwot"]).values["nwot"]
    assert found == pytest.approx(np.log(np.linalg.det(agree)))
    functional = type("F", (nn.Module,), {"forward": lambda self, x: torch.relu(x)})()
    assert zcp(functional, x, torch.tensor([0, 1, 0]), ["nwot"]).values["nwot"] == pytest.approx(found)


def test_swap_counts_the_different_patterns_of_all_layers() -> None:
    """Against sets of tuples, for more images than a byte has bits."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 30), nn.ReLU(), nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 3))
    for images in (3, 8, 21):
        x = _images(images, 5)
        first = network[0](x)
        second = network[2](torch.relu(first))
        wanted = {tuple(unit) for layer in (first, second) for unit in (layer > 0).T.tolist()}
        found = zcp(network, x, proxies=["swap", "nwot"]).values["swap"]
        assert found == len(wanted)
    assert "no nonlinearity" in zcp(nn.Linear(5, 3), x, proxies=["swap"]).reasons["swap"]


@pytest.mark.parametrize("inplace", [False, True])
def test_meco_sums_the_least_eigenvalues_of_numpys_correlations(inplace: bool) -> None:
    network, x = _network(inplace), _images()
    maps = [network[0](x)[0], network[3](network[2](network[1](network[0](x).clone()).clone()))[0]]
    correlations = [np.corrcoef(m.detach().double().flatten(1).numpy()) for m in maps]
    wanted = sum(np.linalg.eigvals(c).real.min() for c in correlations)
    assert wanted > 0.01
    assert zcp(network, x, proxies=["meco"]).values["meco"] == pytest.approx(wanted, rel=1e-4)
    network[0].weight.data[2] = 0.0
    network[0].bias.data[2] = 0.0
    dead = zcp(network, x, proxies=["meco"]).values["meco"]
    maps = [network[3](network[2](network[1](network[0](x).clone()).clone()))[0]]
    alone = np.linalg.eigvals(np.corrcoef(maps[0].detach().double().flatten(1).numpy())).real.min()
    assert dead == pytest.approx(alone, rel=1e-4), "a channel that is the same everywhere makes its layer's zero"
    assert "places" in zcp(nn.Linear(5, 3), _images(4, 5), proxies=["meco"]).reasons["meco"]


def test_meco_of_a_vocabulary_makes_no_matrix_of_it() -> None:
    words = 60_000  # whose correlations would take 29 GB
    network = nn.Sequential(nn.Embedding(words, 4), nn.Linear(4, words))
    assert zcp(network, torch.arange(8)[None], proxies=["meco"]).values["meco"] == 0.0


def test_zico_of_a_linear_layer_has_a_closed_form() -> None:
    """The gradient of the mean output is the half's mean input in every row."""
    x = _images(10, 5)
    a, b = x[:5].double().mean(dim=0), x[5:].double().mean(dim=0)
    wanted = math.log(3 * float(((a.abs() + b.abs()) / (a - b).abs()).sum()))
    scores = zcp(nn.Linear(5, 3, bias=False), x, torch.zeros(10).long(), ["zico"], _mean_output)
    assert scores.values["zico"] == pytest.approx(wanted, rel=1e-4)
    two = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    halves = []
    for rows in (slice(0, 5), slice(5, 10)):
        two.zero_grad()
        CROSS_ENTROPY(two(x[rows]), (torch.arange(10) % 3)[rows]).backward()
        halves.append([two[i].weight.grad.numpy().astype(float) for i in (0, 2)])
    layers = [np.stack(pair) for pair in zip(*halves, strict=True)]
    wanted = 0.0
    for g in layers:
        spread = g.std(axis=0)
        wanted += np.log((np.abs(g).mean(axis=0)[spread > 0] / spread[spread > 0]).sum())
    assert zcp(two, x, torch.arange(10) % 3, ["zico"]).values["zico"] == pytest.approx(wanted, rel=1e-4)
    assert "two images" in zcp(two, x[:1], torch.zeros(1).long(), ["zico"]).reasons["zico"]


def test_synflow_does_not_overflow_where_single_precision_does() -> None:
    torch.manual_seed(0)
    deep = nn.Sequential(*[nn.Linear(64, 64, bias=False) for _ in range(60)])
    for layer in deep:
        layer.weight.data.fill_(1.0)
    found = zcp(deep, _images(4, 64), torch.arange(4), ["synflow"]).values["synflow"]
    assert found == pytest.approx(60 * 64.0**61, rel=1e-6)
    assert found > 3.5e38


def test_the_network_is_left_as_it_came() -> None:
    network = _network()
    network.eval()
    network[0].train()
    network[3].weight.requires_grad_(False)
    network[7].weight.grad = torch.ones_like(network[7].weight)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    random = torch.get_rng_state()
    zcp(network, _images(), torch.arange(12) % 4)
    assert torch.equal(random, torch.get_rng_state())
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
        assert value.dtype == before[name].dtype
    assert [m.training for m in network.modules()] == [False, True, *[False] * 7]
    assert not network[3].weight.requires_grad
    assert network[0].weight.requires_grad
    assert torch.equal(network[7].weight.grad, torch.ones_like(network[7].weight))
    assert network[0].weight.grad is None
    assert not any(m._forward_hooks for m in network.modules())


def test_a_seed_fixes_everything_and_in_place_operations_change_nothing() -> None:
    first, again = (zcp(_network(), _images(), torch.arange(12) % 4, seed=3).values for _ in range(2))
    assert first == again
    other = zcp(_network(inplace=True), _images(), torch.arange(12) % 4, seed=3).values
    assert other == pytest.approx(first, rel=1e-4)
    assert zcp(_network(), _images(), torch.arange(12) % 4, ["zen"], seed=4).values["zen"] != first["zen"]


def test_each_alone_gives_what_all_together_give() -> None:
    labels = torch.arange(12) % 4
    together = zcp(_network(), _images(), labels).values
    for name in PROXIES:
        assert zcp(_network(), _images(), labels, [name]).values[name] == pytest.approx(together[name], rel=1e-4), name


def test_the_order_of_the_batch_does_not_matter() -> None:
    order = torch.randperm(12, generator=torch.Generator().manual_seed(2))
    labels = torch.arange(12) % 4
    names = [n for n in PROXIES if n != "zen"]
    straight = zcp(_network(), _images(), labels, names).values
    shuffled = zcp(_network(), _images()[order], labels[order], names).values
    assert shuffled == pytest.approx(straight, rel=1e-3)


class _Several(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = _network()

    def forward(self, x: torch.Tensor) -> Any:
        return self.body(x), x


class _Broken(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x).mean(dim=(2, 3)) * torch.nan


def test_awkward_networks_give_values_or_reasons_and_never_crash() -> None:
    labels = torch.arange(12) % 4
    several = zcp(_Several(), _images(), labels)
    assert several.output == "0", "the other has three dimensions too many for the labels"
    assert several.values == pytest.approx(zcp(_network(), _images(), labels).values)
    frozen = _network()
    for p in frozen.parameters():
        p.requires_grad_(False)
    assert not zcp(frozen, _images(), labels).reasons
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert set(zcp(plain, _images(), labels).reasons) == {"nwot"}, "no nonlinearity, no normalisation"
    one_class = zcp(_network(), _images(), torch.zeros(12).long())
    assert math.isfinite(one_class.values["epe_nas"])
    alone = zcp(_network(), _images(4), torch.arange(4))
    assert "no class has two images" in alone.reasons["epe_nas"]
    broken = zcp(_Broken(), _images(), labels)
    assert {"grad_norm", "snip", "plain", "grasp", "fisher"} <= set(broken.reasons)
    lazy = nn.Sequential(nn.LazyConv2d(6, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(4))
    assert not zcp(lazy, _images(), labels).reasons
    none = zcp(nn.Flatten(), _images(), labels, ["snip", "l2_norm", "synflow", "params"])
    assert set(none.reasons) == {"snip", "l2_norm", "synflow"}
    assert "no convolution or linear layer" in none.reasons["snip"]
    assert math.isfinite(broken.values["l2_norm"])
    wrong = zcp(_network(), _images(12, 5, 8, 8), labels)
    assert "failed" in wrong.reasons["snip"]
    assert math.isfinite(wrong.values["params"])


class _Transformer(nn.Module):
    """Logits for each token."""

    def __init__(self, vocabulary: int = 11) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, 16)
        self.block = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, activation="gelu", batch_first=True)
        self.head = nn.Linear(16, vocabulary)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.block(self.embed(tokens)))


def test_tokens_have_the_proxies_that_need_no_gradient_of_the_input() -> None:
    torch.manual_seed(0)
    network, tokens = _Transformer(), torch.randint(0, 11, (6, 5), generator=torch.Generator().manual_seed(0))
    scores = zcp(network, tokens)
    assert set(scores.reasons) == {"jacov", "epe_nas", "zen", "fisher"}
    assert all("tokens" in scores.reasons[name] for name in ("jacov", "epe_nas", "zen"))
    assert scores.values["synflow"] > 0
    head = zcp(nn.Sequential(nn.Embedding(11, 4), nn.Linear(4, 3, bias=False)), tokens, proxies=["synflow", "fisher"])
    assert head.values["synflow"] > 0
    assert zcp(network, tokens).values == pytest.approx(scores.values, nan_ok=True)
    given = torch.zeros((6, 5), dtype=torch.long)
    assert zcp(network, tokens, given).values["snip"] != scores.values["snip"]


def test_fisher_sums_over_the_places_of_a_channel_for_images_and_for_tokens() -> None:
    """A 1x1 convolution of an image is a linear layer of its pixels."""
    torch.manual_seed(0)
    convolution, linear = nn.Conv2d(3, 4, 1, bias=False), nn.Linear(3, 4, bias=False)
    linear.weight.data = convolution.weight.data[:, :, 0, 0]
    images = _images(6)
    loss = lambda y, _: y.square().sum()  # noqa: E731
    found = zcp(convolution, images, torch.zeros(6), ["fisher"], loss).values["fisher"]
    pixels = images.flatten(2).transpose(1, 2)
    assert zcp(linear, pixels, torch.zeros(6), ["fisher"], loss).values["fisher"] == pytest.approx(found, rel=1e-5)


def test_bad_arguments() -> None:
    with pytest.raises(UnknownName, match="did you mean 'synflow'"):
        zcp(_network(), _images(), proxies=["sinflow"])
    with pytest.raises(InvalidValue, match="labels"):
        zcp(_network(), _images(), torch.zeros(3))
    with pytest.raises(InvalidValue, match="one image"):
        zcp(_network(), _images()[:0])
    with pytest.raises(InvalidValue, match="digits or random"):
        ZeroCost(nastk.space("nasbench201"), batch="cats")
    with pytest.raises(InvalidValue, match="unknown device"):
        ZeroCost(nastk.space("nasbench201"), device="gpu")
    with pytest.raises(InvalidValue, match="networks take images"):
        ZeroCost(nastk.space("nasbench201"), batch=(_images(), torch.zeros(12)))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NASTK_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


QUICK = ["params", "synflow", "nwot", "snip"]


def test_values_are_kept_on_disk_by_setting(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = nastk.space("nasbench201")
    archs = space.sample(3, 0)
    first = ZeroCost(space, QUICK, batch_size=4)
    values = first(archs)
    assert values.shape == (3, 4)
    assert np.isfinite(values).all()
    (file,) = (home / "zerocost").iterdir()
    with monkeypatch.context() as patched:
        patched.setattr("nastk.oracles.zerocost._oracle._average", lambda *_: pytest.fail("computed again"))
        assert np.array_equal(ZeroCost(space, QUICK, batch_size=4)(archs), values)
    assert not np.array_equal(ZeroCost(space, QUICK, batch_size=4, seed=1)(archs), values)
    file.write_text("{ half")
    assert np.array_equal(ZeroCost(space, QUICK, batch_size=4)(archs), values)


def test_oracles_and_the_zcp_encoding_read_them(home: Path) -> None:
    space = nastk.space("nasbench201")
    source = ZeroCost(space, QUICK, batch_size=4)
    oracle = source.oracle("params")
    archs = space.sample(5, 1)
    assert np.array_equal(oracle(archs), source(archs)[:, 0])
    assert (oracle.expensive, oracle.direction) == (False, "min")
    assert "4 handwritten digits" in oracle.source
    context = nastk.Context(proxies=source)
    features = nastk.encoding("zcp").fit(space, context, archs).transform(archs)
    assert features.shape == (5, 5)
    with pytest.raises(UnknownName, match="proxy"):
        source.oracle("zen")


def test_processes_and_averages_change_nothing_but_the_noise(home: Path) -> None:
    space = nastk.space("nasbench201")
    archs = space.sample(2, 2, unique=True)
    alone = ZeroCost(space, QUICK, batch_size=4, cache=False)(archs)
    assert np.allclose(ZeroCost(space, QUICK, batch_size=4, cache=False, workers=2)(archs), alone, rtol=1e-4)
    both = [ZeroCost(space, QUICK, batch_size=4, cache=False, seed=s)(archs[:1]) for s in (0, 1)]
    two = ZeroCost(space, QUICK, batch_size=4, cache=False, initialisations=2)(archs[:1])
    assert two[0, 3] != both[0][0, 3]
    assert two[0, 0] == both[0][0, 0]


def test_a_network_that_fails_has_reasons_and_the_others_have_values(home: Path) -> None:
    space = Failing()
    texts = list(space.choices[0].options)
    source = ZeroCost(space, ["params", "snip"], batch_size=4)
    with pytest.warns(SeveralOutputs, match="failing: of several outputs of the networks, '1' is taken for the logits"):
        values = dict(zip(texts, source(texts), strict=True))
    assert {text for text, row in values.items() if np.isnan(row[1])} == set(REASONS) == set(source.reasons)
    assert all(REASONS[text] in why["snip"] for text, why in source.reasons.items())
    assert np.isfinite(values["shape"][0]), "the number of parameters needs no forward pass"
    assert values["several"] == pytest.approx(values["plain"], rel=1e-5)
    assert source.outputs == {"several": "1"}
    assert source.oracle("params").reasons == {
        text: f"failed: {reason}" for text, reason in REASONS.items() if text != "shape"
    }
    named = ZeroCost(space, ["snip"], batch_size=4, output=1)
    assert named(["several"])[0, 0] == pytest.approx(values["plain"][1], rel=1e-5)
    assert "logits 1" in named.source
    assert np.isnan(ZeroCost(space, ["snip"], batch_size=4, output=7)(["several"])).all()


@pytest.mark.slow
def test_a_network_that_ends_its_process_leaves_the_others_their_values(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NASTK_TEST_DIES", "1")
    source = ZeroCost(Failing(), ["params"], batch_size=4, workers=2)
    plain, dies, lazy = source(["plain", "dies", "lazy"])[:, 0]
    assert plain == 3 * 9 * 8 + 8 + 16 + 90
    assert np.isfinite(lazy)
    assert np.isnan(dies)
    assert "its process ended" in source.reasons["dies"]["params"]


def test_command_with_networks_that_fail(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = Path(__file__).parents[1] / "failing.py"
    asked = [
        "zcp",
        "--proxies",
        "params,snip",
        "--batch-size",
        "4",
        "--workers",
        "1",
        "--json",
        str(tmp_path / "z.json"),
    ]
    assert run([*asked, "--space", f"{file}:Failing", "plain", "groups", "several", "shape"]) == 0
    said = capsys.readouterr().out
    assert "groups: no value: failed: ValueError: in_channels must be divisible by groups" in said
    assert "shape: no snip: failed: RuntimeError" in said
    assert "'1' is taken for the logits" in said
    rows = {row["arch"]: row for row in json.loads((tmp_path / "z.json").read_text())}
    assert rows["groups"]["snip"] is None
    assert rows["several"]["snip"] == pytest.approx(rows["plain"]["snip"], rel=1e-5)
    (tmp_path / "z.json").unlink()
    assert run([*asked, "--space", f"{file}:OnlyFailing", "2", "4"]) == 2
    assert "no proxy has a value; the first: failed: ValueError" in capsys.readouterr().err
    assert len(json.loads((tmp_path / "z.json").read_text())) == 2
    assert run([*asked, "--space", f"{file}:Failing", "several", "--output", "features"]) == 2
    told, error = capsys.readouterr()
    assert error.startswith("nastk: error: several: no value: ")
    assert "no output 'features'; it returns 0 (1, 8), 1 (1, 10)" in error
    assert "no output" not in told, "the reason of a single network is said once"


def test_command(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["zcp", "1462", "--random", "1", "--proxies", "params,nwot", "--batch-size", "4", "--workers", "1"]
    assert run([*arguments, "--json", str(tmp_path / "z.json")]) == 0
    rows = json.loads((tmp_path / "z.json").read_text())
    assert len(rows) == 2
    assert rows[0]["params"] > 1e4
    assert "handwritten digits" in rows[0]["source"]
    assert "nwot" in capsys.readouterr().out
    np.savez(tmp_path / "mine.npz", images=np.zeros((4, 3, 32, 32), np.uint8), labels=np.arange(4))
    np.savez(tmp_path / "half.npz", images=np.zeros((4, 3, 32, 32)))
    mine = ["zcp", "1462", "--proxies", "params,synflow", "--workers", "1", "--batch"]
    assert run([*mine, str(tmp_path / "mine.npz")]) == 0
    assert "4 images of the user's" in capsys.readouterr().out
    for wrong, cure in (
        (["zcp"], "--random"),
        ([*mine, str(tmp_path / "half.npz")], "arrays 'images' and 'labels'"),
        ([*mine, str(tmp_path / "none.npz")], "No such file"),
        (["zcp", "3", "--device", "tpu"], "unknown device"),
        (["zcp", "3", "--proxies", "nwott"], "did you mean 'nwot'"),
        (["zcp", "3", "--batch", "cats"], "digits or random"),
        (["zcp", "3", "--init", "zero"], "default or kaiming"),
    ):
        assert run(wrong) == 2
        assert cure in capsys.readouterr().err


def test_scores_are_plain_data() -> None:
    assert Scores({"params": 1.0}).reasons == {}


@pytest.mark.long
def test_memory_is_measured_in_fresh_processes() -> None:
    rows = proxy_cost.memory(networks=1, batch_size=32, proxies=["params", "grasp"])
    peak = {row["method"]: row["mean"] for row in rows if row["metric"] == "peak_bytes"}
    assert peak["grasp"] > 2e7 > peak["params"]
    (ratio,) = (row["mean"] for row in rows if row["metric"] == "ratio_to_dearest_proxy")
    assert ratio == pytest.approx(peak["all"] / peak["grasp"])
    assert ratio < 1.3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cuda_device_gives_the_same_values(home: Path) -> None:
    space = nastk.space("nasbench201")
    archs = space.sample(2, 0)
    here = ZeroCost(space, batch_size=8, cache=False)(archs)
    there = ZeroCost(space, batch_size=8, cache=False, device="cuda")(archs)
    assert np.allclose(there, here, rtol=1e-2, equal_nan=True)
