"""The documentation site shows files of the whole repository, and its links work on GitHub as well.

Pages link to files by relative paths, as GitHub resolves them. On the site a link to a page leads to the page, one to a
picture shows it, and any other leads to the file in the repository. A link to nothing is a warning, and so ends
`mkdocs build --strict`.
"""

from __future__ import annotations

import logging
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from site_notebook import markdown, read

ROOT = Path(__file__).parents[1]
# Files outside docs that are pages of the site. CONTRIBUTING is several: a part `## Add a X` is a page of its own.
PAGES = {
    "README.md": "index.md",
    "results/README.md": "results.md",
    "CHANGELOG.md": "changelog.md",
    "docs/notebooks/start.ipynb": "notebooks/start.md",
}
CONTRIBUTING = "CONTRIBUTING.md"
LINK = re.compile(r"(\]\()([^)\s:#]+)(#[^)\s]+)?\)")
NAMED_FENCE = re.compile(r"^```(\w+) ([^\s=]+)$", re.MULTILINE)
FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
log = logging.getLogger("mkdocs.site_hooks")


def contributing() -> Iterator[tuple[str, str]]:
    """The pages that CONTRIBUTING.md becomes: name and text of each."""
    first, *parts = re.split(
        r"^## (?=Add a )", (ROOT / CONTRIBUTING).read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    yield "contributing.md", first
    for part in parts:
        title = part.partition("\n")[0]
        text = re.sub(
            r"^##(#+ )", r"#\1", part, flags=re.MULTILINE
        )  # a heading less deep, as the part is a page
        yield title.lower().replace(" ", "-") + ".md", f"# {text}"


def text_of(path: Path) -> str:
    """The text of a page: of a notebook, its cells with what they printed and drew."""
    return markdown(read(path)) if path.suffix == ".ipynb" else path.read_text(encoding="utf-8")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and the pictures from outside docs."""
    for source, name in PAGES.items():
        files.append(File.generated(config, name, content=text_of(ROOT / source)))
    for name, text in contributing():
        files.append(File.generated(config, name, content=text))
    for picture in sorted((ROOT / "results").rglob("*.png")):
        files.append(File.generated(config, picture.relative_to(ROOT).as_posix(), abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links into those of the site, and the names of blocks of code into their titles."""
    here = page.file.src_uri
    source = {name: path for path, name in PAGES.items()} | dict.fromkeys(
        (name for name, _ in contributing()), CONTRIBUTING
    )
    folder = posixpath.dirname(source.get(here, f"docs/{here}"))

    def link(found: re.Match[str]) -> str:
        target = target_of(
            posixpath.normpath(posixpath.join(folder, found[2])), found[3] or "", files, config
        )
        if target is None:
            log.warning(
                "%s links to %s, which is not in the repository", source.get(here, f"docs/{here}"), found[2]
            )
            return found[0]
        return f"{found[1]}{target if ':' in target else posixpath.relpath(target, posixpath.dirname(here) or '.')})"

    parts = FENCED.split(markdown)  # text and blocks of code, in turns
    parts[::2] = [LINK.sub(link, text) for text in parts[::2]]
    parts[1::2] = [NAMED_FENCE.sub(r'```\1 title="\2"', block) for block in parts[1::2]]
    return "".join(parts)


def target_of(path: str, anchor: str, files: Files, config: MkDocsConfig) -> str | None:
    """Where the file of the repository is on the site, or its address there; None if there is no such file."""
    if path == CONTRIBUTING:
        parts = [name for name, _ in contributing()]
        part = f"{anchor[1:]}.md"
        return part if part in parts else f"contributing.md{anchor}"
    name = PAGES.get(path, path.removeprefix("docs/"))
    if (path in PAGES or not path.startswith(".")) and files.get_file_from_path(name):
        return name + anchor
    if not (ROOT / path).exists() or path.startswith(".."):
        return None
    kind = "tree" if (ROOT / path).is_dir() else "blob"
    return f"{config.repo_url}/{kind}/main/{path}{anchor}"
