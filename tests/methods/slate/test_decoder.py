"""The transformer: no token sees a later one; what it computes, by torch's own attention; initial gains."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import layer_norm

from objbench.methods.slate.decoder import Attention, TokenDecoder, TokenEmbedding

PLACES, VOCABULARY = 6, 9


def parts(dropout=0.0, blocks=2):
    torch.manual_seed(0)
    embedding = TokenEmbedding(VOCABULARY, PLACES, 8, dropout)
    return embedding, TokenDecoder(8, 5, VOCABULARY, blocks, 2, dropout)


@pytest.mark.parametrize("place", range(PLACES))
def test_a_token_changes_no_logits_of_itself_or_before_it(place):
    embedding, decoder = parts()
    tokens, slots = torch.randint(VOCABULARY, (1, PLACES)), torch.randn(1, 3, 5)
    other = tokens.clone()
    other[0, place] = (other[0, place] + 1) % VOCABULARY
    one, two = (decoder(embedding(each)[:, :-1], slots) for each in (tokens, other))
    assert torch.equal(one[:, : place + 1], two[:, : place + 1])
    later = (one - two)[:, place + 1 :].abs().amax(2)
    assert (later > 1e-6).all()  # nothing of the last one, which no other follows


def test_every_logit_depends_on_every_slot():
    embedding, decoder = parts()
    tokens, slots = torch.randint(VOCABULARY, (1, PLACES)), torch.randn(1, 3, 5)
    before = decoder(embedding(tokens)[:, :-1], slots)
    for slot in range(3):
        changed = slots.clone()
        changed[0, slot] += 1
        after = decoder(embedding(tokens)[:, :-1], changed)
        assert ((after - before).abs().amax(2) > 1e-6).all()
    torch.testing.assert_close(decoder(embedding(tokens)[:, :-1], slots.flip(1)), before)


def test_tokens_follow_the_first_one_and_have_positions():
    embedding, _ = parts()
    tokens = torch.tensor([[1, 1, 4, 0, 2, 8]])
    found = embedding(tokens)
    words = embedding.words.weight[torch.tensor([VOCABULARY, *tokens[0]])]
    torch.testing.assert_close(found[0], words + embedding.positions[0])


def test_attention_is_that_of_torch():
    torch.manual_seed(0)
    ours = Attention(8, 2, 0.0, 1.0, causal=True)
    theirs = nn.MultiheadAttention(8, 2, bias=False, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key.weight, ours.value.weight]))
        theirs.out_proj.weight.copy_(ours.out.weight)
    x = torch.randn(3, 5, 8)
    later = torch.ones(5, 5, dtype=torch.bool).triu(1)
    torch.testing.assert_close(ours(x, x), theirs(x, x, x, attn_mask=later, need_weights=False)[0])


def normed(x, norm):
    return layer_norm(x, (8,), norm.weight, norm.bias)


def test_the_first_block_adds_to_the_normed_tokens_and_others_to_the_tokens():
    embedding, decoder = parts()
    x, slots = embedding(torch.randint(VOCABULARY, (2, PLACES)))[:, :-1], torch.randn(2, 3, 5)
    logits = decoder(x, slots)
    context = slots @ decoder.slots.weight.T
    for index, block in enumerate(decoder.blocks):
        before = normed(x, block.self_norm)
        x = (before if index == 0 else x) + block.self_attention(before, before)
        x = x + block.cross_attention(normed(x, block.cross_norm), context)
        hidden = (normed(x, block.mlp_norm) @ block.mlp[0].weight.T + block.mlp[0].bias).relu()
        x = x + hidden @ block.mlp[2].weight.T + block.mlp[2].bias
    torch.testing.assert_close(logits, normed(x, decoder.norm) @ decoder.head.weight.T)


def test_last_layers_of_each_part_begin_with_a_gain_for_the_number_of_blocks():
    torch.manual_seed(0)
    decoder = TokenDecoder(192, 64, 100, 4, 4, 0.1)
    gain = 12**-0.5

    def largest(linear):
        return float(linear.weight.detach().abs().max())

    for block in decoder.blocks:
        for attention in (block.self_attention, block.cross_attention):
            bound = (6 / 384) ** 0.5
            assert largest(attention.out) == pytest.approx(gain * bound, rel=0.01)
            for linear in (attention.query, attention.key, attention.value):
                assert largest(linear) == pytest.approx(bound, rel=0.01)
        assert largest(block.mlp[0]) == pytest.approx((6 / 192) ** 0.5, rel=0.01)  # Kaiming's
        assert largest(block.mlp[2]) == pytest.approx(gain * (6 / (5 * 192)) ** 0.5, rel=0.01)
        assert not block.mlp[0].bias.any()
        assert not block.mlp[2].bias.any()


def test_dropout_is_in_the_embedding_and_in_every_part_of_a_block_and_in_training_alone():
    embedding, decoder = parts(dropout=0.5, blocks=1)
    tokens, slots = torch.randint(VOCABULARY, (1, PLACES)), torch.randn(1, 3, 5)
    (block,) = decoder.blocks
    for module in (embedding, block.self_attention, block.cross_attention, block.mlp[3]):
        embedding.eval()
        decoder.eval()
        assert torch.equal(*(decoder(embedding(tokens)[:, :-1], slots) for _ in range(2)))
        module.train()
        assert not torch.equal(*(decoder(embedding(tokens)[:, :-1], slots) for _ in range(2)))


def test_positions_begin_with_a_deviation_of_nearly_one():
    torch.manual_seed(0)
    positions = TokenEmbedding(10, 400, 50, 0.1).positions.detach()
    assert float(positions.std()) == pytest.approx(0.88, abs=0.02)  # cut at -2 and 2
    assert float(positions.abs().max()) <= 2
