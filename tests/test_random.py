from __future__ import annotations

import math

import pytest
import torch

from objbench.random import MASK32, below, normal, philox, seed_from, split_seed, uniform, uniform64


def words(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


# kat_vectors of Random123 (Salmon et al. 2011), philox4x32 with 10 rounds
VECTORS = [
    ("0 0 0 0", "0 0", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


@pytest.mark.parametrize(("counter", "key", "expected"), VECTORS)
def test_philox_gives_the_published_words(counter: str, key: str, expected: str) -> None:
    k0, k1 = words(key)
    assert philox(torch.tensor(words(counter)), (k0, k1)).tolist() == words(expected)


def test_philox_takes_a_key_per_counter() -> None:
    counters = torch.tensor([words(counter) for counter, _, _ in VECTORS])
    keys = torch.tensor([words(key) for _, key, _ in VECTORS])
    assert philox(counters, keys).tolist() == [words(expected) for _, _, expected in VECTORS]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_every_device_gives_the_same_bits() -> None:
    counters = torch.arange(4000).view(1000, 4)
    assert torch.equal(philox(counters.cuda(), (1, 2)).cpu(), philox(counters, (1, 2)))
    seeds = torch.arange(100) * 0x123456789ABCDEF % 2**62
    assert torch.equal(normal(seeds.cuda(), 3, (1001,)).cpu(), normal(seeds, 3, (1001,)))


def test_seed_from_is_fixed_and_fits_an_int64() -> None:
    # printf '["tetrominoes", 0]' | sha256sum, the first 16 digits without their last bit
    assert seed_from("tetrominoes", 0) == 3702726046179372807
    seeds = [seed_from("seed", i) for i in range(1000)]
    assert min(seeds) >= 0
    assert 2**62 < max(seeds) < 2**63
    torch.manual_seed(max(seeds))


def test_seed_from_tells_apart_what_looks_alike() -> None:
    alike = [
        ("a", "b"),
        ("ab",),
        ("a,b",),
        ("a", "b", ""),
        ("1",),
        (1,),
        ("a", 1),
        ("a", "1"),
        (),
        ('a","b',),
    ]
    assert len({seed_from(*parts) for parts in alike}) == len(alike)


def test_split_seed_keeps_all_bits() -> None:
    assert split_seed(0x0123456789ABCDEF) == (0x89ABCDEF, 0x01234567)


def test_below_reaches_both_ends_and_takes_a_bound_per_word() -> None:
    ends = torch.tensor([0, MASK32])
    assert below(ends, 19).tolist() == [0, 18]
    assert below(ends, 2**31 - 1).tolist() == [0, 2**31 - 2]
    assert below(ends[1], torch.tensor([1, 16, 36])).tolist() == [0, 15, 35]


def test_uniform_stays_below_one() -> None:
    values = uniform(torch.tensor([0, 1 << 31, MASK32]))
    assert values.dtype == torch.float32
    assert values.tolist() == [0.0, 0.5, 1 - 2.0**-24]


def test_uniform64_keeps_all_bits() -> None:
    values = uniform64(torch.tensor([0, 1 << 31, MASK32]))
    assert values.dtype == torch.float64
    assert values.tolist() == [0.0, 0.5, 1 - 2.0**-32]


def test_normal_has_the_moments_of_a_normal() -> None:
    values = normal(torch.arange(1000), 0, (999,)).double()
    count = values.numel()
    for power, moment, variance in [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)]:
        assert abs(values.pow(power).mean() - moment) < 5 * math.sqrt(variance / count)
    ordered = values.flatten().sort().values
    below_each = (torch.arange(count) + 0.5) / count
    distance = (torch.special.ndtr(ordered) - below_each).abs().max()
    assert distance < 1.95 / math.sqrt(count)  # Kolmogorov-Smirnov, 0.1 %


def test_normal_is_box_muller_of_the_words() -> None:
    seed, draw = 0x0123456789ABCDEF, 5
    a, b, c, d = (word / 2**32 for word in philox(torch.tensor([0, 0, draw, 0]), split_seed(seed)).tolist())
    first, second = (math.sqrt(-2 * math.log(u + 2**-32)) for u in (a, b))
    expected = [
        first * math.cos(2 * math.pi * c),
        first * math.sin(2 * math.pi * c),
        second * math.cos(2 * math.pi * d),
        second * math.sin(2 * math.pi * d),
    ]
    assert normal(torch.tensor([seed]), draw, (4,))[0].tolist() == pytest.approx(expected, rel=1e-7)


def test_a_row_of_normal_depends_on_its_seed_draw_and_shape_alone() -> None:
    seeds = torch.tensor([7, 2**62 + 1, 7, 0, 12345])
    together = normal(seeds, 2, (3, 5))
    assert torch.equal(together, torch.cat([normal(seed[None], 2, (3, 5)) for seed in seeds]))
    assert torch.equal(together[0], together[2])
    rows = [*together[1:].tolist(), *normal(seeds[1:], 3, (3, 5)).tolist()]
    assert len({str(row) for row in rows}) == 8


def test_normal_of_no_or_single_values() -> None:
    seeds = torch.tensor([1, 2])
    assert normal(seeds, 0, ()).shape == (2,)
    assert normal(seeds, 0, (0, 4)).shape == (2, 0, 4)
    assert normal(seeds[:0], 0, (3,)).shape == (0, 3)
