"""The page as a document: what stands in it, that it needs nothing else, and that nothing in it can break out."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest
from hatchling.builders.wheel import WheelBuilder
from helpers.paths import ROOT
from helpers.run_artifacts import per_image, predicted, save_run, scenes
from helpers.synthetic import GENERATED, external, generated, record, scored, scores
from PIL import Image

from objbench.report.html.curves import curves_of
from objbench.report.html.gallery import BUDGET, gallery_of
from objbench.report.html.page import page
from objbench.report.html.runs import duration, runs_of
from objbench.report.html.sprites import LEVELS, deflated, planes
from objbench.report.rows.collect import collect
from objbench.report.rows.measured import Selection
from objbench.report.tables.build import build
from objbench.report.tables.hyperparameters import hyperparameters, hyperparameters_table
from objbench.report.tables.paper import paper_plans
from objbench.report.tables.plan import dataset_plans
from objbench.spec.load import load_spec
from objbench.viz import colour, prediction_colours

VOID = {"meta", "link", "input", "br", "img"}


class Document(HTMLParser):
    """Ids, attributes that load something, the text of each script and style, and tables as rows of texts."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.loads, self.links, self.raw, self.rows, self.open = [], [], [], [], [], []
        self.policy = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if "id" in given:
            self.ids.append(given["id"])
        self.loads += [given[name] for name in ("src", "srcset", "data", "action") if given.get(name)]
        self.loads += [given["href"]] if tag == "link" else []
        self.links += [given["href"]] if tag == "a" else []
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"]
        if tag in ("script", "style"):
            self.raw.append([tag, given, ""])
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("script", "style"):
            self.raw[-1][2] += data
        elif {"td", "th"} & set(self.open) and "sup" not in self.open:
            self.rows[-1][-1] += data

    @property
    def data(self):
        return json.loads(next(text for tag, given, text in self.raw if given.get("id") == "data"))

    @property
    def lines(self):
        return [[" ".join(cell.split()) for cell in row] for row in self.rows]


def rows_in(runs):
    spec = load_spec()
    return spec, collect(spec, runs, Selection()).rows


def made(runs, **options):
    spec, rows = rows_in(runs)
    return page(dataset_plans(rows, [], spec), spec, **options)


def shown_runs(runs):
    spec, rows = rows_in(runs)
    return runs_of(dataset_plans(rows, [], spec), spec)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """objmae with two seeds, monet with one, on the release; color_kmeans on generated data, with hard labels."""
    folder = tmp_path_factory.mktemp("html") / "runs"
    rng = np.random.default_rng(0)
    images, truth = scenes(4, 24, 3, rng)
    for seed in (0, 1):
        values = scores(ari_fg=0.9 - 0.1 * seed)
        item = record(seed, metrics={"test": values})
        save_run(folder / f"objmae/seed-{seed}", item, predicted(images, truth, 4, rng), per_image(320, rng))
    save_run(
        folder / "monet/seed-0", record(method="monet"), predicted(images, truth, 5, rng), per_image(320, rng)
    )
    hard = predicted(images, truth, 4, rng)
    hard = {name: hard[name] for name in ("images", "masks", "prediction", "keys")}
    item = generated(method="color_kmeans")
    save_run(folder / "kmeans/seed-0", item, hard, per_image(320, rng), trained=False)
    return folder


@pytest.fixture(scope="module")
def text(runs):
    return made(runs)


@pytest.fixture(scope="module")
def document(text):
    return Document(text)


def inflated(text):
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), "<u2")


def test_ids_are_unique_and_links_lead_to_them(document):
    assert len(set(document.ids)) == len(document.ids)
    inside = {link for link in document.links if link.startswith("#")}
    assert {link.removeprefix("#") for link in inside} <= set(document.ids)
    references = set(document.links) - inside
    assert "https://arxiv.org/abs/2210.14139" in references
    assert references <= {reference.url for reference in load_spec().references.values()}


def test_nothing_is_loaded_from_anywhere(text, document):
    assert [link for link in document.loads if not link.startswith("data:")] == []
    style = next(content for tag, _, content in document.raw if tag == "style")
    assert "url(" not in style
    assert "@import" not in style
    code = document.raw[-1][2]
    assert not re.search(r"\bfetch\(|XMLHttpRequest|import\(|https?://(?!www\.w3\.org/2000/svg)", code)


def test_only_the_own_style_and_script_are_allowed(document):
    for tag, given, content in document.raw:
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        if given.get("type") != "application/json":
            assert f"{tag}-src 'sha256-{digest}'" in document.policy
    assert document.policy.startswith("default-src 'none'; img-src data:;")


def test_the_same_input_gives_the_same_text(runs, text):
    assert made(runs) == text


@pytest.mark.parametrize("intervals", [False, True])
def test_every_number_is_that_of_the_table(runs, intervals):
    spec, rows = rows_in(runs)
    plans = dataset_plans(rows, [], spec)
    lines = Document(page(plans, spec, intervals)).lines
    for plan in plans:
        for line in build(plan, spec, all_seeds=True, intervals=intervals).lines:
            expected = [line.label.text.strip(), *line.facts, *(cell.text for cell in line.cells)]
            assert expected in lines


def test_what_the_table_calls_best_is_bold(runs, text):
    spec, rows = rows_in(runs)
    built = [build(plan, spec) for plan in dataset_plans(rows, [], spec)]
    best = [cell.text for table in built for line in table.lines for cell in line.cells if cell.best]
    assert best
    assert re.findall(r"<strong>(.*?)</strong>", text) == [value.partition(" ± ")[0] for value in best]


def test_marks_lead_to_the_notes_of_their_table(text):
    assert re.search(r'<a href="#t0-a">a</a>', text)
    assert re.search(r'<li id="t0-a"><span class="letter">a</span> <span class="note">[^<]+</span>', text)


def test_tables_of_several_datasets_have_headings_above_headings(runs):
    spec, rows = rows_in(runs)
    document = Document(page(paper_plans("2", rows, []), spec))
    assert ["", "ClevrTex OOD", "ClevrTex CAMO"] in document.lines


def test_tables_without_rows_stand_as_they_are():
    spec = load_spec()
    document = Document(
        page([], spec, tables=[hyperparameters_table(hyperparameters("7", spec, ["tetrominoes"]), spec)])
    )
    assert ["setting", "Tetrominoes"] in document.lines
    assert "runs" not in document.ids


def test_without_rows_the_page_says_so():
    assert "There are no rows to show." in page([], load_spec())


EVIL = '</script><script>alert("1")</script>'


def test_names_cannot_break_out(tmp_path):
    item = external(method=EVIL, overrides={EVIL: "\"'><img src=http://x>"})
    rng = np.random.default_rng(0)
    images, truth = scenes(1, 24, 2, rng)
    save_run(
        tmp_path / "runs/a/seed-0", item, predicted(images, truth, 3, rng), per_image(9, rng), trained=False
    )
    document = Document(made(tmp_path / "runs"))
    assert [tag for tag, _, _ in document.raw] == ["style", "script", "script"]
    assert document.data["runs"][0]["series"].startswith(EVIL)
    assert any(line[0] == EVIL for line in document.lines)
    assert all(link.startswith("data:") for link in document.loads)


def test_only_the_runs_behind_the_rows_are_shown(tmp_path):
    save_run(tmp_path / "a", record(0))
    save_run(tmp_path / "b", record(1, metrics={"test": scores(miou=0.99)}))
    save_run(tmp_path / "c", record(0))  # the same seed once more: the table counts the first
    spec = load_spec()
    all_rows = collect(spec, tmp_path, Selection()).measured
    best = collect(spec, tmp_path, Selection(1, "miou")).measured
    folders = [run.folder.name for run in runs_of(dataset_plans(all_rows, [], spec), spec)]
    assert folders == ["a", "b"]
    assert [run.folder.name for run in runs_of(dataset_plans(best, [], spec), spec)] == ["b"]


def test_provenance_names_everything(text):
    for told in ("objmae-config", "train-fingerprint", "tetrominoes-test-fingerprint", "1,506,916", "NVIDIA H200",
                 "2024-05-01T12:00:00+00:00", "2.13.0", "1 h 00 min", "1,024 MiB"):  # fmt: skip
        assert told in text
    assert "generated, version 1, seed 0" in text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(4.21, "4.2 s"), (59.96, "60.0 s"), (723, "12 min 03 s"), (3900, "1 h 05 min")],
)
def test_durations(seconds, words):
    assert duration(seconds) == words


def test_label_maps_are_exact_and_coloured_as_pictures_are(runs, document):
    content = document.data["gallery"]
    samples = np.load(runs / "monet/seed-0/samples.npz")
    entry = next(e for e in content["runs"] if len(e["images"][0]["planes"]["labels"]) == 5)
    scene = content["sets"][entry["set"]]
    assert np.array_equal(inflated(scene["truth"]).reshape(4, 24, 24), samples["masks"])
    assert scene["colours"]["0"] == "#404040"
    assert scene["colours"]["1"] == "#{:02x}{:02x}{:02x}".format(*colour(1))
    indices = inflated(entry["prediction"]).reshape(4, 24, 24)
    for i, image in enumerate(entry["images"]):
        labels = np.array([slot["label"] for slot in image["slots"]])
        assert np.array_equal(labels[indices[i]], samples["prediction"][i])
        expected = prediction_colours(samples["prediction"][i], samples["masks"][i])
        hexed = {label: "#{:02x}{:02x}{:02x}".format(*rgb) for label, rgb in expected.items()}
        assert {slot["label"]: slot["colour"] for slot in image["slots"]} == hexed


def test_runs_on_the_same_images_share_them(document):
    content = document.data["gallery"]
    assert len(content["runs"]) == 4
    assert len(content["sets"]) == 2  # of the release and of generated data


def test_ranks_are_among_all_images(tmp_path):
    rng = np.random.default_rng(0)
    images, truth = scenes(4, 24, 2, rng)
    values = {"keys": np.array([f"{i:08d}" for i in range(6)]), "ari_fg": np.array([0.5, 0.7, np.nan, 0.7, 0.9, 0.1]),
              "mse": np.array([0.3, 0.2, 0.1, 0.4, 0.5, 0.6])}  # fmt: skip
    save_run(tmp_path / "a", record(), predicted(images, truth, 3, rng), values)
    found = gallery_of(shown_runs(tmp_path), load_spec()).runs[0]["scores"]
    assert found["ari_fg"] == {
        "texts": ["50.0", "70.0", "undefined", "70.0"],
        "ranks": [4, 2, None, 2],
        "ties": [1, 2, None, 2],
        "of": 5,
    }
    assert found["mse"]["ranks"] == [3, 2, 1, 4]
    assert found["mse"]["texts"][0] == "0.30000"


def test_values_of_other_images_are_not_taken(tmp_path):
    rng = np.random.default_rng(0)
    images, truth = scenes(2, 24, 2, rng)
    values = {"keys": np.array(["7", "8"]), "ari_fg": np.array([0.5, 0.7])}
    save_run(tmp_path / "a", record(), predicted(images, truth, 3, rng), values)
    assert gallery_of(shown_runs(tmp_path), load_spec()).runs[0]["scores"] == {}


def test_first_seeds_come_first_and_what_has_no_room_is_named(runs):
    whole = gallery_of(shown_runs(runs), load_spec())
    assert whole.left_out == []
    partly = gallery_of(shown_runs(runs), load_spec(), whole.size - 1)
    assert [entry["run"] for entry in whole.runs] == ["r0", "r1", "r2", "r3"]
    second = next(run.id for run in shown_runs(runs) if run.record.seed == 1)
    assert [entry["run"] for entry in partly.runs] == sorted({"r0", "r1", "r2", "r3"} - {second})
    assert partly.left_out == ["objmae, seed 1, on Tetrominoes (emorl)"]


def test_planes_shrink_before_first_seeds_are_left_out(tmp_path):
    rng = np.random.default_rng(0)
    images, truth = scenes(3, 128, 10, rng)
    for method in ("objmae", "monet"):
        save_run(
            tmp_path / method, record(method=method), predicted(images, truth, 11, rng), per_image(20, rng)
        )
    share = BUDGET // (30 * 16) * (2 * 3)  # as much per image as 30 runs of 16 have
    found = gallery_of(shown_runs(tmp_path), load_spec(), share)
    assert found.left_out == []
    assert found.size <= share
    assert found.level.shrink > 1
    side = 128 // found.level.shrink
    plane = found.runs[0]["images"][0]["planes"]
    assert (plane["height"], plane["width"]) == (side, side)
    assert gallery_of(shown_runs(tmp_path), load_spec()).level == LEVELS[0]


def test_planes_carry_masks_as_alpha(tmp_path):
    rng = np.random.default_rng(0)
    masks = rng.integers(1, 256, (3, 20, 16), dtype=np.uint8)
    components = rng.integers(0, 256, (3, 3, 20, 16), dtype=np.uint8)
    source, height, width = planes(masks, components, LEVELS[0])
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))))
    assert (height, width) == (20, 16)
    assert np.array_equal(shown[..., 3].reshape(3, 20, 16), masks)
    assert np.array_equal(np.moveaxis(shown[..., :3].reshape(3, 20, 16, 3), -1, 1), components)


def test_boxes_that_are_present_come_with_the_colours_of_their_planes(tmp_path):
    rng = np.random.default_rng(0)
    images, truth = scenes(1, 24, 3, rng)
    samples = predicted(images, truth, 4, rng)
    samples["boxes"] = np.array([[[0.5, 0, 0.25, 1], [0, 0.5, 1, 0.5], [0, 0, 1, 1]]], dtype=np.float32)
    samples["presence"] = np.array([[1.0, 0.05, 0.5]], dtype=np.float32)
    save_run(tmp_path / "runs/spair/seed-0", record(method="spair"), samples, per_image(320, rng))
    (shown,) = gallery_of(shown_runs(tmp_path / "runs"), load_spec()).runs
    colours = prediction_colours(samples["prediction"][0], truth[0])
    assert shown["images"][0]["boxes"] == [
        {
            "label": label,
            "place": place,
            "presence": presence,
            "colour": "#{:02x}{:02x}{:02x}".format(*colours[label]),
        }
        for label, place, presence in ((3, [0, 0, 1, 1], 0.5), (1, [0.5, 0, 0.25, 1], 1))
    ]


def test_other_masks_are_shown_beside_those_that_the_method_segments_with(tmp_path):
    rng = np.random.default_rng(0)
    images, truth = scenes(2, 24, 3, rng)
    samples = predicted(images, truth, 4, rng)
    samples["prediction+masks=composited"] = truth.astype(np.int16)
    key = "test+masks=composited"
    metrics = {"test": scores(), key: scores().model_copy(update={"masks": "composited"})}
    item = record(method="spair", metrics=metrics, on={"test": scored(), key: scored()})
    save_run(tmp_path / "runs/spair/seed-0", item, samples, per_image(320, rng))
    found = gallery_of(shown_runs(tmp_path / "runs"), load_spec())
    assert [entry["evaluation"] for entry in found.runs] == ["test", key]
    own, other = found.runs
    assert other["where"] == f"{own['where']} (composited masks)"
    assert own["set"] == other["set"]
    assert len(found.sets) == 1
    for entry, labels in ((own, samples["prediction"]), (other, truth)):
        shown = inflated(entry["prediction"]).reshape(2, 24, 24)
        for i, image in enumerate(entry["images"]):
            names = np.array([slot["label"] for slot in image["slots"]])
            assert np.array_equal(names[shown[i]], labels[i])
    assert all("planes" in image for image in own["images"])
    assert not any("planes" in image for image in other["images"])
    del samples["prediction+masks=composited"]  # a run of a version that did not keep them
    save_run(tmp_path / "old/spair/seed-0", item, samples, per_image(320, rng))
    (entry,) = gallery_of(shown_runs(tmp_path / "old"), load_spec()).runs
    assert entry["evaluation"] == "test"


def test_labels_above_a_byte_survive():
    assert inflated(deflated(np.array([[0, 255, 256, 65535]]))).tolist() == [0, 255, 256, 65535]


@pytest.mark.parametrize(("name", "content"), [("samples.npz", b"PK damaged"), ("per_image.npz", b"PK damaged"),
                                               ("metrics.jsonl", b'{"step": 1\n'), ("metrics.jsonl", b"[1]\n")])  # fmt: skip
def test_damaged_files_are_named(tmp_path, name, content):
    rng = np.random.default_rng(0)
    images, truth = scenes(1, 24, 2, rng)
    save_run(tmp_path / "a", record(), predicted(images, truth, 3, rng), per_image(3, rng))
    (tmp_path / "a" / name).write_bytes(content)
    document = Document(made(tmp_path))
    assert "unread-h" in document.ids
    assert (document.data["curves"] == {}) == (name == "metrics.jsonl")
    assert (document.data["gallery"]["runs"] == []) == (name != "metrics.jsonl")


def test_curves_are_in_percent_and_losses_as_they_are(document):
    course = document.data["curves"]["r0"]
    assert course["ari_fg"]["x"][-1] == 6000
    assert course["ari_fg"]["y"][-1] == 90.0
    assert course["loss"]["y"][-1] == pytest.approx(0.3 * 0.9**30 + 0.001, rel=1e-4)


def test_curves_are_those_of_the_columns_and_only_scores_are_in_percent(document, tmp_path):
    assert document.data["percent"] == ["ari_fg", "ari", "miou", "miou_fg"]
    save_run(tmp_path / "a", record())
    lines = [json.dumps({"step": i, "val": {"mse": i / 1000, "mbo": 0.5, "ari": 0.5}}) + "\n" for i in (1, 2)]
    (tmp_path / "a/metrics.jsonl").write_text("".join(lines))
    metrics = {name: load_spec().metric(name) for name in ("mse", "mbo")}
    assert curves_of(shown_runs(tmp_path), metrics)[0]["r0"] == {
        "mse": {"x": [1, 2], "y": [0.001, 0.002]},
        "mbo": {"x": [1, 2], "y": [50.0, 50.0]},
    }


def test_long_curves_are_thinned_to_every_nth_point_and_the_last(tmp_path):
    save_run(tmp_path / "a", record())
    lines = [json.dumps({"step": i, "val": {"ari_fg": i / 1000}}) + "\n" for i in range(1, 1001)]
    (tmp_path / "a/metrics.jsonl").write_text("".join(lines))
    shown = curves_of(shown_runs(tmp_path), load_spec().columns())[0]["r0"]["ari_fg"]
    assert shown["every"] == 7
    assert shown["x"][:2] == [1, 8]
    assert (shown["x"][-1], shown["y"][-1]) == (1000, 100.0)
    assert len(shown["x"]) == len(shown["y"]) == 144


def test_a_run_scored_on_generated_data_is_known_by_its_origin(document):
    assert GENERATED["source"] == "generated"
    origins = {run["series"]: run["facets"]["origin"] for run in document.data["runs"]}
    assert origins["Colour k-means"] == ["1"]
    assert origins["objmae"] == ["0"]


def test_scores_on_a_second_set_are_shown_with_the_run(tmp_path):
    on = {"test": scored(), "clevrtex_ood": scored("clevrtex_ood")}
    save_run(tmp_path / "a", record(metrics={"test": scores(), "clevrtex_ood": scores()}, on=on))
    (run,) = shown_runs(tmp_path)
    assert run.evaluations == ("test", "clevrtex_ood")


def test_the_wheel_carries_templates_styles_and_scripts():
    assets = ROOT / "objbench/report/html/assets"
    here = {str(path.relative_to(ROOT)) for path in assets.iterdir()}
    built = {found.distribution_path for found in WheelBuilder(str(ROOT)).recurse_included_files()}
    assert len(here) == 11
    assert here <= built
