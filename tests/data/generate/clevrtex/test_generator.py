"""ClevrTex's laws in the stream of generated scenes, and that a scene is the same however it is made."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.generated import arrays
from PIL import Image

from objbench.data.generate.clevr.sampling import MOST, Camera, World, cameras, find, propose, visible_pixels
from objbench.data.generate.clevrtex import sampling
from objbench.data.generate.clevrtex.generator import ClevrTex, factors_of
from objbench.data.generate.clevrtex.materials import CLEVRTEX, UNSEEN
from objbench.data.generate.clevrtex.sampling import VARIANTS, Textures
from objbench.data.generate.generator import generator_of
from objbench.data.generate.tracer import tonemap
from objbench.data.generate.tracer.visibility import label_map
from objbench.data.prepare.prepare import PrepareRequest
from objbench.data.scene import SceneBatch
from objbench.errors import RequestError
from objbench.spec.load import load_spec

KEY = ClevrTex().stream_key("train", 0)
DRAWN = 12
SEEN, NEW = ({material.name for material in table} for table in (CLEVRTEX, UNSEEN))


@pytest.fixture(scope="module")
def drawn() -> tuple[World, Textures]:
    return sampling.draw(VARIANTS["full"], torch.arange(DRAWN), KEY, ahead=8)


@pytest.fixture(scope="module")
def scenes() -> SceneBatch:
    return arrays(ClevrTex, "train", 0, 2, 0)


def proposals(variant: str, count: int = 300) -> tuple[torch.Tensor, ...]:
    """Shape, size, material and colour of the ten objects of many proposals."""
    index = torch.arange(count)
    objects, _ = propose(
        index, torch.zeros_like(index), torch.full_like(index, MOST), KEY, VARIANTS[variant].distribution
    )
    return objects.shape, objects.size, objects.material, objects.color


def even(values: torch.Tensor, last: int) -> bool:
    """Whether integers are as drawn uniformly from 1..last, every count within five standard deviations."""
    found = torch.bincount(values.flatten(), minlength=last + 1)[1:]
    mean = values.numel() / last
    return len(found) == last and bool(((found - mean).abs() < 5 * math.sqrt(mean)).all())


@pytest.mark.parametrize(("variant", "materials"), [("full", 60), ("ood", 25), ("vbg", 2)])
def test_proposed_kinds_are_uniform(variant: str, materials: int) -> None:
    for values, last in zip(proposals(variant), (4, 3, materials, 8), strict=True):
        assert even(values, last)


def test_camo_proposes_one_material_and_colour_for_a_scene() -> None:
    shape, size, material, color = proposals("camo")
    assert torch.equal(material, material[:, :1].expand_as(material))
    assert torch.equal(color, color[:, :1].expand_as(color))
    assert even(shape, 4)
    assert even(size, 3)


def test_sizes_heights_and_narrowed_cubes(drawn: tuple[World, Textures]) -> None:
    objects = drawn[0].objects
    there = objects.shape > 0
    radius = torch.tensor([0.0, 0.9, 0.6, 0.4], dtype=torch.float64)[objects.size]
    expected = torch.where(objects.shape == 1, radius / math.sqrt(2), radius)
    assert torch.equal(objects.radius[there], expected[there])
    assert torch.equal(objects.place[2][there], objects.radius[there])
    assert {0.636, 0.424, 0.283} & {round(r, 3) for r in objects.radius[objects.shape == 1].tolist()}
    unseen = propose(
        torch.arange(9), torch.zeros(9).long(), torch.full((9,), 5), KEY, VARIANTS["ood"].distribution
    )[0]
    assert set(unseen.radius[unseen.shape > 0].tolist()) == {1.0, 0.8, 0.6}


def test_objects_keep_their_distance_and_show_more_than_200_pixels(drawn: tuple[World, Textures]) -> None:
    world = drawn[0]
    objects, there = world.objects, world.objects.shape > 0
    offset = objects.place[:2, :, :, None] - objects.place[:2, :, None]
    apart = offset.norm(dim=0) - objects.radius[:, :, None] - objects.radius[:, None]
    pairs = (there[:, :, None] & there[:, None]).triu(1)
    assert apart[pairs].min() >= 0.25
    shown = visible_pixels(world.masks)
    assert shown[there].min() > 200
    assert shown[~there].max() == 0
    assert there.sum(1).min() >= 3


def test_a_scene_is_the_first_good_proposal_each_under_a_camera_of_its_own(
    drawn: tuple[World, Textures],
) -> None:
    world, attempt = find(VARIANTS["full"].distribution, torch.arange(4), KEY, MOST)
    count = (world.objects.shape > 0).sum(1)
    assert attempt.max() > 0
    for n in range(4):
        for tried in range(int(attempt[n]) + 1):
            one, placed = propose(
                torch.tensor([n]), torch.tensor([tried]), count[n : n + 1], KEY, VARIANTS["full"].distribution
            )
            camera = clevr_camera(n, tried)
            masks = label_map(one, camera)
            good = bool(placed) and int(visible_pixels(masks)[0, : int(count[n])].min()) > 200
            assert good == (tried == attempt[n])
        assert torch.equal(world.objects.place[:, n], one.place[:, 0])
        assert torch.equal(world.camera.place[:, n], camera.place[:, 0])
        assert torch.equal(world.masks[n], masks[0])


def clevr_camera(index: int, attempt: int) -> Camera:
    """The camera of one proposal."""
    return cameras(torch.tensor([index]), torch.tensor([attempt]), KEY)


def names(variant: str, count: int = 1) -> tuple[set[str], set[str], set[str]]:
    """Shapes, materials and grounds of some scenes."""
    world, textures = sampling.draw(
        VARIANTS[variant], torch.arange(count), ClevrTex(variant).stream_key("test", 1), ahead=4
    )
    factors, words = factors_of(variant, world, textures)
    return tuple(
        {words[name][code] for code in factors[name].flatten().tolist()} - {""}
        for name in ("shape", "material", "ground_material")
    )  # type: ignore[return-value]


def test_each_variant_has_its_shapes_and_materials() -> None:
    shapes, materials, grounds = names("ood", 2)
    assert shapes <= {"cone", "icosahedron", "torus", "teapot"}
    assert materials <= NEW
    assert grounds <= NEW
    shapes, materials, grounds = names("pbg")
    assert shapes <= {"cube", "sphere", "cylinder", "monkey"}
    assert materials <= SEEN
    assert grounds == {"plain"}
    assert names("grassbg")[2] == {"forest_floor"}
    _, materials, grounds = names("vbg")
    assert materials <= {"rubber", "metal"}
    assert grounds <= SEEN
    _, materials, grounds = names("camo")
    assert materials == grounds


def test_textures_of_one_material_differ_from_object_to_object(drawn: tuple[World, Textures]) -> None:
    textures = drawn[1]
    there = textures.material > 0
    for values in (textures.seed, textures.start[0], textures.cosine, textures.scale, textures.gain[1]):
        assert len(values[there].unique()) == there.sum()
    assert textures.scale.min() >= 0.85
    assert textures.scale.max() < 1.2
    assert (textures.gain - 1).abs().max() < 0.22


def test_factors_have_the_released_form(scenes: SceneBatch) -> None:
    factors = scenes.factors
    assert {name: values.shape[1:] for name, values in factors.items()} == {
        "ground_material": (),
        **dict.fromkeys(("shape", "material", "size", "rotation", "visibility"), (11,)),
        **dict.fromkeys(("3d_coords", "pixel_coords"), (11, 3)),
    }
    for name, values in factors.items():
        assert values.dtype.kind == ("U" if name in ("shape", "material", "size", "ground_material") else "f")
    visible = factors["visibility"]
    assert (visible[:, 0] == 1).all()
    for name in ("shape", "material", "size"):
        assert (factors[name][:, 0] == "").all()
        assert ((factors[name] != "")[:, 1:] == (visible > 0)[:, 1:]).all()
    assert not factors["3d_coords"][visible == 0].any()
    assert set(factors["ground_material"]) <= SEEN
    assert scenes.images.shape == (2, 128, 128, 3)
    assert scenes.images.dtype == scenes.masks.dtype == np.uint8


def test_the_colour_of_a_variant_with_colours_is_named() -> None:
    world, textures = sampling.draw(VARIANTS["vbg"], torch.arange(1), KEY)
    factors, words = factors_of("vbg", world, textures)
    there = world.objects.shape[0] > 0
    found = [words["color"][code] for code in factors["color"][0, 1:][there].tolist()]
    assert set(found) <= {"red", "cyan", "green", "blue", "brown", "gray", "purple", "yellow"}


def test_the_batch_changes_nothing(scenes: SceneBatch) -> None:
    again = SceneBatch.concatenate([arrays(ClevrTex, "train", 0, 1, 0), arrays(ClevrTex, "train", 1, 2, 0)])
    assert np.array_equal(again.masks, scenes.masks)
    assert np.array_equal(again.images, scenes.images)
    for name, values in scenes.factors.items():
        assert np.array_equal(again.factors[name], values)


def test_trying_ahead_changes_nothing(drawn: tuple[World, Textures]) -> None:
    world, textures = sampling.draw(VARIANTS["full"], torch.arange(4), KEY, ahead=1)
    assert torch.equal(world.masks, drawn[0].masks[:4])
    for values, expected in zip(textures, drawn[1], strict=True):
        assert torch.equal(values, expected[..., :4, :])


@pytest.mark.parametrize(
    ("split", "seed", "variant"), [("val", 0, "full"), ("train", 1, "full"), ("train", 0, "pbg")]
)
def test_every_stream_is_its_own(drawn: tuple[World, Textures], split: str, seed: int, variant: str) -> None:
    index = torch.arange(2)
    key = ClevrTex(variant).stream_key(split, seed)
    first, _ = propose(index, index * 0, index * 0 + 3, key, VARIANTS[variant].distribution)
    own, _ = propose(index, index * 0, index * 0 + 3, KEY, VARIANTS["full"].distribution)
    assert not torch.isclose(first.rotation[:, :3], own.rotation[:, :3]).any()


def test_the_stream_of_version_1_is_fixed(drawn: tuple[World, Textures], scenes: SceneBatch) -> None:
    digest = hashlib.sha256()
    for values in (*drawn[0].objects, drawn[0].camera.place, drawn[0].lamps, drawn[0].masks, *drawn[1]):
        digest.update(values.contiguous().numpy().tobytes())
    assert ClevrTex.version == 1
    assert digest.hexdigest() == DIGEST
    assert np.allclose(scenes.images.mean((1, 2)), MEANS, atol=0.1)


DIGEST = "135ec737e00237eb8f35f6928b03132c16d9bd93203a4895e3e79eeaa6104d04"
MEANS = [[73.53, 67.74, 58.12], [112.99, 98.41, 96.47]]  # RGB of the first two pictures


def test_a_variant_that_is_not_there_is_refused() -> None:
    with pytest.raises(RequestError, match=r"unknown variant of clevrtex 'odd'.*ood"):
        arrays(ClevrTex, "train", 0, 1, 0, variant="odd")


def test_every_dataset_has_its_variant() -> None:
    spec = load_spec()
    for dataset in (
        "clevrtex",
        "clevrtex_ood",
        "clevrtex_camo",
        "clevrtex_pbg",
        "clevrtex_vbg",
        "clevrtex_grassbg",
    ):
        generator = generator_of(spec.dataset(dataset))
        assert generator.stand_in
        assert isinstance(generator, ClevrTex)
        assert generator.variant == (dataset.partition("_")[2] or "full")
    assert not generator_of(spec.dataset("clevr6")).stand_in


def test_cards_and_manifests_say_that_it_is_a_stand_in() -> None:
    dataset, clevr6 = (load_spec().dataset(name) for name in ("clevrtex", "clevr6"))
    made = PrepareRequest(dataset, "generated", Path(), seed=3).plan().source.generator
    assert made == {"version": 1, "seed": 3, "stand_in": 1}
    made = PrepareRequest(clevr6, "generated", Path(), seed=3).plan().source.generator
    assert made == {"version": 1, "seed": 3}
    known = dataset.spec.sources["generated"]
    assert "stand-in" in known.title
    assert known.errata[0].startswith("A stand-in, not a copy")


def test_the_picture_is_reduced_as_pillow_does() -> None:
    frames = torch.randint(0, 256, (2, 3, 192, 192), generator=torch.Generator().manual_seed(0))
    reduced = tonemap.reduce(frames.float(), 128, tonemap.bilinear).permute(0, 2, 3, 1).numpy()
    for frame, small in zip(frames, reduced, strict=True):
        picture = Image.fromarray(frame.permute(1, 2, 0).numpy().astype(np.uint8))
        assert np.array_equal(small, np.asarray(picture.resize((128, 128), Image.Resampling.BILINEAR)))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("variant", ["full", "ood"])
def test_the_device_changes_next_to_nothing(variant: str) -> None:
    cpu, cuda = (
        arrays(ClevrTex, "train", 0, 16, 0, variant=variant, device=device) for device in ("cpu", "cuda")
    )
    assert np.array_equal(cpu.masks, cuda.masks)
    for name, values in cpu.factors.items():
        assert np.array_equal(values, cuda.factors[name])
    # Where a ray just meets or misses what a mirror shows, a pixel may be another.
    difference = abs(cpu.images.astype(int) - cuda.images.astype(int))
    assert (difference > 1).mean() < 1e-3
