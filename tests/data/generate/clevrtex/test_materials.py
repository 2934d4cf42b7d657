"""The procedural materials: their noise, their families, and what they make of a surface."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest
import torch
from torch import Tensor

from objbench.data.generate.clevrtex.generator import ClevrTex
from objbench.data.generate.clevrtex.materials import (
    CLEVRTEX,
    MATERIALS,
    METAL,
    PLAIN,
    RUBBER,
    UNSEEN,
    Material,
    code_of,
    linear,
    table,
)
from objbench.data.generate.clevrtex.noise import cells, dice, fbm, noise
from objbench.data.generate.clevrtex.patterns import FAMILIES, Site
from objbench.data.generate.clevrtex.sampling import Textures
from objbench.data.generate.clevrtex.texture import BOX, DRUM, GLOBE, SurfacePoints, TexturedSurface, textured

SIDE = 24


def places(count: int = 4000, reach: float = 8.0) -> Tensor:
    return reach * (2 * torch.rand(3, count, generator=torch.Generator().manual_seed(0)) - 1)


def seeds(count: int, seed: int = 5) -> Tensor:
    return torch.full((count,), seed, dtype=torch.int32)


def textures(count: int, material: Tensor, color: tuple[float, float, float] = (0.2, 0.5, 0.8)) -> Textures:
    """Grounds of `count` scenes without objects, all alike but for their material."""
    one, zero = torch.ones(count, 1), torch.zeros(count, 1)
    column = torch.tensor(color)[:, None, None].expand(3, count, 1)
    return Textures(
        material[:, None], seeds(count)[:, None], torch.zeros(3, count, 1), one, zero, one, column,
        torch.ones(3, count, 1),
    )  # fmt: skip


def patches(some: tuple[Material, ...], step: float = 0.08) -> TexturedSurface:
    """The skins of flat patches of some materials, SIDE x SIDE points each."""
    codes = torch.tensor([code_of(material.name) for material in some])
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    at = torch.stack([columns, rows, torch.zeros_like(rows)]).flatten(1) * step
    at = at.repeat(1, len(some))
    up = torch.zeros_like(at)
    up[2] = 1
    across, along = up.roll(1, 0) * step, up.roll(2, 0) * step
    entity = torch.arange(len(some)).repeat_interleave(SIDE * SIDE)
    return textured(
        textures(len(some), codes), SurfacePoints(entity, at, up, across, along, torch.full_like(entity, BOX))
    )


def test_there_are_sixty_materials_and_twenty_five_others() -> None:
    assert (len(CLEVRTEX), len(UNSEEN)) == (60, 25)
    assert len({material.name for material in MATERIALS}) == len(MATERIALS) == 88
    assert MATERIALS[-3:] == (PLAIN, RUBBER, METAL)
    assert {material.family for material in MATERIALS} == set(FAMILIES)
    assert MATERIALS[code_of("denim") - 1].name == "denim"


def test_noise_is_a_function_of_place_and_seed_alone() -> None:
    at = places()
    whole = noise(at, seeds(4000))
    assert torch.equal(noise(at[:, 100:200], seeds(100)), whole[100:200])
    assert abs(float(whole.mean())) < 0.03
    assert 0.2 < float(whole.std()) < 0.4
    other = noise(at, seeds(4000, 6))
    assert abs(float(torch.corrcoef(torch.stack([whole, other]))[0, 1])) < 0.06


def test_noise_is_smooth_and_vanishes_on_its_lattice() -> None:
    at = places()
    assert noise(at.round(), seeds(4000)).abs().max() == 0
    step = 1e-3 * torch.tensor([[1.0], [1.0], [1.0]])
    assert (noise(at + step, seeds(4000)) - noise(at, seeds(4000))).abs().max() < 0.02


def test_blur_leaves_fine_noise_out() -> None:
    at = places()
    sharp, blurred = (fbm(at, seeds(4000), torch.full((4000,), blur), 5) for blur in (0.0, 2.0))
    assert sharp.std() > 0.2
    assert blurred.abs().max() == 0


def test_cells_know_their_nearest_seeds() -> None:
    at = places()
    found = cells(at, seeds(4000))
    assert (found.nearest <= found.second).all()
    assert found.number.min() >= 0
    assert found.number.max() < 1
    near = cells(at + 1e-4, seeds(4000))
    inside = found.second - found.nearest > 0.1
    assert (near.number == found.number)[inside].float().mean() > 0.99


def test_dice_are_even() -> None:
    column, row = (
        part.flatten() for part in torch.meshgrid(torch.arange(-50.0, 50), torch.arange(60.0), indexing="ij")
    )
    rolled = dice(column, row, seeds(len(row)))
    counts = torch.histc(rolled, 10, 0, 1)
    assert ((counts - 600).abs() < 5 * 600**0.5).all()


@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_family_stays_in_its_range_with_any_knobs(family: str) -> None:
    count = 3000
    params = torch.randint(0, 3, (3, count), generator=torch.Generator().manual_seed(1)) / 2
    blur = torch.linspace(0, 2, count)
    for values in FAMILIES[family](Site(places(count), seeds(count), blur, params)):
        assert values.shape == (count,)
        assert values.min() >= 0
        assert values.max() <= 1


def test_no_two_materials_look_alike() -> None:
    seen = patches(MATERIALS[:85]).color.view(3, 85, -1)
    # Colour and spread of a patch, in the steps of an eye rather than of light.
    encoded = seen ** (1 / 2.2)
    signs = torch.cat([encoded.mean(2), 2 * encoded.std(2)]).T
    apart = torch.cdist(signs, signs) + 9 * torch.eye(85)
    assert apart.min() > 0.01
    assert apart.amin(1).median() > 0.04


def test_materials_have_texture_relief_and_gloss() -> None:
    found = patches(CLEVRTEX)
    color, normal = found.color.view(3, 60, -1), found.normal.view(3, 60, -1)
    assert (color.std(2).amax(0) > 0.01).all()
    bumpy = torch.tensor([material.bump > 0.25 for material in CLEVRTEX])
    tilted = 1 - normal[2].amin(1)
    assert (tilted[bumpy] > 0.01).all()
    flat = torch.tensor([material.bump == 0 for material in CLEVRTEX])
    assert torch.allclose(normal[2, flat], torch.ones_like(normal[2, flat]))
    assert found.rough.min() >= 0.1
    assert 0.9 < found.metal.max() <= 1
    assert found.color.min() >= 0
    assert found.color.max() <= 0.95


def test_plain_materials_take_the_colour_of_the_object() -> None:
    found = patches((PLAIN, RUBBER, METAL)).color.view(3, 3, -1)
    assert found[:, 0].std() < 0.02
    expected = torch.tensor([0.2, 0.5, 0.8])
    assert torch.allclose(found[:, 1].mean(1), expected, atol=0.02)
    assert torch.allclose(found[:, 2].mean(1), expected, atol=0.02)


@pytest.mark.parametrize("cut", [BOX, GLOBE, DRUM])
def test_a_brick_wall_is_laid_in_level_rows(cut: int) -> None:
    """Around an upright wall the rows of bricks are as high everywhere: the joints lie at the same heights."""
    material = torch.tensor([0, code_of("bricks_red")])
    angle = torch.linspace(-3, 3, 40)
    z = torch.linspace(-0.6, 0.6, 200)
    x, y = (part[:, None].expand(40, 200).flatten() for part in (angle.cos(), angle.sin()))
    at = torch.stack([x, y, z.repeat(40)])
    normal = torch.stack([x, y, torch.zeros_like(x)])
    small = torch.stack([torch.zeros_like(x), torch.zeros_like(x), torch.full_like(x, 1e-3)])
    entity = torch.ones_like(x).long()
    one = textures(2, material)
    both = Textures(*(values.view(*values.shape[:-2], 1, 2) for values in one))
    beside = 1e-3 * torch.stack([-y, x, torch.zeros_like(x)])
    found = textured(both, SurfacePoints(entity, at, normal, beside, small, torch.full_like(entity, cut)))
    mortar = linear("b9b0a2")[2]
    joints = (found.color[2].view(40, 200) - mortar).abs() < 0.02
    everywhere = joints.float().mean(0)
    assert (everywhere > 0.95).sum() > 10
    assert (everywhere < 0.5).sum() > 60


def test_the_table_says_what_the_list_says() -> None:
    known = table(torch.device("cpu"))
    code = code_of("steel_weave") - 1
    assert list(FAMILIES)[known.family[code]] == "woven"
    assert known.metal[:, code].tolist() == pytest.approx([1.0, 0.2])
    assert known.colors[1, :, code].tolist() == pytest.approx(linear("c9ccd2"))


def test_the_materials_of_version_1_are_fixed() -> None:
    """A number changed here changes pictures that are published; it needs a new version of the generator."""
    numbers = [dataclasses.astuple(material) for material in (*CLEVRTEX, *UNSEEN)]
    assert ClevrTex.version == 1
    assert hashlib.sha256(repr(numbers).encode()).hexdigest() == (
        "befe6dd609790bfee9482ec07911a210fcf4b308bc66e3ce852836f30863eba8"
    )
