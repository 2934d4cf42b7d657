"""Slot attention against its formula written out place by place, and its symmetries."""

from __future__ import annotations

import math

import pytest
import torch

from objbench.methods.parts.attention import SlotAttentionCore, compete

B, K, N, D, E = 2, 3, 5, 4, 6


@pytest.fixture
def core():
    torch.manual_seed(0)
    return SlotAttentionCore(features=E, width=D, hidden=8, iterations=3, bias=False, norm_eps=1e-3)


@pytest.fixture
def scene():
    torch.manual_seed(1)
    return torch.randn(B, N, E), torch.randn(B, K, D)


def test_one_round_is_the_formula_of_the_paper():
    torch.manual_seed(2)
    q, k, v = torch.randn(B, K, D), torch.randn(B, N, D), torch.randn(B, N, E)
    updates, attention = compete(q, k, v)
    for b in range(B):
        shares = []
        for n in range(N):
            scores = [math.exp(float(k[b, n] @ q[b, j]) / math.sqrt(D)) for j in range(K)]
            shares.append([score / sum(scores) for score in scores])
        torch.testing.assert_close(attention[b], torch.tensor(shares))
        for j in range(K):
            weights = torch.tensor([share[j] for share in shares])
            torch.testing.assert_close(updates[b, j], (weights / weights.sum()) @ v[b])


def test_a_slot_that_no_place_attends_to_gets_the_mean_of_all_places():
    q = torch.tensor([[[1e3], [-1e3]]])
    v = torch.arange(3.0).reshape(1, 3, 1)
    updates, attention = compete(q, torch.ones(1, 3, 1), v)
    assert attention[0, :, 1].tolist() == [0, 0, 0]
    assert updates[0, 1].item() == pytest.approx(1.0)


def test_attention_is_shared_out_among_the_slots(core, scene):
    _, attention = core(*scene)
    assert attention.shape == (B, N, K)
    torch.testing.assert_close(attention.sum(2), torch.ones(B, N))


def test_order_of_slots_is_kept_and_order_of_places_does_not_matter(core, scene):
    inputs, start = scene
    slots, attention = core(inputs, start)
    swapped, swapped_attention = core(inputs, start[:, [2, 0, 1]])
    torch.testing.assert_close(swapped, slots[:, [2, 0, 1]])
    torch.testing.assert_close(swapped_attention, attention[:, :, [2, 0, 1]])
    torch.testing.assert_close(core(inputs.flip(1), start)[0], slots)


def test_all_rounds_are_the_algorithm_of_the_paper(core, scene):
    inputs, slots = core.norm_inputs(scene[0]), scene[1]
    with torch.no_grad():
        for _ in range(3):
            updates, attention = compete(
                core.query(core.norm_slots(slots)), core.key(inputs), core.value(inputs)
            )
            slots = torch.stack([core.gru(updates[:, k], slots[:, k]) for k in range(K)], dim=1)
            slots = slots + core.mlp(core.norm_mlp(slots))
        found, last = core(*scene)
    torch.testing.assert_close(found, slots)
    torch.testing.assert_close(last, attention)


def test_the_gru_starts_with_glorot_s_orthogonal_and_no_values(core):
    torch.manual_seed(0)
    core.start_gru()
    gru = core.gru
    torch.testing.assert_close(gru.weight_hh.T @ gru.weight_hh, torch.eye(D))
    bound = math.sqrt(6 / (D + 3 * D))
    assert 0.9 * bound < gru.weight_ih.abs().max() <= bound
    assert not gru.bias_ih.any()
    assert not gru.bias_hh.any()


def test_updates_are_the_input_of_the_gru_and_slots_its_state(core, scene):
    with torch.no_grad():
        for parameter in (*core.gru.parameters(), *core.mlp.parameters()):
            parameter.zero_()
        core.gru.bias_ih[D : 2 * D] = 100  # the gate that keeps the state is open
    inputs, start = scene
    torch.testing.assert_close(core(inputs, start)[0], start)


def test_each_place_is_normalised_by_itself(core, scene):
    inputs, _ = scene
    scaled = inputs.clone()
    scaled[:, 0] *= 7
    normed, again = core.norm_inputs(inputs), core.norm_inputs(scaled)
    torch.testing.assert_close(normed[:, 1:], again[:, 1:], rtol=0, atol=0)
    torch.testing.assert_close(normed.mean(2), torch.zeros(B, N), rtol=0, atol=1e-6)


def test_under_autocast_competition_and_state_stay_in_float32(core, scene):
    with torch.autocast("cpu", torch.bfloat16):
        slots, attention = core(*scene)
    assert slots.dtype == attention.dtype == torch.float32
    torch.testing.assert_close(attention.sum(2), torch.ones(B, N))
