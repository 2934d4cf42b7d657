"""Damage: what disks, cables, editors and other programs do to files, as functions of random numbers."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

Damage = Callable[[bytes, Random], bytes]

DEEP = 100_000  # levels of nesting
_TOKEN = re.compile(rb'"(?:[^"\\\n]|\\.)*"|[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|[A-Za-z_][\w.-]*|[^\s\w]')
_ODD = (
    *(b"null", b"true", b"false", b"NaN", b"Infinity", b"-Infinity", b"{}", b"[]", b'""', b"0", b"-1", b"1e999", b"-0"),
    *(b"18446744073709551616", b"9" * 5000, b'"\\u0000"', b'"\\ud800"', b'"\xff"', b'"../../../etc/passwd"'),
    *(b'"\\u001b[31m"', b'"\xe2\x80\xae"', b"[null]", b'{"": null}', b"1.5", b"2", b"&a [*a]", b"!!python/name:os.system"),
    *(b"[" * DEEP, b'{"a":' * DEEP, b"[" * DEEP + b"]" * DEEP, b"2024-01-01", b"0x10", b"~"),
)  # fmt: skip


def damage_bytes(content: bytes, random: Random) -> bytes:
    """The content with one kind of damage that any file may have; never the same content."""
    return _changed(content, random, _BYTES)


def damage_text(content: bytes, random: Random) -> bytes:
    """Damage a text: half of the time, a number, key or value of another kind, or nesting without end."""
    return _changed(content, random, _TEXT if random.random() < 0.5 else _BYTES)


def _changed(content: bytes, random: Random, kinds: tuple[Damage, ...]) -> bytes:
    for _ in range(100):
        found = random.choice(kinds)(content, random)
        if found != content:
            return found
    return content + b"\0"


def _flip_bits(content: bytes, random: Random) -> bytes:
    found = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 2, 8, 64)) if found else 0):
        found[random.randrange(len(found))] ^= 1 << random.randrange(8)
    return bytes(found)


def _replace_bytes(content: bytes, random: Random) -> bytes:
    start, stop = _span(content, random, 16)
    return content[:start] + random.randbytes(stop - start) + content[stop:]


def _zero_run(content: bytes, random: Random) -> bytes:
    start, stop = _span(content, random)
    return content[:start] + bytes(stop - start) + content[stop:]


def _fill_run(content: bytes, random: Random) -> bytes:
    start, stop = _span(content, random, 16)
    return content[:start] + b"\xff" * (stop - start) + content[stop:]


def _cut(content: bytes, random: Random) -> bytes:
    return content[: _place(content, random)] if random.random() < 0.9 else b""


def _insert(content: bytes, random: Random) -> bytes:
    at = _place(content, random)
    return content[:at] + random.randbytes(random.choice((1, 4, 512, 4096))) + content[at:]


def _remove(content: bytes, random: Random) -> bytes:
    start, stop = _span(content, random)
    return content[:start] + content[stop:]


def _repeat(content: bytes, random: Random) -> bytes:
    start, stop = _span(content, random)
    return content[:stop] + content[start:]


def _swap(content: bytes, random: Random) -> bytes:
    """Two neighbouring stretches in each other's place, as a disk that mixes up its blocks leaves them."""
    a, b, c = sorted(_place(content, random) for _ in range(3))
    return content[:a] + content[b:c] + content[a:b] + content[c:]


def _swap_blocks(content: bytes, random: Random) -> bytes:
    size = random.choice((512, 1024, 4096))
    blocks = [content[at : at + size] for at in range(0, len(content), size)]
    if len(blocks) > 1:
        a, b = random.sample(range(len(blocks)), 2)
        blocks[a], blocks[b] = blocks[b], blocks[a]
    return b"".join(blocks)


def _append(content: bytes, random: Random) -> bytes:
    extra = random.choice((random.randbytes(16), bytes(512), bytes(10_240), content, b"\n", b"garbage\n"))
    return content + extra


def _number(content: bytes, random: Random) -> bytes:
    """Bytes that may be a number of a header, replaced by an extreme number."""
    size = random.choice((1, 2, 4, 8))
    value: int = (
        random.choice((0, 1, 0x7F, 0xFF, 2**31 - 1, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)) % 256**size
    )
    at = random.randrange(max(1, len(content) - size))
    return content[:at] + value.to_bytes(size, random.choice(("little", "big"))) + content[at + size :]


def _digits(content: bytes, random: Random) -> bytes:
    digits = [found.start() for found in re.finditer(rb"\d", content)]
    if not digits:
        return content
    at = random.choice(digits)
    return content[:at] + str(random.randrange(10)).encode() + content[at + 1 :]


def _token(content: bytes, random: Random) -> bytes:
    """One token replaced by one that has another type, is extreme, or never ends."""
    start, stop = _token_span(content, random)
    return content[:start] + random.choice(_ODD) + content[stop:]


def _token_of_another(content: bytes, random: Random) -> bytes:
    start, stop = _token_span(content, random)
    first, last = _token_span(content, random)
    return content[:start] + content[first:last] + content[stop:]


def _token_lost(content: bytes, random: Random) -> bytes:
    start, stop = _token_span(content, random)
    return content[:start] + content[stop:]


def _letters(content: bytes, random: Random) -> bytes:
    start, stop = _token_span(content, random)
    return content[:start] + content[start:stop].swapcase() + b"x" * random.randrange(2) + content[stop:]


def _line_lost(content: bytes, random: Random) -> bytes:
    lines = content.splitlines(keepends=True)
    if lines:
        del lines[random.randrange(len(lines))]
    return b"".join(lines)


def _line_twice(content: bytes, random: Random) -> bytes:
    lines = content.splitlines(keepends=True)
    if lines:
        at = random.randrange(len(lines))
        lines.insert(random.randrange(len(lines)), lines[at])
    return b"".join(lines)


def _encoding(content: bytes, random: Random) -> bytes:
    encoding: str = random.choice(("utf-16", "utf-8-sig", "utf-32"))
    return content.decode("utf-8", "replace").encode(encoding)


def _place(content: bytes, random: Random) -> int:
    """Anywhere; often near the start or the end, where headers and indices are."""
    near = random.choice((len(content), len(content), 64, 1024))
    at = random.randrange(min(near, len(content)) + 1)
    return len(content) - at if random.random() < 0.3 else at


def _span(content: bytes, random: Random, most: int = 4096) -> tuple[int, int]:
    start = _place(content, random)
    return start, min(
        len(content), start + random.choice((1, 2, 4, 8, 16, 64, 512, 4096)[: most.bit_length()])
    )


def _token_span(content: bytes, random: Random) -> tuple[int, int]:
    spans = [found.span() for found in _TOKEN.finditer(content)]
    return random.choice(spans) if spans else (0, 0)


_BYTES: tuple[Damage, ...] = (
    *(_flip_bits, _flip_bits, _flip_bits, _replace_bytes, _zero_run, _fill_run, _cut, _insert, _remove, _repeat),
    *(_swap, _swap_blocks, _append, _number),
)  # fmt: skip
_TEXT: tuple[Damage, ...] = (
    *(_digits, _token, _token, _token, _token_of_another, _token_lost, _letters, _line_lost, _line_twice, _encoding),
)  # fmt: skip
