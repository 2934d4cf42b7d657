"""Training curves show what metrics.jsonl says."""

from __future__ import annotations

import pytest
from helpers.figure_runs import VALIDATIONS, pdf_text, write_course

from objbench.errors import ObjbenchError
from objbench.report.figures.canvas import save
from objbench.report.figures.curves import Course, training_curves
from objbench.spec.load import load_spec

METRICS = {name: load_spec().metric(name) for name in ("ari_fg", "miou")}


def course(tmp_path, label="objmae", seed=0, validations=VALIDATIONS):
    path = tmp_path / f"{label}-{seed}.metrics.jsonl"
    write_course(path, validations)
    return Course.read(path, label, seed)


def lines(figure, panel=0):
    return [(line.get_xdata().tolist(), line.get_ydata().tolist()) for line in figure.axes[panel].get_lines()]


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_course_is_the_validations_of_a_log_in_a_folder_or_by_itself(tmp_path):
    found = course(tmp_path)
    assert found.steps == [100, 200]
    assert found.values == {"ari_fg": [0.25, 0.75], "miou": [0.125, 0.5]}
    write_course(tmp_path / "metrics.jsonl", VALIDATIONS)
    assert Course.read(tmp_path, "objmae", 0) == found


def test_a_log_without_validation_is_named_with_the_remedy(tmp_path):
    with pytest.raises(ObjbenchError, match="seed-0: no such file or folder"):
        Course.read(tmp_path / "seed-0", "objmae", 0)
    (tmp_path / "seed-0").mkdir()
    with pytest.raises(ObjbenchError, match=r"seed-0: no validation .*recipe\.evaluations"):
        Course.read(tmp_path / "seed-0", "objmae", 0)
    with pytest.raises(ObjbenchError, match="no validation"):
        course(tmp_path, validations={})


def test_a_damaged_line_is_named(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"step"\n', encoding="utf-8")
    with pytest.raises(ObjbenchError, match=r"metrics\.jsonl: line 2 is damaged"):
        Course.read(tmp_path, "objmae", 0)


def test_each_seed_of_one_method_is_a_line_of_its_own_colour(tmp_path):
    other = {100: {"ari_fg": 0.0, "miou": 0.25}, 200: {"ari_fg": -0.25, "miou": 0.25}}
    figure = training_curves("t", [course(tmp_path), course(tmp_path, seed=3, validations=other)], METRICS)
    assert [axes.get_title("left") for axes in figure.axes] == ["ARI-FG, %", "mIoU, %"]
    assert lines(figure) == [([100, 200], [25.0, 75.0]), ([100, 200], [0.0, -25.0])]
    assert lines(figure, 1) == [([100, 200], [12.5, 50.0]), ([100, 200], [25.0, 25.0])]
    assert legend(figure) == ["seed 0", "seed 3"]
    assert len({line.get_color() for line in figure.axes[0].get_lines()}) == 2
    assert figure.axes[0].get_ylim()[0] < -25
    assert figure.axes[1].get_ylim() == (-2, 102)


def test_of_several_methods_each_has_a_colour_and_a_mean_over_thin_seeds(tmp_path):
    low = {100: {"ari_fg": 0.0, "miou": 0.0}, 200: {"ari_fg": 0.25, "miou": 0.0}}
    courses = [course(tmp_path), course(tmp_path, seed=1, validations=low), course(tmp_path, "monet")]
    figure = training_curves("t", courses, METRICS)
    assert legend(figure) == ["objmae", "monet"]
    assert lines(figure)[2] == ([100, 200], [12.5, 50.0])  # the mean of the two before it
    drawn = figure.axes[0].get_lines()
    assert [line.get_linewidth() for line in drawn] == [0.5, 0.5, 1.2, 0.8]
    assert [line.get_color() for line in drawn[:3]] == [drawn[0].get_color()] * 3
    assert drawn[3].get_color() != drawn[0].get_color()


def test_seeds_validated_after_other_steps_have_no_mean(tmp_path):
    longer = {300: {"ari_fg": 0.5, "miou": 0.5}}
    courses = [course(tmp_path), course(tmp_path, seed=1, validations=longer), course(tmp_path, "monet")]
    assert len(lines(training_curves("t", courses, METRICS))) == 3


def test_few_validations_are_dots_as_well_for_one_makes_no_line(tmp_path):
    many = dict.fromkeys(range(1, 34), VALIDATIONS[100])
    courses = [
        course(tmp_path, validations={50: VALIDATIONS[100]}),
        course(tmp_path, seed=1, validations=many),
    ]
    markers = [line.get_marker() for line in training_curves("t", courses, METRICS).axes[0].get_lines()]
    assert markers == ["o", "None"]


def test_one_metric_is_as_wide_as_a_column(tmp_path):
    assert training_curves("t", [course(tmp_path)], {"miou": METRICS["miou"]}).get_figwidth() == 3.25
    assert training_curves("t", [course(tmp_path)], METRICS).get_figwidth() == 5.5


def test_text_is_in_the_pdf_and_its_fonts_too(tmp_path):
    save(
        training_curves("objmae: a title", [course(tmp_path)], METRICS, ["A note."]), tmp_path / "curves.pdf"
    )
    text = pdf_text(tmp_path / "curves.pdf")
    for expected in ("objmae: a title", "ARI-FG, %", "mIoU, %", "training step", "seed 0", "A note."):
        assert expected in text
    content = (tmp_path / "curves.pdf").read_bytes()
    assert b"/FontFile2" in content  # TrueType
    assert b"/Type3" not in content
