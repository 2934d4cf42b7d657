"""The command `objbench` and its verbs, which are imported when they are used."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
import typer.core
import typer.main

import objbench
from objbench.cli.streams import UnwrittenError, standard_streams
from objbench.printable import printable

INTERRUPTED = 130  # by Ctrl-C, before the verb handles signals itself

# verb -> (module:function, one line of help)
VERBS = {
    "list": ("objbench.cli.list:list_things", "List datasets, methods, metrics and runs."),
    "info": ("objbench.cli.info:info", "Explain a dataset, a method or a metric."),
    "prepare": ("objbench.cli.prepare:prepare", "Download or generate a dataset and write its shards."),
    "verify": ("objbench.cli.verify:verify", "Check all shards of a prepared dataset against its manifest."),
    "show": ("objbench.cli.show:show", "Draw scenes with their label maps."),
    "run": ("objbench.cli.run:run", "Train and evaluate a method with one or more seeds."),
    "evaluate": ("objbench.cli.evaluate:evaluate", "Score a finished run or any model's predictions."),
    "probe": ("objbench.cli.probe:probe", "Predict properties of objects from the slots of a run."),
    "segment": ("objbench.cli.segment:segment", "Segment anybody's images with a trained run."),
    "publish": ("objbench.cli.publish:publish", "Write a finished run as a folder for a model hub."),
    "report": (
        "objbench.cli.report:report",
        "Compare measured with published numbers in tables and figures.",
    ),
    "demo": ("objbench.cli.demo:demo", "Prepare, train, evaluate and report on generated Tetrominoes."),
}
_PLAIN: dict[str, Any] = {
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
}


class Verbs(typer.core.TyperGroup):
    """The group of verbs. Usage errors are plain lines on stderr with exit code 2."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for verb, (_, line) in VERBS.items():
            self.add_command(typer.core.TyperCommand(verb, help=line))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Import the verb that is used; until then a command with its line of help represents it."""
        verb, _, rest = super().resolve_command(ctx, args)
        return verb, _load(str(verb)), rest

    def main(self, *args: Any, **options: Any) -> Any:
        """Run a command line, by default that of the process. Without arguments the help is printed."""
        line = args[0] if args else options.pop("args", None)
        standalone = options.pop("standalone_mode", True)
        line = list(sys.argv[1:] if line is None else line) or ["--help"]
        try:
            with standard_streams():
                code = self._answer(line, *args[1:], **options)
        except UnwrittenError as error:
            code = error.exit_code
            if error.message:
                print(f"objbench: {error.message}", file=sys.stderr)
        if standalone:
            sys.exit(code)
        return code

    def _answer(self, *args: Any, **options: Any) -> Any:
        """Run a command line. Returns its exit code."""
        if empty := _empty(args[0]):
            print(
                f"objbench: {empty}: expected a value, found none; is a variable of the shell not set?",
                file=sys.stderr,
            )
            return 2
        try:
            return super().main(*args, **options | {"standalone_mode": False})
        except typer.Abort:
            print("objbench: interrupted", file=sys.stderr)
            return INTERRUPTED
        except Exception as error:  # click's errors, whose module depends on the version
            if not hasattr(error, "format_message"):
                return _ended_badly(error)
            context = getattr(error, "ctx", None)
            hint = f" ({context.command_path} --help lists the options)" if context is not None else ""
            told = error.format_message().replace("Value error, ", "")  # pydantic's words in typer's
            print(f"objbench: {printable(told)}{hint}", file=sys.stderr)
            return 2


def _empty(line: Sequence[str]) -> str | None:
    """The option whose value is empty, or the place of an empty argument: as a path, it would name this folder."""
    for before, argument in zip(["", *line], line, strict=False):
        option, equals, value = argument.partition("=")
        if option.startswith("--") and equals and not value:
            return option
        if not argument:
            return before if before.startswith("-") else f"an argument after '{before}'"
    return None


def _ended_badly(error: Exception) -> int:
    """The exit code of a verb that could not be loaded or left for want of memory; other errors are raised."""
    from objbench.errors import brief, is_out_of_memory

    if not is_out_of_memory(error):
        raise error
    print(
        f"objbench: out of memory ({brief(error)}); end other programs, or raise the limit", file=sys.stderr
    )
    return 1


def _load(verb: str) -> Any:
    module, _, function = VERBS[verb][0].partition(":")
    from objbench.cli.help import VerbCommand

    single = typer.Typer(add_completion=False, **_PLAIN)
    single.command(verb, cls=VerbCommand)(getattr(import_module(module), function))
    return typer.main.get_command(single)


app = typer.Typer(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]}, **_PLAIN)


def _version(asked: bool) -> None:
    if asked:
        print(f"objbench {objbench.__version__}")
        raise typer.Exit


@app.callback(subcommand_metavar="VERB ...")
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A benchmark toolkit for unsupervised object-centric learning."""
