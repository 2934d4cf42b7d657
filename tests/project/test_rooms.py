"""The map in docs/code.md is true: every module has a room, imports go one way, and there are no circles."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from helpers.paths import ROOT


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {
    module_name(path): path for package in ("objbench", "objmae") for path in (ROOT / package).rglob("*.py")
}


def rooms() -> list[str]:
    """The rooms of the map as module names, from the ground up."""
    block = re.search(r"```rooms\n(.*?)```", (ROOT / "docs/code.md").read_text(), re.S)
    assert block
    paths = [line.split()[0] for line in block[1].splitlines()]
    return [path.removesuffix("/").removesuffix(".py").replace("/", ".") for path in paths]


def imports(source: str, modules: dict[str, Path]) -> Iterator[str]:
    """The modules of the project that `source` imports, inside functions too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                if full in modules or node.module in modules:
                    yield full if full in modules else node.module


# Without the top level, which names what all rooms offer and imports it when it is asked for.
GRAPH = {
    name: set(imports(path.read_text(), MODULES)) - {name}
    for name, path in MODULES.items()
    if name != "objbench"
}


def room_of(module: str) -> str | None:
    """The room that holds `module`; None for the packages that only hold rooms."""
    found = [room for room in rooms() if module == room or module.startswith(f"{room}.")]
    return max(found, key=len) if found else None


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle, in its order; none if there is no circle."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_every_module_has_a_room_and_every_room_a_module() -> None:
    homeless = [name for name in MODULES if room_of(name) is None]
    assert homeless == ["objbench", "objbench.data"]
    assert {room_of(name) for name in MODULES} - {None} == set(rooms())


def test_a_room_imports_only_rooms_above_it_on_the_map() -> None:
    order = {room: place for place, room in enumerate(rooms())}
    wrong = [
        f"{name} imports {other}"
        for name, others in GRAPH.items()
        for other in others
        if (here := room_of(name)) and (there := room_of(other)) and order[there] > order[here]
    ]
    assert not wrong


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert circle(GRAPH) == []
    assert set(circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})) == {"a", "b", "c"}


def test_what_one_method_alone_uses_is_no_shared_part() -> None:
    parts = {name for name in MODULES if name.startswith("objbench.methods.parts.")}
    users = {
        part: {
            name if name in parts else ".".join(name.split(".")[:3])  # all modules of a method are one user
            for name, others in GRAPH.items()
            if part in others
        }
        for part in parts
    }
    assert [part for part in users if len(users[part]) < 2] == []


def test_objbench_never_imports_objmae() -> None:
    assert not [
        (name, other)
        for name, others in GRAPH.items()
        for other in others
        if name.startswith("objbench") and other.startswith("objmae")
    ]


def test_imports_inside_functions_and_of_single_names_are_seen() -> None:
    source = "import a.b\ndef f():\n    from a import c\n    from a.b import thing\nfrom os import path\n"
    assert set(imports(source, dict.fromkeys(("a", "a.b", "a.c"), Path()))) == {"a.b", "a.c"}
