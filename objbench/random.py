"""The random numbers of objbench: a counter-based generator that gives the same bits on every device.

torch.Generator draws different numbers on CUDA and on the CPU, in an order that depends on the batch. Here every number
is a pure function of (key, counter): Philox4x32-10 of Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC
2011, computed with integer operations, which are exact on all devices.
"""

from __future__ import annotations

import hashlib
import json
import math

import torch
from torch import Tensor

MASK32 = 0xFFFFFFFF
_ROUNDS = 10
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)


def seed_from(*parts: str | int) -> int:
    """A seed in [0, 2**63) from strings and numbers: the first 63 bits of the sha256 of their JSON list.

    It is valid for torch.manual_seed and fits into an int64 tensor.

    >>> seed_from("tetrominoes", 0) == seed_from("tetrominoes", "0")
    False
    """
    encoded = json.dumps(parts).encode()
    return int.from_bytes(hashlib.sha256(encoded).digest()[:8], "big") >> 1


def split_seed(seed: int) -> tuple[int, int]:
    """The 64 bits of `seed` as the two 32-bit words of a Philox key, low word first."""
    return seed & MASK32, (seed >> 32) & MASK32


def philox(counter: Tensor, key: tuple[int, int] | Tensor) -> Tensor:
    """Four random 32-bit words for each counter (Philox4x32-10).

    Args:
        counter: int64 (...,4), each word in [0, 2**32).
        key: Two words for all counters, or int64 (...,2) that broadcasts against counter[..., :2].

    Returns:
        int64 (...,4), each word uniform in [0, 2**32).
    """
    a, b, c, d = counter.unbind(-1)
    k0, k1 = key.unbind(-1) if isinstance(key, Tensor) else key
    for _ in range(_ROUNDS):
        # The product wraps modulo 2**64 as int64, so its 64 bits are right although the sign may be wrong.
        p, q = a * _MULTIPLIERS[0], c * _MULTIPLIERS[1]
        a, b, c, d = (
            ((q >> 32) & MASK32) ^ b ^ k0,
            q & MASK32,
            ((p >> 32) & MASK32) ^ d ^ k1,
            p & MASK32,
        )
        k0, k1 = (k0 + _KEY_STEPS[0]) & MASK32, (k1 + _KEY_STEPS[1]) & MASK32
    return torch.stack((a, b, c, d), dim=-1)


def below(words: Tensor, n: int | Tensor) -> Tensor:
    """Uniform integers in [0, n) from 32-bit `words`, n < 2**31; int64, the shape of words and n broadcast.

    Multiply and shift: the probabilities differ by less than 2**-32 from 1/n.
    """
    return (words * n) >> 32


def uniform(words: Tensor) -> Tensor:
    """Uniform float32 in [0, 1) from 32-bit `words`: the upper 24 bits, so every value is exact."""
    return (words >> 8).to(torch.float32) * 2.0**-24


def uniform64(words: Tensor) -> Tensor:
    """Uniform float64 in [0, 1) from 32-bit `words`: all their bits, so every value is exact."""
    return words.double() * 2.0**-32


def normal(seeds: Tensor, draw: int, shape: tuple[int, ...]) -> Tensor:
    """Standard normal float32 (B, *shape): row b depends on seeds[b], `draw` and `shape` alone.

    Box-Muller transform of pairs of 32-bit words; the largest magnitude is sqrt(64 ln 2) = 6.66.

    Args:
        seeds: int64 (B,).
        draw: Number in [0, 2**63); another one gives other values.
        shape: Shape of a row.
    """
    size = math.prod(shape)
    block = torch.arange((size + 3) // 4, device=seeds.device)
    fixed = [torch.full_like(block, word) for word in split_seed(draw)]
    counter = torch.stack((block & MASK32, block >> 32, *fixed), dim=-1)  # (blocks,4)
    key = torch.stack((seeds & MASK32, (seeds >> 32) & MASK32), dim=-1)  # (B,2)
    words = philox(counter.expand(len(seeds), -1, -1), key[:, None]).double()  # (B,blocks,4)
    radius = (-2 * _log((words[..., :2] + 1) * 2.0**-32)).sqrt()
    cosine, sine = cos_sin_turns(words[..., 2:] * 2.0**-32)
    pairs = torch.stack((radius * cosine, radius * sine), dim=-1)
    return pairs.flatten(1)[:, :size].reshape(len(seeds), *shape).float()


# torch's log, cos and sin differ in the last bit between devices, and on the CPU even with the position of an element in
# the tensor. The functions below only add, multiply, divide and take roots, for which IEEE 754 defines every bit.


def _log(x: Tensor) -> Tensor:
    """Natural logarithm of float64 in (0, 1], to 1e-15: 2 atanh((m-1)/(m+1)) + e ln 2 with x = m 2**e."""
    mantissa, exponent = torch.frexp(x)  # mantissa in [1/2, 1)
    small = mantissa < math.sqrt(0.5)
    mantissa = torch.where(small, mantissa * 2, mantissa)
    exponent = exponent - small.to(exponent.dtype)
    t = (mantissa - 1) / (mantissa + 1)
    return 2 * t * _series(t * t, [1 / (2 * i + 1) for i in range(11)]) + exponent.double() * math.log(2)


def cos_sin_turns(turns: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine of 2 pi times float64 in [0, 1), to 1e-15: Taylor series within an eighth of a turn."""
    quarter = (turns * 4).round()
    x = (turns * 4 - quarter) * (math.pi / 2)
    square = -x * x
    cosine = _series(square, [1 / math.factorial(2 * i) for i in range(10)])
    sine = x * _series(square, [1 / math.factorial(2 * i + 1) for i in range(10)])
    quadrant = quarter.long() & 3
    swapped = (quadrant & 1).bool()
    rotated_cosine = torch.where(swapped, sine, cosine)
    rotated_sine = torch.where(swapped, cosine, sine)
    cosine = torch.where((quadrant == 1) | (quadrant == 2), -rotated_cosine, rotated_cosine)
    sine = torch.where(quadrant >= 2, -rotated_sine, rotated_sine)
    return cosine, sine


def _series(x: Tensor, coefficients: list[float]) -> Tensor:
    """The polynomial sum of coefficients[i] x**i, by Horner's rule."""
    value = torch.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = value * x + coefficient
    return value
