"""objbench report --figure: which records are drawn, what is said where they are missing, the same bytes twice."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from helpers.figure_runs import run, run_on, samples
from helpers.synthetic import GENERATED, scored, scores
from matplotlib.text import Text
from PIL import Image

from objbench.errors import ObjbenchError, RequestError
from objbench.report.figures import PAPER_FIGURES, SUCCESS, FigureRequest, draw
from objbench.report.figures.paper import compose
from objbench.report.rows.collect import collect
from objbench.report.rows.measured import Selection
from objbench.report.rows.success import Success
from objbench.scores import Scores
from objbench.spec.load import load_spec


def rows_in(runs, selection=None):
    return collect(load_spec(), runs, selection or Selection()).measured


def request(runs, number="3", datasets=(), select="all", told=None, **options):
    """A request for a figure of the records in `runs`."""
    selection = Selection.parse(select, load_spec())
    usual = {"methods": (), "seed": None, "success": SUCCESS, "titled": True}
    tell = (told if told is not None else []).append
    rows = rows_in(runs, selection)
    return FigureRequest(
        number, rows, load_spec(), datasets, selection=selection, tell=tell, **usual | options
    )


def text_of(runs, number="3", dataset=None, **options):
    """All text on the figure."""
    figure = compose(request(runs, number, [dataset] if dataset else [], **options))
    return " ".join(text.get_text() for text in figure.findobj(Text))


def refused(error, runs, number="3", dataset=None, **options):
    with pytest.raises(error) as caught:
        text_of(runs, number, dataset, **options)
    assert type(caught.value) is error
    return str(caught.value)


@pytest.mark.parametrize(
    ("number", "dataset", "key", "heading"),
    [
        ("6", "clevrtex", "test", "slot 4"),
        ("9", "clevrtex", "test", "attn. 4"),
        ("10", "clevrtex_ood", "clevrtex_ood", "slot 4"),
        ("11", "clevrtex_camo", "clevrtex_camo", "slot 4"),
        ("12", "clevrtex", "test", "slot 4"),
    ],
)
def test_each_number_is_drawn_from_the_dataset_of_the_paper(tmp_path, number, dataset, key, heading):
    run_on(tmp_path, dataset, key)
    text = text_of(tmp_path, number)
    assert f"{load_spec().dataset_title(dataset)} (official), test split" in text
    assert heading in text
    assert "objmae, seed 0: ARI-FG 90.0" in text
    assert "ARI-FG 20.0" in text


def test_figure_7_is_the_course_of_training_on_the_dataset(tmp_path):
    run_on(tmp_path, "clevrtex")
    run_on(tmp_path, "clevrtex", seed=1)
    text = text_of(tmp_path, "7")
    assert "objmae, ClevrTex (official): validation over training" in text
    assert "mask ratio 0" in text
    assert "seed 0" in text
    assert "seed 1" in text
    assert "seed 1" not in text_of(tmp_path, "7", seed=0)
    run(
        tmp_path,
        method="monet",
        dataset="clevrtex",
        source="official",
        on={"test": scored("clevrtex", source="official")},
    )
    several = text_of(tmp_path, "7", methods=["objmae", "monet"])
    assert "thick ones their means" in several


def test_every_number_of_the_paper_is_there():
    assert list(PAPER_FIGURES) == [str(number) for number in range(3, 13)]


def test_objmae_comes_first_and_else_the_best_method_by_ari_fg(tmp_path):
    run(tmp_path, method="monet", metrics={"test": scores(ari_fg=0.5)})
    run(tmp_path, method="iodine", metrics={"test": scores(ari_fg=0.7)})
    run(tmp_path, method="color_kmeans", metrics={"test": scores(ari_fg=0.99)})
    told = []
    assert "IODINE, seed 0" in text_of(tmp_path, told=told)
    assert told == [
        "no records of objmae on tetrominoes@standard/emorl that this figure can show: iodine, the best of those that it can show by "
        "ari_fg, is drawn"
    ]
    run(tmp_path, metrics={"test": scores(ari_fg=0.1)})
    told.clear()
    assert "objmae, seed 0" in text_of(tmp_path, told=told)
    assert told == []


def test_alternative_masks_are_not_drawn(tmp_path):
    composited = scores(ari_fg=0.99).model_copy(update={"masks": "composited"})
    on = {"test": scored(), "test+masks=composited": scored()}
    metrics = {"test": scores(ari_fg=0.4), "test+masks=composited": composited}
    run(tmp_path, method="spair", metrics=metrics, on=on)
    run(tmp_path, method="monet", metrics={"test": scores(ari_fg=0.5)})
    assert "MONet, seed 0" in text_of(tmp_path)
    assert "ARI-FG 40.0" in text_of(tmp_path, methods=("spair",))


def test_upstream_data_come_before_generated_and_what_is_left_out_is_said(tmp_path):
    run(tmp_path, source="generated", on={"test": scored(**GENERATED)})
    assert "generated data, not the upstream release" in text_of(tmp_path)
    run(tmp_path)
    told = []
    text = text_of(tmp_path, told=told)
    assert "Tetrominoes (emorl), test split" in text
    assert "generated" not in text
    assert told == [
        "drawn is objmae on tetrominoes@standard/emorl, 1 seed, 154,440 steps; there are also objmae on "
        "tetrominoes@standard/generated, 1 seed, 154,440 steps"
    ]


def test_named_methods_are_drawn_below_each_other(tmp_path):
    run(tmp_path, method="monet")
    run(tmp_path, method="slot_attention", variant="demo", kept=samples(planes=2, attention=False))
    text = text_of(tmp_path, methods=["slot_attention:demo", "monet"])
    assert text.index("Slot Attention (demo), seed 0") < text.index("MONet, seed 0")


def test_methods_are_drawn_side_by_side_only_on_the_same_images(tmp_path):
    run(tmp_path, method="monet")
    run(tmp_path, method="iodine", source="generated", on={"test": scored(**GENERATED)})
    message = refused(ObjbenchError, tmp_path, methods=["monet", "iodine"])
    assert message == (
        "monet and iodine were scored on no test split in common: monet on tetrominoes@standard/emorl; "
        "iodine on tetrominoes@standard/generated"
    )
    run(tmp_path, method="monet", source="generated", on={"test": scored(**GENERATED)})
    assert "Tetrominoes (generated), test split" in text_of(tmp_path, methods=["monet", "iodine"])


def test_a_method_without_records_is_named_with_the_command(tmp_path):
    run(tmp_path, method="monet")
    message = refused(ObjbenchError, tmp_path, methods=["iodine"])
    assert message.startswith("no records of iodine on tetrominoes to draw from: ")
    assert "objbench run iodine --dataset tetrominoes" in message
    assert "did you mean 'monet'" in refused(RequestError, tmp_path, methods=["monnet"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("spair:nonsense", "unknown variant of spair 'nonsense'"),
        ("spair:demo (composited)", "unknown variant of spair 'demo (composited)'. Known: "),
    ],
)
def test_no_command_is_said_that_would_refuse_the_method(tmp_path, name, message):
    assert refused(RequestError, tmp_path, methods=["spair", name]).startswith(message)
    run(tmp_path, method="spair")
    assert refused(RequestError, tmp_path, methods=["spair", name]).startswith(message)


def test_the_lowest_of_the_selected_seeds_is_drawn_or_the_one_asked_for(tmp_path):
    for seed, miou in enumerate((0.1, 0.3, 0.2)):
        run(tmp_path, seed, metrics={"test": scores(miou=miou)})
    assert "objmae, seed 0" in text_of(tmp_path)
    assert "objmae, seed 1" in text_of(tmp_path, select="top:2:miou")
    assert "best 2 of 3 seeds by mIoU" in text_of(tmp_path, select="top:2:miou")
    assert "objmae, seed 2" in text_of(tmp_path, seed=2)
    assert "has seeds 0, 1, 2" in refused(RequestError, tmp_path, seed=7)


@pytest.mark.parametrize("figure", ["3", "8"])
def test_a_seed_is_asked_only_of_the_rows_that_are_drawn(tmp_path, figure):
    run(tmp_path, method="monet")  # has seed 0 alone
    run(tmp_path, 1, method="iodine")
    changed = {"overrides": {"recipe.steps": 5}, "config_hash": "short", "source": "generated"}
    run(tmp_path, 2, method="iodine", **changed)
    assert "IODINE, seed 1" in text_of(tmp_path, figure, "tetrominoes", methods=["iodine"], seed=1)
    assert "IODINE, seed 2" in text_of(tmp_path, figure, "tetrominoes", methods=["iodine"], seed=2)
    for method, message in (
        ("monet", "monet on .* has seeds 0 to draw"),
        ("iodine", "iodine on .* has seeds 1 "),
    ):
        told = refused(RequestError, tmp_path, figure, "tetrominoes", methods=[method], seed=3)
        assert re.match(f"--seed 3: {message}", told)


def test_failures_by_a_metric_that_is_undefined_for_some_images_say_over_which_they_are(tmp_path):
    some = scores().model_dump() | {"ari_fg": {"mean": 0.4, "std": 0.1, "n": 2}}
    run_on(tmp_path, "clevrtex", metrics={"test": Scores.model_validate(some)})
    text = text_of(tmp_path, "12")
    assert "as a mean over those test images for which ARI-FG is defined" in " ".join(text.split())
    assert "ARI-FG 40.0 (mean over 2 of 320 images)" in " ".join(text.split())


def test_failed_seeds_are_those_that_did_not_reach_what_is_stated_lowest_first(tmp_path):
    for seed, ari_fg in enumerate((0.9, 0.4, 0.2, 0.6)):
        run_on(tmp_path, "clevrtex", seed=seed, metrics={"test": scores(ari_fg=ari_fg)})
    text = text_of(tmp_path, "12")
    assert "2 of 4 seeds failed" in text
    assert "did not reach ARI-FG > 50 %" in text
    assert text.index("seed 2: ARI-FG 20.0") < text.index("seed 1: ARI-FG 40.0")
    assert "seed 3" not in text
    assert "3 of 4 seeds failed" in text_of(tmp_path, "12", success=Success("ari_fg", 0.7))
    none = text_of(tmp_path, "12", success=Success("ari_fg", 0.1))
    assert "none of 4 seeds failed, the worst 4 shown" in none
    assert "as a mean over all test images" in none
    assert "no --seed" in refused(RequestError, tmp_path, "12", seed=1)
    assert "has no mse_sum" in refused(ObjbenchError, tmp_path, "12", success=Success("mse_sum", 1))
    assert "no --select" in refused(RequestError, tmp_path, "12", select="top:1:miou")


def test_without_records_the_command_that_makes_them_is_said(tmp_path):
    message = refused(ObjbenchError, tmp_path)
    assert message.startswith(
        "no records on tetrominoes to draw from: objbench run objmae --dataset tetrominoes"
    )
    assert "objbench evaluate RUN --dataset clevrtex_ood" in refused(ObjbenchError, tmp_path, "10")


def test_samples_and_scores_that_are_missing_are_named_with_the_command(tmp_path):
    folder = run(tmp_path)
    (folder / "per_image.npz").unlink()
    again = f"objbench evaluate {folder} --dataset tetrominoes@standard --source emorl"
    message = refused(ObjbenchError, tmp_path)
    assert message.startswith(f"{folder}/per_image.npz: nothing kept of tetrominoes@standard/emorl")
    assert again in message
    (folder / "samples.npz").unlink()
    assert f"{folder}/samples.npz: nothing kept" in refused(ObjbenchError, tmp_path)


def test_samples_without_attention_are_named(tmp_path):
    run(tmp_path, method="monet", kept=samples(attention=False))
    message = refused(ObjbenchError, tmp_path, "8", "tetrominoes")
    assert message.startswith("--figure 8: monet on tetrominoes kept no attention masks in samples.npz")
    run(tmp_path, method="iodine")
    assert "IODINE, seed 0" in text_of(tmp_path, "8", "tetrominoes")
    assert "monet on tetrominoes" in refused(ObjbenchError, tmp_path, "8", "tetrominoes", methods=["monet"])


def test_a_curve_needs_a_training(tmp_path):
    run(tmp_path, method="one_slot")
    message = refused(ObjbenchError, tmp_path, "7", "tetrominoes")
    assert message.startswith("--figure 7: one_slot on tetrominoes has no training on it")


def test_a_copy_of_shipped_weights_kept_no_course_and_no_pictures_so_another_run_is_drawn(tmp_path):
    run(tmp_path, variant="demo")
    (shipped,) = {row.origins[0].folder for row in rows_in(tmp_path)}
    for file in ("metrics.jsonl", "samples.npz", "per_image.npz"):
        (shipped / file).unlink()
    assert "no validation in its metrics.jsonl" in refused(ObjbenchError, tmp_path, "7", "tetrominoes")
    run(tmp_path, method="monet")
    assert "MONet, Tetrominoes (emorl)" in text_of(tmp_path, "7", "tetrominoes")
    assert "MONet, seed 0" in text_of(tmp_path, "3")


def test_a_figure_without_titles_tells_them_for_its_caption(tmp_path):
    run(tmp_path)
    told = []
    text = text_of(tmp_path, "3", told=told, titled=False)
    assert "Tetrominoes" not in text
    assert "The first" not in text
    assert "slot 1" in text
    assert told[0].startswith("caption: Tetrominoes (emorl), test split. The first 3 of 320 test images.")
    curves = text_of(tmp_path, "7", "tetrominoes", told=told, titled=False)
    assert "validation over training" not in curves
    assert "ARI-FG, %" in curves
    assert told[-1].startswith("caption: objmae, Tetrominoes (emorl): validation over training.")


@pytest.mark.parametrize(
    ("number", "datasets", "output", "message"),
    [
        ("2", [], "a.png", "--figure 2: there are figures 3, 4, 5"),
        (
            "3",
            ["clevr6", "tetrominoes"],
            "a.png",
            "--figure 3 is of one dataset, not of clevr6 and tetrominoes",
        ),
        ("3", [], "a.svg", "a figure is written as .png or .pdf"),
    ],
)
def test_requests_that_cannot_be(tmp_path, number, datasets, output, message):
    run(tmp_path)
    with pytest.raises(RequestError, match=re.escape(message)):
        draw(request(tmp_path, number, datasets), tmp_path / output)


def test_without_a_suffix_both_are_written_and_the_same_bytes_every_time(tmp_path):
    run(tmp_path)
    run(tmp_path, 1)
    for number, name in (("3", "sheet"), ("7", "curves")):
        asked = request(tmp_path, number, ["tetrominoes"])
        files = [tmp_path / f"{name}.png", tmp_path / f"{name}.pdf"]
        assert draw(asked, tmp_path / name) == files
        written = [path.read_bytes() for path in files]
        assert b"Date" not in written[1]
        draw(asked, tmp_path / name)
        assert [path.read_bytes() for path in files] == written
    with Image.open(tmp_path / "sheet.png") as picture:
        assert picture.info.keys() == {"dpi"}
        assert picture.info["dpi"][0] >= 299


def test_the_verb_draws_as_another_process_did(tmp_path):
    run(tmp_path)
    draw(request(tmp_path), tmp_path / "here.pdf")
    command = [sys.executable, "-m", "objbench", "report", "--figure", "3", "--runs", tmp_path]
    there = [*command, "--method", "objmae", "--seed", "0", "--output", tmp_path / "there.pdf"]
    ended = subprocess.run(there, check=False, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "")
    assert ended.stderr == f"objbench: wrote {tmp_path}/there.pdf\n"
    assert (tmp_path / "there.pdf").read_bytes() == (tmp_path / "here.pdf").read_bytes()
