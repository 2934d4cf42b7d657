"""objbench evaluate, as a user gives it: predictions of any model become a record beside those of runs."""

from __future__ import annotations

import json
import os
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.commands import call, refused
from PIL import Image

from objbench import metrics
from objbench.data.read.load import load
from objbench.methods.create import create
from objbench.records import External, read_record
from objbench.spec.load import load_spec
from objbench.train import score_predictions
from objbench.train.batches import unit_range
from objbench.train.evaluate import segment

ON = ("--dataset", "tetrominoes")


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture(autouse=True)
def _data(prepared_data, monkeypatch, tmp_path):
    monkeypatch.setenv("OBJBENCH_DATA", str(prepared_data))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def scenes():
    return load("tetrominoes", "test")


def done(*arguments: object) -> str:
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def saved(name: str = "mine.npz", **arrays: object) -> Path:
    np.savez(name, **arrays)
    return Path(name)


def external(name: str = "mine", seed: int = 0) -> Path:
    return Path("runs/tetrominoes/generated/external") / name / f"seed-{seed}"


def segmentation(scenes):
    """What the run of color_kmeans with seed 0 says of every scene."""
    method = create("color_kmeans", "tetrominoes").eval()
    return segment(method, unit_range(scenes.images), scenes.keys, 0)


def check_equal(mine: Path, run: Path) -> None:
    with np.load(mine) as found, np.load(run) as expected:
        assert found.files == expected.files
        for name in found.files:
            np.testing.assert_array_equal(found[name], expected[name])


@pytest.mark.parametrize("form", ["npz", "by key", "png", "tar"])
def test_saved_label_maps_score_exactly_as_the_run_that_made_them(scenes, form):
    done("run", "color_kmeans", *ON)
    found = segmentation(scenes)
    labels, painted = found.labels.numpy().astype(np.uint8), found.reconstruction.numpy()
    if form == "npz":
        path = saved("kmeans.npz", masks=labels, reconstruction=painted)
    elif form == "by key":
        order = np.random.default_rng(0).permutation(len(scenes))
        keys = np.array(scenes.keys)[order]
        path = saved("kmeans.npz", masks=labels[order], reconstruction=painted[order], keys=keys)
    else:
        path = Path("kmeans")
        path.mkdir()
        for key, plane in zip(scenes.keys, labels, strict=True):
            Image.fromarray(plane).save(path / f"{key}.png")
        if form == "tar":
            with tarfile.open("kmeans.tar", "w") as archive:
                archive.add("kmeans")
            path = Path("kmeans.tar")
    done("evaluate", path, *ON)
    run, mine = Path("runs/tetrominoes/generated/color_kmeans/seed-0"), external("kmeans")
    painted_metrics = {
        name for name, spec in load_spec().metrics.items() if spec.computed_from == "reconstruction"
    }
    of_run, of_mine = (
        {name: value for name, value in record.metrics["test"].values.items() if name not in painted_metrics}
        for record in (read_record(run), read_record(mine))
    )
    assert of_mine == of_run
    assert "ari_fg" in of_mine
    if form in ("npz", "by key"):
        check_equal(mine / "per_image.npz", run / "per_image.npz")
        check_equal(mine / "samples.npz", run / "samples.npz")
        assert (mine / "samples.png").read_bytes() == (run / "samples.png").read_bytes()


def test_scores_and_the_folder_are_printed(scenes):
    lines = done("evaluate", saved(masks=scenes.masks.numpy()), *ON).splitlines()
    assert lines[0].startswith("mine seed 0 on test (10 images): ari 100.0  ari_fg 100.0  miou 100.0 ")
    assert lines[-1] == f"  {Path.cwd() / external()}"


def test_json_tells_key_scores_and_folder(scenes):
    found = json.loads(done("evaluate", saved(masks=scenes.masks.numpy()), *ON, "--json"))
    assert (found["key"], found["n_images"], found["miou"]["mean"]) == ("test", 10, 1.0)
    assert found["scored"]["definition"] == "clevrtex"
    assert found["folder"] == str(Path.cwd() / external())


def test_the_record_says_what_is_known_and_by_whom_it_was_made(scenes):
    done("evaluate", saved(masks=scenes.masks.numpy()), *ON, "--name", "Slot-7.b", "--seed", "3")
    record = read_record(external("Slot-7.b", 3))
    assert (record.kind, record.method, record.seed, record.variant) == ("external", "Slot-7.b", 3, None)
    assert isinstance(record, External)
    config = json.loads((external("Slot-7.b", 3) / "config.json").read_text())
    assert config["predictions"]["test"]["file"] == "mine.npz"
    assert len(config["predictions"]["test"]["sha256"]) == 64


def test_what_predictions_were_trained_on_can_be_said_once_and_stands_in_record_and_report(scenes):
    path, said = saved(masks=scenes.masks.numpy()), ("--trained-on", "tetrominoes/emorl")
    done("evaluate", path, *ON)
    assert json.loads((external() / "result.json").read_text()).keys().isdisjoint({"trained_on"})
    again = call("evaluate", path, *ON, *said).stderr
    assert "now said to be trained on tetrominoes@standard/emorl" in again
    assert "scored before" in again
    assert read_record(external()).trained_on == "tetrominoes@standard/emorl"
    before = (external() / "result.json").stat()
    assert "now said" not in call("evaluate", path, *ON).stderr
    assert (external() / "result.json").stat().st_mtime_ns == before.st_mtime_ns
    assert json.loads(done("evaluate", path, *ON, "--json"))["trained_on"] == "tetrominoes@standard/emorl"
    assert "made outside objbench, said to be trained on tetrominoes@standard/emorl" in done("list", "runs")
    done("evaluate", path, *ON, "--definition", "emorl")
    record = read_record(external())
    assert (record.trained_on, set(record.metrics)) == ("tetrominoes@standard/emorl", {"test", "test#emorl"})
    assert "predictions made outside objbench, said to be trained on Tetrominoes (emorl)" in done(
        "report", *ON
    )
    message = refused(2, "evaluate", path, *ON, "--trained-on", "tetrominoes/generated")
    assert (
        "said to be trained on tetrominoes@standard/emorl, not on tetrominoes@standard/generated" in message
    )
    done("evaluate", path, *ON, "--trained-on", "tetrominoes@aligned/generated", "--fresh")
    record = read_record(external())
    assert (record.trained_on, set(record.metrics)) == (
        "tetrominoes@aligned/generated",
        {"test", "test#emorl"},
    )
    done("evaluate", path, *ON, "--fresh")
    assert read_record(external()).trained_on is None


def test_seeds_of_which_different_things_are_said_are_named(scenes):
    path, said = saved(masks=scenes.masks.numpy()), ("--trained-on", "tetrominoes/emorl")
    done("evaluate", path, *ON)
    first = call("evaluate", path, *ON, "--seed", "1", *said).stderr
    assert "other seeds of mine on something else (seed-0: not known)" in first
    assert "other seeds" not in call("evaluate", path, *ON, *said).stderr


def test_seeds_whose_records_cannot_be_read_do_not_keep_others_from_being_scored(scenes):
    path = saved(masks=scenes.masks.numpy())
    for seed, make in ((1, os.mkfifo), (2, lambda link: link.symlink_to("result.json"))):
        external(seed=seed).mkdir(parents=True)
        make(external(seed=seed) / "result.json")
    done("evaluate", path, *ON)
    assert read_record(external()).metrics["test"].values["ari"].mean == 1


def test_a_run_in_the_place_of_predictions_is_refused(scenes):
    path = saved(masks=scenes.masks.numpy())
    done("evaluate", path, *ON)
    done("run", "grid", *ON)
    record = Path("runs/tetrominoes/generated/grid/seed-0/result.json").read_bytes()
    (external() / "result.json").write_bytes(record)
    assert "holds a run, and no scores of predictions" in refused(2, "evaluate", path, *ON)


def test_report_and_list_show_the_record(scenes):
    done("run", "one_slot", *ON)
    done("evaluate", saved(masks=scenes.masks.numpy()), *ON)
    table = done("report", *ON)
    (line,) = [line for line in table.splitlines() if line.startswith("mine ")]
    assert re.match(r"mine \[\w(,\w)*\] +generated +1 +- +100\.0 ", line)
    assert "predictions made outside objbench" in table
    listing = done("list", "runs")
    assert "external/mine/seed-0" in listing
    assert "predictions made outside objbench, ari_fg 100.0%, ari 100.0%, miou 100.0%" in listing
    entries = json.loads(done("list", "runs", "--json"))
    assert {entry["name"]: entry["external"] for entry in entries} == {
        "tetrominoes/generated/external/mine/seed-0": True,
        "tetrominoes/generated/one_slot/seed-0": False,
    }


def test_a_registered_name_stands_beside_the_run_of_it(scenes):
    done("run", "grid", *ON)
    done("evaluate", saved(masks=scenes.masks.numpy()), *ON, "--name", "grid")
    table = done("report", *ON)
    assert sum(line.startswith("Grid (trivial)") for line in table.splitlines()) == 1
    assert sum(line.startswith("Grid (predictions)") for line in table.splitlines()) == 1


def test_the_same_predictions_are_the_same_record(scenes):
    path = saved(masks=scenes.masks.numpy())
    first = done("evaluate", path, *ON)
    before = (external() / "result.json").read_bytes()
    again = call("evaluate", path.rename("renamed.npz"), *ON, "--name", "mine")
    assert (again.exit_code, again.stdout) == (0, first)
    assert "test: scored before; --fresh scores it again" in again.stderr
    assert (external() / "result.json").read_bytes() == before


def test_other_predictions_in_the_same_place_are_refused_unless_fresh(scenes):
    path = saved(masks=scenes.masks.numpy())
    done("evaluate", path, *ON)
    before = (external() / "result.json").read_bytes()
    saved(masks=np.zeros_like(scenes.masks.numpy()))
    for definition in ("clevrtex", "deepmind"):
        message = refused(2, "evaluate", path, *ON, "--definition", definition)
        assert "holds scores of other predictions under test (sha256 is " in message
        assert "another --name or --seed, or delete all scores in there with --fresh" in message
    assert (external() / "result.json").read_bytes() == before
    done("evaluate", path, *ON, "--seed", "1")
    done("evaluate", path, *ON, "--fresh")
    assert read_record(external()).metrics["test"].values["ari"].mean == 0.0


def test_fresh_scores_the_same_predictions_again_and_keeps_their_other_scores(scenes):
    path = saved(masks=scenes.masks.numpy())
    done("evaluate", path, *ON)
    done("evaluate", path, *ON, "--definition", "emorl")
    assert "scored before" not in call("evaluate", path, *ON, "--fresh").stderr
    assert set(read_record(external()).metrics) == {"test", "test#emorl"}


@pytest.mark.parametrize("scale", [255.0, -1.0])
def test_a_reconstruction_of_another_range_is_refused(scenes, scale):
    images = scenes.images.numpy() / 255
    other = images * 255 if scale > 0 else images * 3 - 1
    message = refused(1, "evaluate", saved(masks=scenes.masks.numpy(), reconstruction=other), *ON)
    assert "the reconstruction is float, expected in [0,1]" in message


def test_fresh_keeps_the_old_scores_where_the_new_predictions_are_refused(scenes):
    path = saved(masks=scenes.masks.numpy())
    done("evaluate", path, *ON)
    saved(masks=np.full(scenes.masks.shape, -1))
    assert "labels must be 0 to 1023" in refused(1, "evaluate", path, *ON, "--fresh")
    assert read_record(external()).metrics["test"].values["ari"].mean == 1.0


def test_splits_and_definitions_stand_in_one_record(scenes):
    test, val = scenes.masks.numpy(), load("tetrominoes", "val").masks.numpy()
    done("evaluate", saved(masks=val), *ON, "--split", "val")
    done("evaluate", saved(masks=test), *ON)
    done("evaluate", saved(masks=test), *ON, "--definition", "emorl")
    done("evaluate", saved(masks=val), *ON, "--split", "val", "--definition", "deepmind")
    record = read_record(external())
    assert {key: scores.n_images for key, scores in record.metrics.items()} == {
        "tetrominoes/generated:val": 6,
        "test": 10,
        "test#emorl": 10,
        "tetrominoes/generated:val#deepmind": 6,
    }
    assert list(record.metrics["test#emorl"].values) == ["ari", "ari_fg"]
    assert record.scored["test#emorl"].definition == "emorl"
    assert record.scored["tetrominoes/generated:val"].split == "val"
    with np.load(external() / "per_image.npz") as arrays:
        assert {entry.rpartition("/")[0] for entry in arrays.files} == set(record.metrics)
        assert arrays["test#emorl/ari"].shape == (10,)
    with np.load(external() / "samples.npz") as samples:
        assert samples["keys"].tolist() == scenes.keys


def test_a_killed_evaluation_is_made_up_for(scenes):
    path = saved(masks=scenes.masks.numpy())
    done("evaluate", path, *ON)
    (external() / "result.json").unlink()
    saved(masks=np.zeros_like(scenes.masks.numpy()))
    done("evaluate", path, *ON)
    assert read_record(external()).metrics["test"].values["ari"].mean == 0.0


@pytest.mark.parametrize(
    ("write", "file"),
    [
        ("write_atomically", "config.json"),
        ("write_samples", "samples.npz"),
        ("write_per_image", "per_image.npz"),
        ("sample_sheet", "samples.png"),
    ],
)
def test_a_kill_in_any_write_of_the_first_evaluation_does_not_block_going_on(
    scenes, monkeypatch, write, file
):
    def killed(*arguments: object) -> None:
        (external() / f"{file}.partial").touch()
        raise Killed

    path = saved(masks=scenes.masks.numpy())
    with monkeypatch.context() as patched:
        patched.setattr(score_predictions, write, killed)
        with pytest.raises(Killed):
            call("evaluate", path, *ON)
    done("evaluate", path, *ON)
    assert read_record(external()).metrics["test"].values["ari"].mean == 1.0
    assert not list(external().glob("*.partial"))
    assert (external() / "samples.png").is_file()


def test_soft_masks_are_kept_for_pictures_but_logits_are_not(scenes):
    planes = (scenes.masks[:, None] == torch.arange(4)[:, None, None]).float().numpy()
    done("evaluate", saved(masks=planes), *ON)
    done("evaluate", saved("logits.npz", masks=20 * planes - 10), *ON)
    with np.load(external() / "samples.npz") as soft, np.load(external("logits") / "samples.npz") as hard:
        assert soft["soft_masks"].max() == 255
        assert "soft_masks" not in hard.files
        assert np.array_equal(soft["prediction"], hard["prediction"])


def test_pictures_show_what_was_scored_where_pixels_are_of_no_plane(scenes):
    planes = scenes.masks[:, None] == torch.arange(1, 4)[:, None, None]
    done("evaluate", saved(masks=planes.numpy()), *ON)
    record = read_record(external())
    assert record.metrics["test"].values["ari"].mean == 1.0
    with np.load(external() / "samples.npz") as samples:
        count = len(samples["prediction"])
        labels, truth = torch.tensor(samples["prediction"]).long(), scenes.masks[:count].long()
        assert samples["soft_masks"].shape[1] == 3
    assert metrics.score(labels, truth)["ari"].tolist() == [1.0] * count
    assert all(len(image.unique()) == len(true.unique()) for image, true in zip(labels, truth, strict=True))


@pytest.mark.parametrize("name", ["samples.npz", "per_image.npz"])
def test_fresh_gives_a_damaged_file_up(scenes, name):
    done("evaluate", saved(masks=load("tetrominoes", "val").masks.numpy()), *ON, "--split", "val")
    path = saved(masks=scenes.masks.numpy())
    done("evaluate", path, *ON)
    file = external() / name
    file.write_bytes(file.read_bytes()[:100])
    assert f"{name}: damaged" in refused(1, "evaluate", path, *ON, "--definition", "emorl")
    found = call("evaluate", path, *ON, "--fresh")
    assert found.exit_code == 0
    assert f"{name}: damaged; written anew without" in found.stderr
    done("evaluate", path, *ON, "--definition", "emorl")
    assert len(read_record(external()).metrics) == 3


def test_pictures_by_the_order_of_their_names(scenes):
    Path("pngs").mkdir()
    for i, plane in enumerate(scenes.masks.numpy()):
        Image.fromarray(plane).save(f"pngs/{i}x.png")
    assert "--by-order takes them in the order of their names" in refused(1, "evaluate", "pngs", *ON)
    assert "pngs seed 0 on test (10 images): ari 100.0" in done("evaluate", "pngs", *ON, "--by-order")


def test_a_wrong_count_leaves_nothing_behind(scenes):
    message = refused(1, "evaluate", saved(masks=scenes.masks[:7].numpy()), *ON)
    assert "mine.npz: predictions of 7 images, expected 10: all of tetrominoes test" in message
    assert not Path("runs").exists()


def test_nan_is_named_by_key(scenes):
    masks = np.zeros((10, 4, 35, 35), np.float32)
    masks[6, 2, 0, 0] = np.nan
    message = refused(1, "evaluate", saved(masks=masks), *ON)
    assert f"mine.npz: masks hold NaN: {scenes.keys[6]}" in message
    assert not list(Path("runs").rglob("result.json"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--name", "a/b"], "'a/b' cannot name a record"),
        (["--name", ".."], "'..' cannot name a record"),
        (["--name", "x:y"], "'x:y' cannot name a record"),
        (["--name", " "], "' ' cannot name a record"),
        (["--seed", "-1"], "Invalid value for '--seed'"),
        (["--by-order"], "--by-order is for PNGs"),
        (["--trained-on", "tetrominoes"], "--trained-on tetrominoes: expected DATASET[@PROTOCOL]/SOURCE"),
        (["--trained-on", "clevrtex/"], "--trained-on clevrtex/: expected DATASET[@PROTOCOL]/SOURCE"),
        (["--trained-on", "/official"], "--trained-on /official: expected DATASET[@PROTOCOL]/SOURCE"),
        (["--trained-on", "tetrominos/emorl"], "--trained-on tetrominos/emorl: unknown dataset"),
        (["--trained-on", "clevrtex/upstream"], "unknown source of clevrtex 'upstream'"),
        (["--trained-on", "clevrtex_ood/official"], "clevrtex_ood has no train split in official"),
        (["--definition", "deepmnd"], "unknown definition 'deepmnd': did you mean 'deepmind'?"),
        (["--split", "tset"], "unknown split 'tset': did you mean 'test'?"),
        (["--device", "tpu"], "unknown device 'tpu'"),
    ],
)
def test_wrong_options_exit_with_2(arguments, message):
    assert message in refused(2, "evaluate", saved(masks=np.zeros((10, 35, 35), np.uint8)), *ON, *arguments)


def test_a_file_name_that_cannot_name_a_record_asks_for_one(scenes):
    path = saved("my predictions.npz", masks=scenes.masks.numpy())
    assert "'my predictions' cannot name a record" in (message := refused(2, "evaluate", path, *ON))
    assert "give another one with --name" in message
    done("evaluate", path, *ON, "--name", "mine")


@pytest.mark.parametrize("name", ["nowhere", "notes.txt", "masks.npz.txt"])
def test_what_is_neither_run_nor_predictions_exits_with_2(name):
    Path("notes.txt").touch()
    message = refused(2, "evaluate", name, *ON)
    assert (
        f"{name}: expected the folder of a run, or predictions: an .npz or .npy of masks, or a folder"
        in message
    )


def test_a_misspelt_name_of_shipped_weights_is_told_the_names():
    message = refused(2, "evaluate", "objmae-small-tetrominoe", *ON)
    assert (
        "found nothing, and no shipped weights of that name (known: objmae-demo-tetrominoes-aligned, "
        in message
    )


def test_a_run_takes_a_definition_but_no_options_of_predictions(scenes):
    done("run", "one_slot", *ON)
    folder = Path("runs/tetrominoes/generated/one_slot/seed-0")
    for run in (folder, folder / "result.json"):
        given = ("--name", "x", "--seed", "0", "--trained-on", "clevrtex/official", "--by-order", "--fresh")
        message = refused(2, "evaluate", run, *ON, *given)
        assert (
            "--name and --seed and --trained-on and --by-order and --fresh: only for predictions, but "
            in message
        )
    lines = done("evaluate", folder, *ON, "--definition", "deepmind").splitlines()
    assert lines[0].startswith("one_slot seed 0 on test#deepmind (10 images): ari 0.0")
    assert lines[-1] == f"  {folder.resolve()}"
    assert read_record(folder).scored["test#deepmind"].definition == "deepmind"


def test_scores_of_predictions_are_no_run(scenes):
    done("evaluate", saved(masks=scenes.masks.numpy()), *ON)
    message = refused(2, "evaluate", external(), "--dataset", "tetrominoes@aligned")
    assert "holds scores of predictions, without a model: name the run of a method" in message


def test_files_of_others_in_the_place_of_the_record_are_refused(scenes):
    external().mkdir(parents=True)
    (external() / "notes.txt").touch()
    path = saved(masks=scenes.masks.numpy())
    assert "holds files, but no scores of predictions" in refused(2, "evaluate", path, *ON)
    done("evaluate", path, *ON, "--fresh")
    assert not (external() / "notes.txt").exists()


def test_the_folder_above_the_seeds_is_told_what_to_name(tmp_path):
    folder = tmp_path / "runs/tetrominoes/generated/grid"
    for seed in (0, 1):
        (folder / f"seed-{seed}").mkdir(parents=True)
        (folder / f"seed-{seed}/config.json").write_text('{"method": "grid"}')
    message = refused(2, "evaluate", folder, *ON)
    assert (
        f"{folder} holds the runs seed-0, seed-1: name the folder of one of them, such as {folder}/seed-0"
        in message
    )


def test_a_run_has_the_name_that_its_list_prints():
    done("run", "grid", *ON)
    name = "tetrominoes/generated/grid/seed-0"
    assert name in done("list", "runs")
    done("evaluate", name, *ON, "--split", "val")
    assert "tetrominoes/generated:val" in read_record(Path("runs", name)).metrics


def test_the_data_folder_of_a_command_is_the_only_one_it_looks_into(prepared_data, monkeypatch):
    monkeypatch.delenv("OBJBENCH_DATA")
    Path("data/bad").mkdir(parents=True)
    Path("data/bad/dataset.yaml").write_text("datasets: [")
    assert "dataset.yaml" in refused(2, "list", "datasets")
    there = (*ON, "--data", prepared_data)
    done("run", "slot_attention:demo", *there, "--set", "recipe.steps=1", "--set", "recipe.batch_size=2")
    done("evaluate", "objmae-small-tetrominoes", *there)
