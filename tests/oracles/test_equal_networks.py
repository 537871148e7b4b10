"""One network written in several ways has one value of every proxy, and one count of every kind."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from nastk.data.proxies import PROXIES
from nastk.errors import InvalidValue
from nastk.oracles import count_network
from nastk.oracles.zerocost import Scores, zcp

WIDTH, CLASSES = 8, 4


def images(n: int = 12) -> Tensor:
    return torch.randn((n, 3, 8, 8), generator=torch.Generator().manual_seed(1))


def scores(network: nn.Module, seed: int = 0) -> Scores:
    """All proxies, with weights that depend only on the order of the parameters."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * 0.3)
    return zcp(network, images(), torch.arange(12) % CLASSES, seed=seed)


class Written(nn.Module):
    """A network with a forward pass given as a function of its parts and the input."""

    def __init__(self, forward: Callable[[Any, Tensor], Any], **parts: nn.Module | nn.Parameter):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self.write = forward

    def forward(self, x: Tensor) -> Any:
        return self.write(self, x)


def layers() -> dict[str, nn.Module]:
    """Parts of a residual network with a squeeze-and-excitation block."""
    return {
        "stem": nn.Conv2d(3, WIDTH, 3, padding=1),
        "norm": nn.BatchNorm2d(WIDTH),
        "body": nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False),
        "norm2": nn.BatchNorm2d(WIDTH),
        "squeeze": nn.Linear(WIDTH, 4),
        "excite": nn.Linear(4, WIDTH),
        "head": nn.Linear(WIDTH, CLASSES),
    }


def gate(n: Any, x: Tensor) -> Tensor:
    return x * torch.sigmoid(n.excite(torch.relu(n.squeeze(x.mean((2, 3))))))[:, :, None, None]


# ---- pair 1: activations as modules, functions, methods, in place


def activated(relu: Callable[[Any, Tensor], Tensor], **more: nn.Module) -> nn.Module:
    def forward(n: Any, x: Tensor) -> Tensor:
        x = relu(n, n.norm(n.stem(x)))
        x = relu(n, n.body(x))
        return n.head(relu(n, n.norm2(x)).mean((2, 3)))

    return Written(forward, **{k: v for k, v in layers().items() if k not in ("squeeze", "excite")}, **more)


ACTIVATIONS = {
    "reused module": lambda: activated(lambda n, x: n.active(x), active=nn.ReLU()),
    "in-place module": lambda: activated(lambda n, x: n.active(x), active=nn.ReLU(inplace=True)),
    "torch.relu": lambda: activated(lambda n, x: torch.relu(x)),
    "functional.relu": lambda: activated(lambda n, x: functional.relu(x)),
    "functional.relu in place": lambda: activated(lambda n, x: functional.relu(x, True)),
    "method": lambda: activated(lambda n, x: x.relu()),
    "method in place": lambda: activated(lambda n, x: x.relu_()),
    "clamp": lambda: activated(lambda n, x: x.clamp(min=0)),
    "clamp_min": lambda: activated(lambda n, x: torch.clamp_min(x, 0.0)),
}

# ---- pair 2: pooling, after a squeeze-and-excitation block


def pooled(pool: Callable[[Any, Tensor], Tensor], **more: nn.Module) -> nn.Module:
    def forward(n: Any, x: Tensor) -> Tensor:
        x = torch.relu(n.norm(n.stem(x)))
        x = torch.relu(n.norm2(n.body(x)))
        scale = torch.sigmoid(n.excite(torch.relu(n.squeeze(pool(n, x)))))
        return n.head(pool(n, x * scale[:, :, None, None]))

    return Written(forward, **layers(), **more)


POOLINGS = {
    "AdaptiveAvgPool2d": lambda: pooled(lambda n, x: n.pooling(x).flatten(1), pooling=nn.AdaptiveAvgPool2d(1)),
    "AdaptiveAvgPool2d and Flatten": lambda: pooled(
        lambda n, x: n.pooling(x), pooling=nn.Sequential(nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten())
    ),
    "AvgPool2d": lambda: pooled(lambda n, x: n.pooling(x).squeeze(3).squeeze(2), pooling=nn.AvgPool2d(8)),
    "mean": lambda: pooled(lambda n, x: x.mean((2, 3))),
    "torch.mean": lambda: pooled(lambda n, x: torch.mean(x, dim=(-2, -1), keepdim=True).view(len(x), -1)),
    "one dimension after the other": lambda: pooled(lambda n, x: x.mean(3).mean(2)),
    "flattened": lambda: pooled(lambda n, x: x.flatten(2).mean(-1)),
    "functional": lambda: pooled(lambda n, x: functional.adaptive_avg_pool2d(x, 1)[:, :, 0, 0]),
    "avg_pool2d": lambda: pooled(lambda n, x: functional.avg_pool2d(x, x.shape[2:]).reshape(len(x), -1)),
    "sum": lambda: pooled(lambda n, x: x.sum((2, 3)) / 64),
}

# ---- pair 3: layers and normalisations as modules and as functions of parameters


def of_modules() -> nn.Module:
    parts = layers()

    def forward(n: Any, x: Tensor) -> Tensor:
        x = torch.relu(n.norm(n.stem(x)))
        return n.head(gate(n, torch.relu(n.norm2(n.body(x)))).mean((2, 3)))

    return Written(forward, **parts)


def of_parameters(conv: Callable[..., Tensor], norm: Callable[..., Tensor]) -> nn.Module:
    weights: dict[str, nn.Module | nn.Parameter] = {}
    for name, part in layers().items():
        weights[f"{name}_w"] = nn.Parameter(part.weight.detach().clone())  # type: ignore[operator, union-attr]
        if part.bias is not None:
            weights[f"{name}_b"] = nn.Parameter(part.bias.detach().clone())  # type: ignore[operator, union-attr]

    def forward(n: Any, x: Tensor) -> Tensor:
        x = torch.relu(norm(conv(x, n.stem_w, n.stem_b), n.norm_w, n.norm_b))
        x = torch.relu(norm(conv(x, n.body_w, None), n.norm2_w, n.norm2_b))
        hidden = torch.relu(functional.linear(x.mean((2, 3)), n.squeeze_w, n.squeeze_b))
        x = x * torch.sigmoid(functional.linear(hidden, weight=n.excite_w, bias=n.excite_b))[:, :, None, None]
        return functional.linear(x.mean((2, 3)), n.head_w, n.head_b)

    return Written(forward, **weights)


def functional_norm(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    return functional.batch_norm(x, None, None, w, b, training=True)


def torch_norm(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    return torch.batch_norm(x, w, b, None, None, True, 0.1, 1e-5, False)


def biased_after(x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
    y = torch.conv2d(x, w, padding=1)
    return y if b is None else y + b[:, None, None]


LAYERS = {
    "modules": of_modules,
    "functional": lambda: of_parameters(lambda x, w, b: functional.conv2d(x, w, b, padding=1), functional_norm),
    "keywords": lambda: of_parameters(
        lambda x, w, b: functional.conv2d(input=x, weight=w, bias=b, padding=1), functional_norm
    ),
    "torch": lambda: of_parameters(lambda x, w, b: torch.conv2d(x, w, b, padding=1), torch_norm),
    "bias added": lambda: of_parameters(biased_after, functional_norm),
}

# ---- pair 4: residual additions


def residual(add: Callable[[Any, Tensor, Tensor], Tensor]) -> nn.Module:
    def forward(n: Any, x: Tensor) -> Tensor:
        x = torch.relu(n.norm(n.stem(x)))
        return n.head(add(n, n.norm2(n.body(x)), x).mean((2, 3)))

    return Written(forward, **{k: v for k, v in layers().items() if k not in ("squeeze", "excite")})


def added_in_place(n: Any, y: Tensor, x: Tensor) -> Tensor:
    y += x
    return y


class Sum(nn.Module):
    def forward(self, y: Tensor, x: Tensor) -> Tensor:
        return y + x


ADDITIONS = {
    "operator": lambda: residual(lambda n, y, x: y + x),
    "torch.add": lambda: residual(lambda n, y, x: torch.add(y, x)),
    "method": lambda: residual(lambda n, y, x: y.add(x)),
    "in place": lambda: residual(added_in_place),
    "module": lambda: residual(lambda n, y, x: Sum()(y, x)),
    "stacked": lambda: residual(lambda n, y, x: torch.stack([y, x]).sum(0)),
    "stacked last": lambda: residual(lambda n, y, x: torch.stack([y, x], dim=-1).sum(-1)),
}

# ---- pair 5: linear layers as products


def product(linear: Callable[[Tensor, nn.Linear], Tensor]) -> nn.Module:
    def forward(n: Any, x: Tensor) -> Tensor:
        x = torch.relu(n.norm(n.stem(x)))
        hidden = torch.relu(linear(x.mean((2, 3)), n.squeeze))
        x = x * torch.sigmoid(linear(hidden, n.excite))[:, :, None, None]
        return linear(x.mean((2, 3)), n.head)

    return Written(forward, **{k: v for k, v in layers().items() if k not in ("body", "norm2")})


PRODUCTS = {
    "module": lambda: product(lambda x, m: m(x)),
    "functional": lambda: product(lambda x, m: functional.linear(x, m.weight, m.bias)),
    "operator": lambda: product(lambda x, m: x @ m.weight.t() + m.bias),
    "matmul": lambda: product(lambda x, m: torch.add(m.bias, torch.matmul(x, m.weight.T))),
    "addmm": lambda: product(lambda x, m: torch.addmm(m.bias, x, m.weight.t())),
    "in place": lambda: product(lambda x, m: x.mm(m.weight.t()).add_(m.bias)),
    "1x1 convolution": lambda: product(
        lambda x, m: functional.conv2d(x[:, :, None, None], m.weight[:, :, None, None], m.bias).flatten(1)
    ),
}

# ---- pair 6: networks without pooling, with lazy modules


def flattening(modules: bool) -> nn.Module:
    parts = {"stem": nn.Conv2d(3, WIDTH, 3, stride=2), "head": nn.Linear(9 * WIDTH, CLASSES)}
    if modules:
        return nn.Sequential(parts["stem"], nn.ReLU(), nn.Flatten(), parts["head"])
    return Written(lambda n, x: n.head(n.stem(x).relu().view(len(x), -1)), **parts)


FLATTENINGS = {"modules": lambda: flattening(True), "methods": lambda: flattening(False)}

PAIRS = {
    "activations": ACTIVATIONS, "poolings": POOLINGS, "layers": LAYERS, "additions": ADDITIONS, "products": PRODUCTS,
    "flattenings": FLATTENINGS,
}  # fmt: skip


@pytest.mark.parametrize(("pair", "way"), [(pair, way) for pair, ways in PAIRS.items() for way in list(ways)[1:]])
def test_every_proxy_of_equal_networks_is_equal_however_they_are_written(pair: str, way: str) -> None:
    first, other = next(iter(PAIRS[pair].values()))(), PAIRS[pair][way]()
    x = images()
    with torch.no_grad():
        for network in (first, other):
            scores(network)  # equal weights
    torch.testing.assert_close(first(x), other(x), msg="the test's networks are not equal")
    expected, found = scores(first), scores(other)
    assert not expected.reasons
    assert not found.reasons
    assert tuple(expected.values) == PROXIES
    assert found.values == pytest.approx(expected.values, rel=2e-3)
    exact = {name: expected.values[name] for name in ("params", "flops", "l2_norm")}
    assert {name: found.values[name] for name in exact} == pytest.approx(exact, rel=1e-9)
    assert count_network(other, (3, 8, 8)) == count_network(first, (3, 8, 8))


def test_zen_is_that_of_the_features_before_the_last_pooling() -> None:
    """Without batch normalisation and with one linear layer, from the definition: log E|f(x) - f(x + 0.01 e)|."""
    torch.manual_seed(0)
    stem, head = nn.Conv2d(3, WIDTH, 1, bias=False), nn.Linear(WIDTH, CLASSES, bias=False)
    network = Written(lambda n, x: n.head(torch.sigmoid(n.stem(x)).mean((2, 3))), stem=stem, head=head)
    generator = torch.Generator().manual_seed(7)
    weight = torch.randn(stem.weight.shape, generator=generator)
    torch.randn(head.weight.shape, generator=generator)
    x, change = (torch.randn((12, 3, 8, 8), generator=generator) for _ in range(2))
    a, b = (torch.sigmoid(functional.conv2d(part, weight)) for part in (x, x + 0.01 * change))
    expected = math.log(float((a - b).abs().flatten(1).sum(1).mean()))
    assert scores(network, seed=7).values["zen"] == pytest.approx(expected, rel=1e-5)


def test_zen_of_a_dense_prediction_is_that_of_its_output_with_squeeze_and_excitation_too() -> None:
    parts = {**layers(), "last": nn.Conv2d(WIDTH, CLASSES, 1)}
    del parts["head"]
    network = Written(lambda n, x: n.last(gate(n, n.norm2(n.body(torch.relu(n.norm(n.stem(x))))))), **parts)
    assert zcp(network, images(), proxies=["zen"]).values["zen"] == pytest.approx(
        zcp(Written(lambda n, x: nn.Identity()(n.net(x)), net=network), images(), proxies=["zen"]).values["zen"]
    )


def test_an_auxiliary_head_does_not_change_the_features_of_zen() -> None:
    def forward(n: Any, x: Tensor, aux: bool) -> Any:
        x = torch.relu(n.norm(n.stem(x)))
        middle = x
        x = torch.relu(n.norm2(n.body(x)))
        logits = n.head(x.mean((2, 3)))
        return {"logits": logits, "auxiliary": n.head(middle.mean((2, 3)))} if aux else logits

    parts = {k: v for k, v in layers().items() if k not in ("squeeze", "excite")}
    alone, both = (Written(lambda n, x, aux=aux: forward(n, x, aux), **parts) for aux in (False, True))
    expected, found = scores(alone), scores(both)
    assert found.output == "logits"
    assert found.values["zen"] == expected.values["zen"]


# ---- several outputs


def returning(what: Callable[[Tensor, Tensor], Any], features: int = 16) -> nn.Module:
    torch.manual_seed(3)
    body = nn.Sequential(
        nn.Conv2d(3, features, 3), nn.BatchNorm2d(features), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )

    def forward(n: Any, x: Tensor) -> Any:
        found = n.body(x)
        return what(found, n.head(found))

    return Written(forward, body=body, head=nn.Linear(features, CLASSES))


@pytest.mark.parametrize(
    ("what", "options", "name"),
    [
        (lambda f, y: (f, y), {"classes": CLASSES}, "1"),
        (lambda f, y: (f, y), {"output": 1}, "1"),
        (lambda f, y: [y, f], {"classes": CLASSES}, "0"),
        (lambda f, y: {"features": f, "logits": y}, {}, "logits"),
        (lambda f, y: {"features": f, "logits": y}, {"output": "logits"}, "logits"),
        (lambda f, y: (None, {"a": f, "b": (y, None)}), {"classes": CLASSES}, "1.b.0"),
        (lambda f, y: (y, f[:, :, None, None]), {}, "0"),  # labels say that logits have two dimensions
        (lambda f, y: (y,), {}, "0"),
    ],
)
def test_of_several_outputs_the_logits_are_taken_and_named(
    what: Callable[[Tensor, Tensor], Any], options: dict[str, Any], name: str
) -> None:
    labels = torch.arange(12) % CLASSES
    expected = zcp(returning(lambda f, y: y), images(), labels)
    found = zcp(returning(what), images(), labels, **options)
    assert expected.output == ""
    assert found.output == name
    assert found.values == pytest.approx(expected.values, rel=1e-5)


@pytest.mark.parametrize(
    ("what", "options", "message"),
    [
        (lambda f, y: (f, y), {}, r"returns 0 \(12, 16\), 1 \(12, 4\): several have at least 4 classes; say which"),
        (lambda f, y: (y, y), {"classes": CLASSES}, "several have 4 classes"),
        (lambda f, y: (f, y), {"classes": 7}, "none has 7 classes"),
        (lambda f, y: (f, y), {"output": 2}, r"has no output '2'; it returns 0 \(12, 16\), 1 \(12, 4\)"),
        (lambda f, y: "nothing", {}, "returns a str, not a tensor of logits"),
    ],
)
def test_outputs_that_may_be_the_logits_or_not_are_refused(
    what: Callable[[Tensor, Tensor], Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidValue, match=message):
        zcp(returning(what), images(), torch.arange(12) % CLASSES, **options)


# ---- what cannot be seen is said


def test_scripted_networks_have_counts_only() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    found = zcp(scripted, images(), torch.arange(12) % CLASSES, ["params", "snip", "nwot", "synflow", "zen"])
    assert set(found.reasons) == {"snip", "nwot", "synflow", "zen"}
    assert all("scripted" in why for why in found.reasons.values())


def test_weights_under_a_parametrisation_count_and_cannot_be_drawn() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, CLASSES))
    expected = zcp(network, images(), torch.arange(12) % CLASSES)
    nn.utils.parametrizations.weight_norm(network[0])
    found = zcp(network, images(), torch.arange(12) % CLASSES)
    assert set(found.reasons) == {"zen"}
    for name in ("snip", "grad_norm", "l2_norm", "fisher", "synflow", "nwot"):
        assert found.values[name] == pytest.approx(expected.values[name], rel=1e-4), name


def test_attention_counts_its_weights_as_linear_layers_do() -> None:
    class ByHand(nn.Module):
        def __init__(self, attention: nn.MultiheadAttention):
            super().__init__()
            self.attention = attention

        def forward(self, x: Tensor) -> Tensor:
            a = self.attention
            q, k, v = functional.linear(x, a.in_proj_weight, a.in_proj_bias).chunk(3, dim=-1)
            q, k, v = (part.unflatten(-1, (2, 4)).transpose(1, 2) for part in (q, k, v))
            mixed = functional.softmax(q @ k.mT / 2.0, dim=-1) @ v
            return functional.linear(mixed.transpose(1, 2).flatten(2), a.out_proj.weight, a.out_proj.bias).mean(1)

    torch.manual_seed(0)
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    module = Written(lambda n, x: n.a(x, x, x, need_weights=False)[0].mean(1), a=attention)
    x = torch.randn(12, 5, 8)
    torch.testing.assert_close(module(x), ByHand(attention)(x))
    names = ["snip", "grad_norm", "l2_norm", "grasp", "plain", "jacov", "params", "flops", "zen", "synflow"]
    found, expected = (zcp(n, x, torch.arange(12) % 8, names) for n in (module, ByHand(attention)))
    assert found.values == pytest.approx(expected.values, rel=1e-3)
    assert "nn.MultiheadAttention" in zcp(module, x, torch.arange(12) % 8, ["fisher"]).reasons["fisher"]


def test_a_compiled_network_has_the_values_of_the_network() -> None:
    network = of_modules()
    assert scores(torch.compile(network)).values == scores(network).values  # type: ignore[arg-type]
