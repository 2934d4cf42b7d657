"""The documentation site: its pages, and links that hold on GitHub and on the site."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import site_hooks
from helpers.paths import ROOT
from helpers.project import REPOSITORY
from mkdocs.config import load_config
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files, get_files
from mkdocs.structure.pages import Page

import objbench


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def config() -> MkDocsConfig:
    return load_config(str(ROOT / "mkdocs.yml"))


@pytest.fixture
def files(config: MkDocsConfig, monkeypatch: pytest.MonkeyPatch) -> Files:
    monkeypatch.setattr(config.plugins, "_current_plugin", "site_hooks", raising=False)  # as mkdocs does
    return site_hooks.on_files(get_files(config), config)


def on(page: str, text: str, config: MkDocsConfig, files: Files) -> str:
    """The text as it is on the site, on this page of it."""
    file = files.get_file_from_path(page)
    assert file
    return site_hooks.on_page_markdown(text, Page(None, file, config), config, files)


def test_it_builds_without_a_warning_from_pages_inside_and_outside_docs(site: Path) -> None:
    assert "What is measured" in (site / "metrics/index.html").read_text()
    assert "What has not been done" in (site / "index.html").read_text()
    assert "Stripes" in (site / "add-a-method/index.html").read_text()
    assert (site / "results/demo/samples.png").read_bytes() == (
        ROOT / "results/demo/samples.png"
    ).read_bytes()


def test_every_page_stands_once_in_the_navigation(config: MkDocsConfig, files: Files) -> None:
    listed = re.findall(r"[\w/-]+\.md", str(config.nav))
    assert sorted(listed) == sorted(file.src_uri for file in files.documentation_pages())


def test_the_reference_has_the_whole_top_level_with_examples_as_code(site: Path) -> None:
    page = (site / "api/index.html").read_text()
    modules = {"metrics", "testing", "__version__"}
    missing = [name for name in objbench.__all__ if f'id="objbench.{name}"' not in page]
    assert set(missing) == modules
    assert 'id="objbench.metrics.score"' in page
    assert 'id="objbench.testing.check_method"' in page
    assert ">Examples:<" in page
    assert "&gt;&gt;&gt; " in page


@pytest.mark.parametrize(
    ("page", "link", "target"),
    [
        ("metrics.md", "report.md#statistics", "report.md#statistics"),
        ("metrics.md", "../results/README.md", "results.md"),
        ("metrics.md", "../results/demo/samples.png", "results/demo/samples.png"),
        ("metrics.md", "../CONTRIBUTING.md#add-a-metric", "add-a-metric.md"),
        ("metrics.md", "../CONTRIBUTING.md", "contributing.md"),
        ("metrics.md", "../benchmarks.yaml", f"{REPOSITORY}/blob/main/benchmarks.yaml"),
        ("metrics.md", "../results/bench", f"{REPOSITORY}/tree/main/results/bench"),
        ("start.md", "notebooks/start.ipynb", "notebooks/start.md"),
        ("notebooks/start.md", "../metrics.md", "../metrics.md"),
        ("notebooks/start.md", "../../CONTRIBUTING.md#add-a-method", "../add-a-method.md"),
        ("index.md", "docs/metrics.md", "metrics.md"),
        ("index.md", "LICENSE", f"{REPOSITORY}/blob/main/LICENSE"),
        ("results.md", "demo/curves.png", "results/demo/curves.png"),
        ("results.md", "../docs/baselines.md#gnm", "baselines.md#gnm"),
        ("add-a-metric.md", "docs/metrics.md", "metrics.md"),
    ],
)
def test_a_link_leads_to_the_page_the_picture_or_the_file(
    config: MkDocsConfig, files: Files, page: str, link: str, target: str
) -> None:
    assert on(page, f"see [this]({link}).", config, files) == f"see [this]({target})."


@pytest.mark.parametrize("link", ["../docs/nothing.md", "nothing.md", "../results/nothing", "../../outside"])
def test_a_link_to_nothing_is_a_warning(
    config: MkDocsConfig, files: Files, caplog: pytest.LogCaptureFixture, link: str
) -> None:
    with caplog.at_level(logging.WARNING):
        on("metrics.md", f"[this]({link})", config, files)
    assert caplog.messages == [f"docs/metrics.md links to {link}, which is not in the repository"]


def test_addresses_anchors_and_code_stay(config: MkDocsConfig, files: Files) -> None:
    text = "[a](https://example.org/b.md) [c](#here)\n\n```python\nf[x](y)\n```\n"
    assert on("metrics.md", text, config, files) == text


def test_the_name_of_a_block_of_code_is_its_title(config: MkDocsConfig, files: Files) -> None:
    text = "```python my/stripes.py\nimport torch\n```\n"
    assert on("add-a-method.md", text, config, files).startswith('```python title="my/stripes.py"\n')


def test_a_part_of_contributing_is_a_page_with_headings_of_its_own() -> None:
    pages = dict(site_hooks.contributing())
    assert list(pages) == ["contributing.md", "add-a-method.md", "add-a-metric.md", "add-a-dataset.md"]
    assert pages["add-a-dataset.md"].startswith("# Add a dataset\n")
    assert "\n## A generator of your own\n" in pages["add-a-dataset.md"]
    assert "## Add a" not in pages["contributing.md"]
