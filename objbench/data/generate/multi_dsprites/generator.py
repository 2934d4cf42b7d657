"""The three sets of Multi-dSprites: what is drawn at random for a scene, and the picture it gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from objbench.data.generate.generator import Generator
from objbench.data.generate.multi_dsprites.sprites import SIDE, Sprites, cover
from objbench.data.generate.tensors import SceneTensors, with_background
from objbench.random import MASK32, below, philox, seed_from, split_seed, uniform64

_PLACES, _SCALES, _TURNS = 32, 6, 40  # the values of dSprites itself: both ends included, also 0 and 2 pi
_PROPOSALS = 256  # drawn at once, at least, where sprites must lie apart


class SceneDistribution(NamedTuple):
    """What the scenes of a set are drawn from: the number of sprites and the colours."""

    fewest: int
    most: int  # sprites; also the length of the entity axis less the background
    background: Callable[[Tensor], Tensor]  # uniform numbers float64 (N,3) -> RGB in [0,1]
    color: (
        Callable[[Tensor], Tensor] | None
    )  # uniform numbers float64 (...,3) -> RGB in [0,1]; None: all white


class Scene(NamedTuple):
    """N scenes of up to S sprites, the later ones in front."""

    number: Tensor  # of sprites, int64 (N,)
    background: Tensor  # float64 (N,3)
    sprites: Sprites  # fields (N,S); those from `number` on are not drawn
    color: Tensor  # float64 (N,S,3)


def gray(numbers: Tensor) -> Tensor:
    """Any gray, from black to white, equally likely."""
    return numbers[..., :1].expand_as(numbers)


def rgb(numbers: Tensor) -> Tensor:
    """Any colour, each channel uniform."""
    return numbers


def black(numbers: Tensor) -> Tensor:
    """No light."""
    return torch.zeros_like(numbers)


def bright(numbers: Tensor) -> Tensor:
    """Any hue, with saturation and value uniform in [0.5, 1]; HSV to RGB after Smith, 1978."""
    hue, saturation, value = numbers[..., :1] * 6, 0.5 + numbers[..., 1:2] / 2, 0.5 + numbers[..., 2:] / 2
    shift = torch.tensor([0.0, 4.0, 2.0], dtype=numbers.dtype, device=numbers.device)
    purity = (((hue + shift).remainder(6) - 3).abs() - 1).clamp(0, 1)
    return value * (1 - saturation * (1 - purity))


class MultiDSprites(Generator):
    """What the three sets share.

    Factors as upstream names them, float32, the entity axis padded with zeros to the largest scene, the background
    (visibility 1, else zeros) in row 0. A sprite that others hide altogether still has visibility 1, but no pixel.
    """

    dataset: ClassVar[str]
    distribution: ClassVar[SceneDistribution]

    def make(
        self, split: str, start: int, stop: int, seed: int, device: torch.device | str | None = None
    ) -> SceneTensors:
        """The scenes [start, stop) of the stream that (set, split, seed) names."""
        index = torch.arange(start, stop, device=device or "cpu")
        scene = self.scene(index, split, seed)
        images, masks = render(scene)
        sprites = scene.sprites
        factors = {
            "x": sprites.x,
            "y": sprites.y,
            "shape": sprites.shape,
            "orientation": sprites.turns * (2 * torch.pi),
            "scale": sprites.scale,
            "visibility": torch.ones_like(sprites.x),
        }
        if self.distribution.color is not None:
            factors["color"] = scene.color
        present = _present(scene)
        entities = {name: _entities(values, present) for name, values in factors.items()}
        entities["visibility"][:, 0] = 1
        return SceneTensors(index, images, masks, entities)

    def scene(self, index: Tensor, split: str, seed: int) -> Scene:
        """What is drawn for the scenes `index` (N,) of a stream."""
        return draw(self.distribution, index, self.stream_key(split, seed))

    def stream_key(self, split: str, seed: int, *options: str) -> tuple[int, int]:
        """The Philox key of a stream of scenes."""
        words = ("version", self.version, "seed", seed, "split", split)
        return split_seed(seed_from(self.dataset, *options, *words))


class ColoredOnGrayscale(MultiDSprites):
    """2-5 sprites of any hue, with saturation and value of at least 0.5, on a gray background.

    Poses are those of dSprites' own images, as in the released scenes of colored on colored; no scene of this set was
    at hand to verify it.
    """

    version = 2
    dataset = "multi_dsprites"
    distribution = SceneDistribution(2, 5, background=gray, color=bright)


class ColoredOnColored(MultiDSprites):
    """1-4 sprites of any colour on a background of any colour.

    Read off 16 released scenes: 39 sprites of at least 40 pixels all lie on dSprites' own lattice of positions, scales
    and orientations, to at most one pixel each (sprites placed anywhere miss it by 9 to 20).
    """

    version = 1
    dataset = "multi_dsprites_colored"
    distribution = SceneDistribution(1, 4, background=rgb, color=rgb)


@dataclass(frozen=True)
class Binarized(MultiDSprites):
    """2-3 white sprites on black.

    Upstream documents the numbers and the colours; that both numbers are equally likely, and poses those of dSprites'
    own images as in the released scenes of colored on colored, is assumed.

    Attributes:
        apart: Whether at least two pixels of black lie between any two sprites, across, upright and diagonally. The sprites
            of a scene are then drawn anew, all of them, until they lie so; their number is drawn once.
    """

    version = 2
    dataset = "multi_dsprites_binarized"
    distribution = SceneDistribution(2, 3, background=black, color=None)
    apart: bool = False

    def scene(self, index: Tensor, split: str, seed: int) -> Scene:
        """What is drawn for the scenes `index` (N,) of a stream, which is another one where sprites lie apart."""
        if not self.apart:
            return super().scene(index, split, seed)
        return draw_apart(self.distribution, index, self.stream_key(split, seed, "apart"))


def draw_apart(distribution: SceneDistribution, index: Tensor, key: tuple[int, int]) -> Scene:
    """The scenes `index` int64 (N,), each the first proposal whose sprites lie apart."""
    scenes = draw(distribution, index, key)
    pending = (~lie_apart(scenes)).nonzero().flatten()
    tried = 1
    while len(pending):
        # Several proposals at once for the last few scenes: the first good one is the same, the passes are fewer.
        ahead = max(1, _PROPOSALS // len(pending))
        attempt = torch.arange(tried, tried + ahead, device=index.device).repeat(len(pending))
        proposed = draw(distribution, index[pending].repeat_interleave(ahead), key, attempt)
        found, first = lie_apart(proposed).view(-1, ahead).max(dim=1)
        chosen = (torch.arange(len(pending), device=index.device) * ahead + first)[found]
        for values, new in zip(scenes.sprites, proposed.sprites, strict=True):
            values[pending[found]] = new[chosen]
        pending = pending[~found]
        tried += ahead
    return scenes


def lie_apart(scene: Scene) -> Tensor:
    """Which scenes have no two sprites that, each grown by a pixel on every side, share one: bool (N,)."""
    covered = _covered(scene)
    across = covered | covered << 1 | covered >> 1  # no sprite reaches the last bit, the sign
    grown = across.clone()
    grown[..., 1:] |= across[..., :-1]
    grown[..., :-1] |= across[..., 1:]
    apart = torch.ones_like(scene.number, dtype=torch.bool)
    for i, j in combinations(range(covered.shape[1]), 2):
        apart &= ((grown[:, i] & grown[:, j]) == 0).all(1)
    return apart


def draw(
    distribution: SceneDistribution, index: Tensor, key: tuple[int, int], attempt: Tensor | None = None
) -> Scene:
    """The scenes `index` int64 (N,): eight random words for the background and for each sprite.

    Args:
        distribution: Of the set.
        index: Places in the stream.
        key: The stream's Philox key.
        attempt: int64 (N,), which proposal of the sprites; None for the first, 0. Number and background do not depend on it.
    """
    attempt = torch.zeros_like(index) if attempt is None else attempt
    for_scene = _words(index, torch.zeros_like(index), 1, key)[:, 0]
    for_sprite = _words(index, attempt, distribution.most + 1, key)[:, 1:]  # (N,S,8)
    for_x, for_y, for_scale, for_turns = for_sprite[..., 4:].unbind(-1)
    x, y = (below(word, _PLACES).double() / (_PLACES - 1) for word in (for_x, for_y))
    scale = (_SCALES - 1 + below(for_scale, _SCALES)).double() / (2 * (_SCALES - 1))
    turns = below(for_turns, _TURNS).double() / (_TURNS - 1)
    numbers = uniform64(for_sprite[..., 1:4])
    return Scene(
        number=distribution.fewest + below(for_scene[:, 0], distribution.most - distribution.fewest + 1),
        background=distribution.background(uniform64(for_scene[:, 1:4])),
        sprites=Sprites(1 + below(for_sprite[..., 0], 3), x, y, scale, turns),
        color=torch.ones_like(numbers) if distribution.color is None else distribution.color(numbers),
    )


def render(scene: Scene) -> tuple[Tensor, Tensor]:
    """Images uint8 (N,64,64,3) and masks uint8 (N,64,64) of `scene`; sprite s (0-based) has the mask value s + 1."""
    count, most = scene.color.shape[:2]
    masks = _labels(_covered(scene))
    palette = torch.cat([scene.background[:, None], scene.color], dim=1)
    first = torch.arange(count, dtype=torch.int32, device=masks.device) * (most + 1)
    rows = (masks.view(count, -1).int() + first[:, None]).flatten()
    images = (palette * 255).round().to(torch.uint8).view(-1, 3).index_select(0, rows)
    return images.view(count, SIDE, SIDE, 3), masks


def _covered(scene: Scene) -> Tensor:
    """The pixels that each sprite covers, whatever lies in front, a bit each: int64 (N,S,64), none where there is no sprite."""
    present = _present(scene)
    covered = torch.zeros(*present.shape, SIDE, dtype=torch.int64, device=present.device)
    covered[present] = cover(Sprites(*(values[present] for values in scene.sprites)))
    return covered


def _labels(covered: Tensor) -> Tensor:
    """The label map uint8 (N,64,64) of pixels covered by sprites (N,S,64), seven at most: the last one wins."""
    taken = torch.zeros_like(covered[:, 0])
    planes = [torch.zeros_like(taken) for _ in range(3)]  # the binary digits of the labels
    for label in range(covered.shape[1], 0, -1):
        visible = covered[:, label - 1] & ~taken
        taken |= visible
        for digit in range(3):
            if label >> digit & 1:
                planes[digit] |= visible
    spread = _spread(covered.device)
    ones, twos, fours = (spread.index_select(0, plane.view(torch.uint8).flatten().int()) for plane in planes)
    words = ones | twos << 1 | fours << 2
    return words.view(torch.uint8).view(-1, SIDE, SIDE)


@cache
def _spread(device: torch.device) -> Tensor:
    """int64 (256,): the eight bits of a byte as the eight bytes of a word, lowest first."""
    return torch.tensor(
        [sum((byte >> i & 1) << 8 * i for i in range(8)) for byte in range(256)], device=device
    )


def _words(index: Tensor, attempt: Tensor, entities: int, key: tuple[int, int]) -> Tensor:
    """Eight random words for each entity of each scene, in the proposal `attempt` (N,): int64 (N,entities,8)."""
    shape = (len(index), entities, 2)
    entity, block = (torch.arange(n, device=index.device) for n in shape[1:])
    scene, block = index[:, None, None], 2 * attempt[:, None, None] + block
    counter = [scene & MASK32, scene >> 32, entity[:, None], block]
    return philox(torch.stack([word.expand(shape) for word in counter], dim=-1), key).flatten(2)


def _present(scene: Scene) -> Tensor:
    """Which of the S sprites each scene has: bool (N,S)."""
    return torch.arange(scene.color.shape[1], device=scene.number.device) < scene.number[:, None]


def _entities(values: Tensor, present: Tensor) -> Tensor:
    """Factors (N,S,...) as float32 (N,1+S,...): zeros for the background and for sprites that are not there."""
    gate = present.view(*present.shape, *(1,) * (values.dim() - 2))
    return with_background((values * gate).float())
