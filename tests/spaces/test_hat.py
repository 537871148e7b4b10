"""HAT's translators: counts, greedy decoding, parts that make up the whole, features and representatives."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

import nastk
from nastk.errors import InvalidArchitecture, InvalidValue
from nastk.oracles.counts import count_network
from nastk.spaces._hat_network import Attention, Decoder, KeysAndValues, TeacherForced, positions
from nastk.spaces.hat import FEATURES, HAT
from nastk.testing import check_space

SPACE = HAT()
SMALL = {"vocabulary": 50, "length": 3, "shrink": 16}
TEXT = "e640-f2048,1024,512,512,3072,512-h4,8,2,2,4,8|e512-f1024,2048-s8,2-c2,4-a1,3"


def test_a_variant_keeps_the_contract_of_spaces() -> None:
    check_space(HAT("iwslt"), n=8, part="encoder", **SMALL)


def test_variants_have_the_papers_options() -> None:
    assert SPACE.size == 2 * 2 * 6 * (4 * 3) ** 6 * (4 * 3 * 3 * 3) ** 6
    assert HAT("wmt").choices[3].options == ("f1024", "f2048", "f3072")
    assert HAT("iwslt").choices[9].options == ("h2", "h4")
    assert HAT("wmt").identity() != HAT("iwslt").identity() != SPACE.identity()
    with pytest.raises(InvalidValue, match="variant is 'ted', must be one of all, wmt, iwslt"):
        HAT("ted")


def test_text_ends_where_the_decoder_does() -> None:
    arch = SPACE.parse(TEXT)
    assert SPACE.format(arch) == TEXT
    assert np.array_equal(SPACE.canonical(arch[None])[0], arch)
    written = arch.copy()
    written[-1] = 2  # of a layer that does not exist
    assert np.array_equal(SPACE.parse(SPACE.format(written)), written)
    assert SPACE.keys(written[None]) == SPACE.keys(arch[None])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("e640", "e641"),
        ("f2048,1024", "f2048"),
        ("-a1,3", "-a1"),
        ("a1,3", "a1,4"),
        ("|", "-"),
        ("c2,4", "c2,"),
        ("", "x"),
    ],
)
def test_a_text_of_another_space_is_refused_in_one_line(old: str, new: str) -> None:
    with pytest.raises(InvalidArchitecture) as refused:
        SPACE.parse(TEXT.replace(old, new, 1))
    assert "\n" not in str(refused.value)


def test_features_are_means_over_layers_that_exist() -> None:
    found = dict(zip(FEATURES, SPACE.features(SPACE.parse(TEXT))[0], strict=True))
    assert found == {
        "encoder_embed_dim": 640, "encoder_layer_num": 6,
        "encoder_ffn_embed_dim_avg": (2048 + 1024 + 3 * 512 + 3072) / 6,
        "encoder_self_attention_heads_avg": 28 / 6,
        "decoder_embed_dim": 512, "decoder_layer_num": 2, "decoder_ffn_embed_dim_avg": 1536,
        "decoder_self_attention_heads_avg": 5, "decoder_ende_attention_heads_avg": 3,
        "decoder_arbitrary_ende_attn_avg": 2,
    }  # fmt: skip


def test_representatives_have_the_features() -> None:
    archs = SPACE.sample(50, 0)
    found = SPACE.with_features(SPACE.features(archs))
    assert np.array_equal(SPACE.as_archs(found), found)
    np.testing.assert_allclose(SPACE.features(found), SPACE.features(archs), rtol=1e-12)
    assert np.array_equal(SPACE.with_features(SPACE.features(found)), found)
    wrong = SPACE.features(archs[:1])
    for place, value in ((0, 600), (1, 5), (2, 600.5), (5, 7), (9, 3.5)):
        changed = wrong.copy()
        changed[0, place] = value
        with pytest.raises(InvalidArchitecture, match="hat: no"):
            SPACE.with_features(changed)


@pytest.mark.parametrize(("part", "shrink"), [("whole", 64), ("encoder", 1), ("decoder", 1)])
def test_closed_form_counts_are_those_of_the_built_networks(part: str, shrink: int) -> None:
    options = {**SMALL, "part": part, "shrink": shrink}
    for arch in SPACE.sample(1, 1):
        with torch.device("meta"):
            counted = count_network(SPACE.build(arch, **options), SPACE.input_shape(**options))
        statics = SPACE.statics(arch[None], **options)
        assert counted == {name: statics[name][0] for name in counted}


def test_encoder_and_decoder_are_the_whole() -> None:
    arch = SPACE.sample(1, 2)[0]
    whole = SPACE.build(arch, **SMALL).eval()
    encoder, decoder = (SPACE.build(arch, part=part, **SMALL).eval() for part in ("encoder", "decoder"))
    encoder.load_state_dict(whole.encoder.state_dict())
    decoder.load_state_dict(whole.decoder.state_dict())
    tokens = torch.randint(0, 50, (2, 3))
    memory = functional.pad(encoder(tokens), (0, 40 - encoder.width))  # the decoder takes the first channels
    assert memory.shape[1:] == SPACE.input_shape(part="decoder", **SMALL)
    assert torch.equal(decoder(memory), whole(tokens))
    statics = [SPACE.statics(arch[None], part=part, **SMALL) for part in ("whole", "encoder", "decoder")]
    for name in ("params", "flops"):
        assert statics[0][name] == statics[1][name] + statics[2][name]
    for wrong in ({"part": "head"}, {"shrink": 3}):
        with pytest.raises(InvalidValue, match="must be one of"):
            SPACE.build(arch, **wrong)


def _attend(asks: Attention, kept: KeysAndValues, x: torch.Tensor, over: torch.Tensor, causal: bool) -> torch.Tensor:
    projections = ((asks.query, x), (kept.key, over), (kept.value, over))
    queries, keys, values = (of(y).unflatten(2, (asks.heads, -1)) for of, y in projections)
    scores = torch.einsum("bqhc,bkhc->bhqk", queries, keys) / math.sqrt(queries.shape[-1])
    if causal:
        scores = scores.masked_fill(torch.ones_like(scores, dtype=torch.bool).triu(1), -torch.inf)
    return asks.output(torch.einsum("bhqk,bkhc->bqhc", scores.softmax(-1), values).flatten(2))


def test_decoding_with_kept_keys_is_decoding_of_the_whole_sentence() -> None:
    """All tokens at once under a causal mask, given the tokens that greedy decoding chose, have the same logits."""
    torch.manual_seed(0)
    network = SPACE.build(SPACE.parse(TEXT), vocabulary=50, length=7, shrink=4).eval()
    decoder: Decoder = network.decoder
    with torch.no_grad():
        for layer in decoder.layers:  # else a token is followed by itself, whose embedding it still is
            layer.perceptron.down.weight.mul_(50)
    memory = network.encoder(torch.randint(0, 50, (2, 6)))
    logits = decoder(memory)
    chosen = logits.argmax(-1)
    tokens = torch.cat([torch.zeros(2, 1, dtype=torch.long), chosen[:, :-1]], dim=1)
    assert len(chosen.unique()) > 1
    x = decoder.embedding(tokens) * math.sqrt(128)
    x = x + positions(0, 7, 128, x)
    for layer, reach in zip(decoder.layers, (1, 3), strict=True):
        heard = torch.cat([memory[:, i] for i in range(reach)], dim=1)
        x = layer.first(x + _attend(layer.attention, layer.remember, x, x, causal=True))
        x = layer.second(x + _attend(layer.cross, layer.hear, x, heard, causal=False))
        x = layer.third(x + layer.perceptron(x))
    torch.testing.assert_close(x @ decoder.embedding.weight.T, logits, rtol=1e-4, atol=1e-4)


def test_the_logits_of_given_tokens_are_those_of_decoding_them() -> None:
    torch.manual_seed(0)
    network = SPACE.build(SPACE.parse(TEXT), vocabulary=50, length=7, shrink=4).eval()
    with torch.no_grad():
        for layer in network.decoder.layers:
            layer.perceptron.down.weight.mul_(50)
        tokens = torch.randint(0, 50, (2, 6))
        greedy = network(tokens)
        chosen = greedy.argmax(-1)
        forced = TeacherForced(network)
        torch.testing.assert_close(forced(tokens, chosen), greedy, rtol=1e-4, atol=1e-4)
        other = chosen.clone()
        other[:, 3] = (other[:, 3] + 1) % 50  # says nothing of the tokens up to itself
        torch.testing.assert_close(forced(tokens, other)[:, :4], greedy[:, :4], rtol=1e-4, atol=1e-4)
        assert not torch.allclose(forced(tokens, other)[:, 4:], greedy[:, 4:], atol=1e-3)


def test_attention_reaches_the_last_encoder_layers() -> None:
    graph = SPACE.graph(SPACE.parse(TEXT))
    assert set(graph.predecessors("decoder 1")) == {"decoder", "encoder 6"}
    assert set(graph.predecessors("decoder 2")) == {"decoder 1", "encoder 6", "encoder 5", "encoder 4"}
    assert nastk.space("hat").name == "hat"
