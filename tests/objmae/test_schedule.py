"""Every ramp of the recipe, epoch by epoch."""

from __future__ import annotations

import math

import pytest

from objbench.errors import RequestError
from objbench.spec.settings import parse
from objmae.schedule import Schedule


@pytest.fixture
def schedule_of(configure):
    return lambda dataset, name="objmae": parse(Schedule, configure(dataset, name)["schedule"])


@pytest.fixture
def schedule(schedule_of):
    return schedule_of("tetrominoes")


def test_learning_rate_warms_up_linearly_from_the_final_rate(schedule):
    assert schedule.rate(0) == 1e-5
    assert schedule.rate(1) == pytest.approx(1e-5 + 4.9e-4 / 10)
    assert schedule.rate(9) == pytest.approx(1e-5 + 4.9e-4 * 9 / 10)


def test_cosine_counts_from_epoch_zero_so_it_starts_below_the_peak(schedule):
    assert schedule.rate(10) == pytest.approx(4.987e-4, abs=5e-8)
    assert schedule.rate(150) == pytest.approx((5e-4 + 1e-5) / 2)
    assert schedule.rate(299) == pytest.approx(1e-5 + 4.9e-4 * (1 + math.cos(math.pi * 299 / 300)) / 2)


def test_learning_rate_stays_low_in_the_cool_down(schedule):
    assert {schedule.rate(epoch) for epoch in range(300, 330)} == {1e-5}


@pytest.mark.parametrize(
    ("dataset", "patches", "first", "distinct", "mean"),
    [
        ("tetrominoes", 49, 12, 38, 31.2),
        ("multi_dsprites", 64, 32, 33, 48.5),
        ("clevr6", 64, 16, 49, 40.9),
        ("clevrtex", 64, 16, 49, 40.9),
    ],
)
def test_kept_patches_grow_through_every_number_to_all(schedule_of, dataset, patches, first, distinct, mean):
    kept = [schedule_of(dataset).kept_patches(epoch, patches) for epoch in range(330)]
    assert kept == sorted(kept)
    assert set(kept) == set(range(first, patches + 1))
    assert len(set(kept)) == distinct
    assert sum(kept) / 330 == pytest.approx(mean, abs=0.05)
    assert set(kept[:11]) == {first}
    assert kept[299] < patches
    assert set(kept[300:]) == {patches}


def test_kept_patches_are_the_floor_of_the_exact_value(schedule):
    for epoch in range(10, 301):
        # N (1 - 3/4 (300 - e)/290), on the common denominator 4 * 290
        assert schedule.kept_patches(epoch, 49) == 49 * (4 * 290 - 3 * (300 - epoch)) // (4 * 290)


def test_a_ratio_without_exact_float_does_not_lose_a_patch(configure):
    schedule = parse(Schedule, configure()["schedule"] | {"mask_ratio": 0.9})
    assert math.floor(100 * (1 - 0.9)) == 9  # what floats would give
    assert schedule.kept_patches(0, 100) == 10


def test_entropy_weights_go_linearly_from_warm_up_to_ramp_end(schedule):
    assert {schedule.entropy_weights(epoch) for epoch in range(11)} == {(1e-4, 1e-4)}
    assert schedule.entropy_weights(155) == pytest.approx((1.55e-3, 5.05e-3))
    assert schedule.entropy_weights(300) == schedule.entropy_weights(329) == pytest.approx((3e-3, 1e-2))


def test_code_weights_exchange_the_two_final_weights(schedule_of):
    swapped = schedule_of("tetrominoes", "objmae:code_weights")
    assert swapped.entropy_weights(0) == (1e-4, 1e-4)
    assert swapped.entropy_weights(300) == pytest.approx((1e-2, 3e-3))


@pytest.mark.parametrize("epoch", [0, 10, 155, 329])
def test_an_entropy_left_out_has_no_weight_at_any_time(schedule_of, epoch):
    assert schedule_of("tetrominoes", "objmae:no_pixel_entropy").entropy_weights(epoch)[0] == 0
    assert schedule_of("tetrominoes", "objmae:no_object_entropy").entropy_weights(epoch)[1] == 0
    assert schedule_of("tetrominoes", "objmae:no_entropy").entropy_weights(epoch) == (0, 0)


def test_token_noise_is_on_through_epoch_ten_and_only_for_clevrtex(schedule_of):
    assert [schedule_of("clevrtex").noise(epoch) for epoch in (0, 10, 11, 329)] == [0.1, 0.1, 0, 0]
    assert {schedule_of("clevr6").noise(epoch) for epoch in range(330)} == {0}


def test_demo_counts_in_steps(schedule_of):
    demo = schedule_of("tetrominoes", "objmae:demo")
    assert [demo.kept_patches(step, 49) for step in (0, 2250, 4099, 4100, 4499)] == [24, 24, 48, 49, 49]
    assert {demo.entropy_weights(step) for step in range(4500)} == {(1e-4, 1e-4)}
    assert demo.rate(250) == pytest.approx(1e-5 + 1.49e-3 * (1 + math.cos(math.pi * 250 / 4100)) / 2)
    assert (demo.noise(2250), demo.noise(2251)) == (0.1, 0.0)
    assert demo.rate(4100) == 1e-5


@pytest.mark.parametrize("key", ["warmup_epochs", "learning_rate_warmup"])
def test_a_warm_up_that_outlasts_the_ramp_is_refused(configure, key):
    values = configure()["schedule"] | {key: 300}
    message = rf"schedule\.{key}: expected less than schedule\.ramp_end=300, found 300"
    with pytest.raises(RequestError, match=message):
        parse(Schedule, values)


@pytest.mark.parametrize("ratio", [-0.1, 1.0])
def test_a_mask_ratio_outside_its_range_is_refused(configure, ratio):
    values = configure()["schedule"] | {"mask_ratio": ratio}
    with pytest.raises(RequestError, match=f"mask_ratio: expected a number >= 0 and < 1, found {ratio}"):
        parse(Schedule, values)
