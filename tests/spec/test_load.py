"""benchmarks.yaml and the layers on top of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from helpers.paths import ROOT

from objbench.errors import RequestError
from objbench.spec.load import load_spec
from objbench.spec.resolve import resolve


def layer(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


def test_default_protocol_may_be_left_out():
    spec = load_spec()
    assert str(spec.dataset("tetrominoes")) == str(spec.dataset("tetrominoes@standard")) == "tetrominoes"
    assert str(spec.dataset("tetrominoes@aligned")) == "tetrominoes@aligned"


def test_the_default_source_is_the_papers_unless_the_protocol_lacks_it():
    spec = load_spec()
    assert spec.dataset("tetrominoes").source(None) == "emorl"
    assert spec.dataset("tetrominoes@aligned").source(None) == "generated"


def test_a_protocol_may_have_a_size_of_its_own():
    spec = load_spec()
    assert spec.dataset("clevr6").spec.image_shape == (3, 128, 128)
    assert spec.dataset("clevr6@emorl192").spec.image_shape == (3, 192, 192)


def test_plugins_bring_their_own_layer():
    methods = load_spec().methods
    assert methods["objmae"].citation == "vikstrom2022"
    assert methods["toy_two_stages"].variants["wide"].config == {"model": {"width": 16}}


def test_a_users_layer_goes_on_top(tmp_path):
    text = "methods: {toy_geco: {config: {model: {width: 99}}}}\ndatasets: {tetrominoes: {slots: 5}}"
    spec = load_spec(layer(tmp_path, text))
    assert spec.methods["toy_geco"].config["model"] == {"width": 99}
    assert spec.methods["toy_geco"].config["recipe"]["batch_size"] == 2
    assert spec.datasets["tetrominoes"].slots == 5
    assert load_spec().datasets["tetrominoes"].slots == 4


def test_keys_of_settings_may_be_dotted_everywhere(tmp_path):
    text = """
methods:
  toy_geco:
    config: {model.width: 99, 'recipe.batch_size': 3}
    datasets: {tetrominoes: {model.width: 98}}
    variants: {wide: {description: d, config: {recipe.batch_size: 4}, datasets: {clevr6: {model.width: 97}}}}
"""
    spec = load_spec(layer(tmp_path, text))
    method = spec.methods["toy_geco"]
    assert (method.config["model"], method.config["recipe"]["batch_size"]) == ({"width": 99}, 3)
    assert method.datasets["tetrominoes"] == {"model": {"width": 98}}
    assert method.variants["wide"].config == {"recipe": {"batch_size": 4}}
    assert method.variants["wide"].datasets == {"clevr6": {"model": {"width": 97}}}
    assert resolve(spec, "toy_geco", spec.dataset("clevr10"), {}).config["recipe"]["batch_size"] == 3
    with pytest.raises(RequestError, match=r"toy_geco\.config: unknown key 'model\.widht': did you mean"):
        load_spec(layer(tmp_path, "methods: {toy_geco: {config: {model.widht: 3}}}"))


def test_a_file_of_another_program_in_the_data_folder_is_passed_over(tmp_path):
    (tmp_path / "coco128").mkdir()
    (tmp_path / "coco128" / "dataset.yaml").write_text(
        "path: coco128\ntrain: images/train\nnames: {0: person}\n"
    )
    assert load_spec(None, tmp_path).datasets.keys() == load_spec().datasets.keys()


def test_published_rows_add_up(tmp_path):
    row = "{table: '1', method: mine, citation: vikstrom2022, std: sample, values: {tetrominoes: {ari: [1.5, null]}}}"
    spec = load_spec(layer(tmp_path, f"published: [{row}]"))
    assert len(spec.published) == len(load_spec().published) + 1


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            "values: {tetrominos: {ari: [1.5, null]}}",
            "published.*unknown dataset 'tetrominos': did you mean 'tetrominoes'",
        ),
        ("values: {tetrominoes: {ari-fg: [1.5, null]}}", "unknown metric 'ari-fg': did you mean 'ari_fg'"),
        (
            "values: {tetrominoes: {ari_fg: [9990, null]}}",
            "values.tetrominoes.ari_fg: 9990 is outside of the metric's range",
        ),
        (
            "values: {tetrominoes: {ari_fg: [50, -1]}}",
            r"values.tetrominoes.ari_fg.1: expected .*greater than or equal to 0, found -1",
        ),
        ("values: {}, seeds: 0", "seeds: expected a whole number > 0 or null, found 0"),
        ("values: {}, clusters: -3", "clusters: expected a whole number > 0, true number or null, found -3"),
        (
            "values: {}, test_set: {tetrominoes: standrad/emorl}",
            "unknown place 'standrad/emorl': did you mean 'standard/emorl'",
        ),
        ("values: {}, definitions: {arr: not stated}", "unknown metric 'arr'"),
    ],
)
def test_slips_in_published_rows_are_told(tmp_path, changes, told):
    row = f"{{table: '1', method: mine, citation: vikstrom2022, std: sample, {changes}}}"
    with pytest.raises(RequestError, match=told):
        load_spec(layer(tmp_path, f"published: [{row}]"))


def test_a_published_table_says_once_what_its_rows_share(tmp_path):
    text = """
published:
  - table: mine
    citation: vikstrom2022
    std: sample
    seeds: 5
    rows:
      - {method: one, values: {tetrominoes: {ari: [1.5, null]}}}
      - {method: two, seeds: 3, values: {tetrominoes: {ari: [2.5, 0.1]}}}
"""
    one, two = load_spec(layer(tmp_path, text)).published[-2:]
    assert (one.table, one.method, one.citation, one.std, one.seeds) == (
        "mine",
        "one",
        "vikstrom2022",
        "sample",
        5,
    )
    assert (two.method, two.seeds, two.values) == ("two", 3, {"tetrominoes": {"ari": (2.5, 0.1)}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("datasetz: {}", r"mine.yaml: unknown key 'datasetz': did you mean 'datasets'\?"),
        ("datasets: {tetrominoes: {slotz: 3}}", r"'slotz': did you mean 'slots'\?"),
        (
            "datasets: {tetrominoes: {slots: many}}",
            "datasets.tetrominoes.slots: expected a whole number > 0, found 'many'",
        ),
        ("methods: {objmae: {variants: {demo: {conf: {}}}}}", r"'conf': did you mean 'config'\?"),
        (
            "methods: {toy_geco: {datasets: {tetrominoes: {model: {widht: 3}}}}}",
            r"did you mean 'model.width'\?",
        ),
        ("methods: {monet: {clas: 'a:B'}}", r"unknown key in methods.monet 'clas': did you mean 'class'\?"),
        ("recipe: {stepz: 5}", r"recipe: unknown key 'stepz': did you mean 'steps'\?"),
        ("methods: {toy_geco: {config: {model: {widht: 3}}}}", r"did you mean 'model.width'\?"),
        ("methods: {objmae: {datasets: {tetrominos: {}}}}", r"did you mean 'tetrominoes'\?"),
        ("datasets: {tetrominoes: {default_source: emorel}}", r"default_source: .* did you mean 'emorl'\?"),
        (
            "datasets: {tetrominoes: {also_test: [tetrominoes]}}",
            r"also_test: tetrominoes is tested on itself anyway",
        ),
        (
            "datasets: {tetrominoes: {slots: true}}",
            r"tetrominoes.slots: expected a whole number > 0, found True",
        ),
        (
            "datasets: {tetrominoes: {slots: '4'}}",
            r"tetrominoes.slots: expected a whole number > 0, found '4'",
        ),
        (
            "datasets: {clevr6: {protocols: {standard: {height: yes}}}}",
            r"height: expected a whole number > 0 or null, found True",
        ),
        ("metrics: {ari: {range: [0, true]}}", r"metrics.ari.range.1: expected a valid number, found True"),
        ("metrics: {ari: {range: [.nan, 1]}}", r"metrics.ari.range.0: expected a finite number, found nan"),
        ("datasets: {tetrominoes: {also_test: [nope]}}", r"also_test: unknown dataset 'nope'"),
        (
            "datasets: {tetrominoes: {protocols: {mine: {description: d, sources: {emorl: {tran: {}}}}}}}",
            r"protocols.mine.sources.emorl: unknown split 'tran': did you mean 'train'\?",
        ),
        (
            "datasets: {tetrominoes: {protocols: {mine: {description: d, sources: {emorl: {train: {file: tst}}}}}}}",
            r"protocols.mine.sources.emorl.train: unknown file 'tst': did you mean 'test'\?",
        ),
        (
            "datasets: {clevr6: {protocols: {standard: {select: {deepmnd: {max_objects: 6}}}}}}",
            r"protocols.standard.select: unknown source 'deepmnd': did you mean 'deepmind'\?",
        ),
        (
            "datasets: {clevr6: {protocols: {standard: {select: {deepmind: {max_visible: 6}}}}}}",
            "protocols.standard.select.deepmind: give exactly one of max_objects and max_visible",
        ),
        (
            "datasets: {clevr6: {protocols: {standard: {sources: {deepmind: {train: {about: null}}}}}}}",
            r"protocols.standard.sources.deepmind.train: say with 'about' how many scenes",
        ),
        (
            "datasets: {clevr6: {protocols: {standard: {transform: {image: bicubics}}}}}",
            "transform.image: expected nearest, bilinear, bicubic or null, found 'bicubics'",
        ),
        (
            "methods: {objmae: {citation: vikstrom2021}}",
            r"mine.yaml: methods.objmae.citation: unknown reference .* did you mean 'vikstrom2022'\?",
        ),
        ("datasets: {tetrominoes: {citation: [no2025]}}", "tetrominoes.citation: unknown reference 'no2025'"),
        (
            "published: [{table: '1', rows: [{method: one}, {methd: two}]}]",
            r"unknown key in published.0.rows.1 'methd': did you mean 'method'\?",
        ),
        ("published: [{table: '1'}]", r"published.0.citation: expected a word, found nothing"),
        ("published: [{table: '1', rows: {}}]", r"mine.yaml: published.0.rows: expected a list of rows"),
        (
            "methods: {grid: {variants: {'x/../../b': {description: d}}}}",
            r"mine.yaml: methods.grid.variants: 'x/../../b' cannot name a folder of results: expected letters, digits",
        ),
        ("methods: {'..': {title: T, summary: s, class: 'a:B'}}", r"methods: '\.\.' cannot name a folder"),
        ("methods: {'a:b': {title: T, summary: s, class: 'a:B'}}", "methods: 'a:b' cannot name a folder"),
        (
            "datasets: {tetrominoes: {protocols: {'': {description: d, sources: {}}}}}",
            "datasets.tetrominoes.protocols: '' cannot name a folder",
        ),
        (
            "datasets: {tetrominoes: {sources: {/tmp/x: {title: t, licence: l}}}}",
            "datasets.tetrominoes.sources: '/tmp/x' cannot name a folder",
        ),
        (
            "datasets: {a@b: {title: T, description: d, slots: 1, height: 8, width: 8, default_source: s, "
            "sources: {s: {title: t, licence: l}}, protocols: {p: {description: d, sources: {s: {}}}}}}",
            "datasets: 'a@b' cannot name a folder",
        ),
        ("- a list", "expected a mapping"),
        ("a: [", "not valid YAML"),
    ],
)
def test_mistakes_are_named_with_the_closest_match(tmp_path, text, message):
    with pytest.raises(RequestError, match=message):
        load_spec(layer(tmp_path, text))


def test_a_layer_that_was_edited_is_read_again(tmp_path):
    path = layer(tmp_path, "datasets: {tetrominoes: {slots: 5}}")
    assert load_spec(path).datasets["tetrominoes"].slots == 5
    path.write_text("datasets: {tetrominoes: {slots: 6}}")
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1))  # within the same tick of the clock
    assert load_spec(path).datasets["tetrominoes"].slots == 6


def test_a_missing_layer_is_refused(tmp_path):
    with pytest.raises(RequestError, match=r"nowhere.yaml: no such file"):
        load_spec(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tetromino", r"unknown dataset 'tetromino': did you mean 'tetrominoes'\?"),
        ("tetrominoes@alined", r"unknown protocol of tetrominoes 'alined': did you mean 'aligned'\?"),
    ],
)
def test_unknown_datasets_are_refused(name, message):
    with pytest.raises(RequestError, match=message):
        load_spec().dataset(name)


def test_the_wheel_carries_everything_and_works_elsewhere(tmp_path):
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as content:
        names = content.namelist()
    assert {
        "objbench/benchmarks.yaml",
        "objmae/benchmarks.yaml",
        "objbench/py.typed",
        "objbench/use/model_card.md.jinja",
    } <= set(names)
    for weights in ("objmae-small-tetrominoes", "objmae-demo-tetrominoes-aligned"):
        parts = {"model.safetensors", "config.json", "result.json", "README.md"}
        assert {f"objmae/weights/{weights}/{part}" for part in parts} <= set(names)
    assert not [name for name in names if name.startswith(("tests", "tools"))]
    site = tmp_path / "site"
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(site),
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True)
    code = (
        "import objbench, objbench.cli as c; assert 'site' in objbench.__file__, objbench.__file__; c.main()"
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {
        "PYTHONPATH": str(site)
    }
    listed = subprocess.run(
        [sys.executable, "-c", code, "list", "methods"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert listed.returncode == 0, listed.stderr
    assert "objmae" in listed.stdout
    assert "color_kmeans" in listed.stdout


@pytest.mark.parametrize("content", ["", "raise ImportError('broken')\n"])
def test_the_layer_of_a_plugin_is_found_without_importing_it(tmp_path, content):
    package = tmp_path / "whole_package"
    package.mkdir()
    (package / "__init__.py").write_text(content)
    (package / "benchmarks.yaml").write_text("methods: {mine: {title: Mine, summary: a class in __init__}}")
    info = tmp_path / "whole_package-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: whole-package\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[objbench.methods]\nmine = whole_package:Mine\n")
    command = [sys.executable, "-m", "objbench", "list", "methods"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    listed = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "a class in __init__" in listed.stdout, listed.stderr


def test_more_than_eight_mistakes_are_counted_and_long_values_are_cut(tmp_path):
    text = f"datasets: {{one: {{title: [{'x' * 5000}], odd: 1, strange: 2}}}}"
    with pytest.raises(RequestError) as caught:
        load_spec(layer(tmp_path, text))
    told = str(caught.value).splitlines()
    assert len(told) == 9
    assert "datasets.one.title: expected a word, found ['xxx" in told[0]
    assert re.search(r": \d more mistakes$", told[-1])
    assert len(str(caught.value)) < 2500


@pytest.mark.parametrize(
    ("points", "told"),
    [
        ({"one": "[objbench.metrics]\nari = one:x\n"}, "objbench and one both have the metric 'ari': rename"),
        (
            {"one": "[objbench.methods]\ngrid = one:x\n"},
            "objbench and one both have the method 'grid': rename",
        ),
        ({"one": "[objbench.methods]\nobjmae = one:x\n"}, " both have the method 'objmae': rename"),
        (
            {name: f"[objbench.metrics]\nmine = {name}:x\n" for name in ("one", "two")},
            "both have the metric 'mine': rename",
        ),
    ],
    ids=["metric", "method", "plugin", "two plugins"],
)
def test_a_name_of_two_packages_is_refused(tmp_path, points, told):
    for name, text in points.items():
        info = tmp_path / f"{name}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(text)
    kind = "metrics" if "metric" in told else "methods"
    listed = subprocess.run(
        [sys.executable, "-m", "objbench", "list", kind],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
    )
    assert listed.returncode != 0, listed.stdout
    assert told in listed.stderr
    assert "Traceback" not in listed.stderr
