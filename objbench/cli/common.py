"""What all verbs share: common options, exit codes, messages on stderr and data on stdout."""

from __future__ import annotations

import functools
import inspect
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from objbench.cli.options import local_path
from objbench.cli.shared import shared_command
from objbench.cli.streams import UnwrittenError, json_stream, only_json
from objbench.errors import ObjbenchError, RequestError
from objbench.folders import DATA, DATA_VARIABLE, RUNS, RUNS_VARIABLE, data_folder, runs_folder
from objbench.json_text import for_programs
from objbench.one_line import LESS_MEMORY_OF_A_RUN, in_a_line, no_exit
from objbench.paths import check_folder
from objbench.printable import printable
from objbench.ranks.group import ALONE, Ranks
from objbench.train.interrupt import EXIT_CODES, Interrupted, Interrupts

if TYPE_CHECKING:
    from objbench.spec.schema import Spec
    from objbench.stores import Place

_HEAVY = (".pt", ".safetensors", "predictions.npz")  # files of runs that reports do not read


@dataclass(frozen=True)
class Context:
    """The values of the options that every verb has, the signals that ask it to stop, and the processes that share it."""

    data: Place
    runs_place: Place
    config: Path | None
    json: bool
    debug: bool
    interrupts: Interrupts
    ranks: Ranks = ALONE

    @property
    def runs(self) -> Path:
        """The folder of the runs, for work in it; RequestError if it is in a store, which has no locks and no appending."""
        if isinstance(self.runs_place, Path):
            return self.runs_place
        raise RequestError(
            f"--runs {self.runs_place}: runs are written to a folder that can be locked and appended to, which an "
            "object store is not; give a local or shared folder, and copy it to the store when you like (such as aws s3 sync): report, "
            "list, info, segment and publish read it there"
        )

    @functools.cached_property
    def runs_to_read(self) -> Path:
        """The folder of the runs, for reading: of a store a copy without weights, checkpoints and predictions."""
        from objbench.data.download.copies import copy_of

        return copy_of("runs", self.runs_place, lambda name: not name.endswith(_HEAVY))

    @functools.cached_property
    def spec(self) -> Spec:
        """benchmarks.yaml with all layers."""
        from objbench.spec.load import load_spec

        return load_spec(self.config, self.data)


COMMON: dict[str, tuple[Any, Any]] = {
    "data": (
        Annotated[
            str,
            typer.Option(
                metavar="PATH|URL",
                help="Folder with the prepared datasets, or its URL in an object store (s3://bucket/sets).",
                envvar=DATA_VARIABLE,
            ),
        ],
        str(DATA),
    ),
    "runs": (
        Annotated[
            str,
            typer.Option(
                metavar="PATH|URL",
                help="Folder with the runs; a URL where they are only read.",
                envvar=RUNS_VARIABLE,
            ),
        ],
        str(RUNS),
    ),
    "config": (
        Annotated[
            Path | None,
            typer.Option(
                parser=local_path,
                metavar="PATH",
                help="YAML file whose entries replace or extend those of benchmarks.yaml.",
            ),
        ],
        None,
    ),
    "json": (Annotated[bool, typer.Option("--json", help="Print JSON.")], False),
    "debug": (Annotated[bool, typer.Option("--debug", help="Print the traceback of an error.")], False),
}

_LESS_MEMORY = {
    "evaluate": "a split of fewer scenes needs less (--split); or ",
    "prepare": "fewer --workers need less; or ",
    "report": "a folder of fewer runs needs less (--runs); or ",
    "run": LESS_MEMORY_OF_A_RUN,
}


def _refuse_files(context: Context) -> None:
    """Refuse a file that was named where a folder belongs; one that happens to be called `data` may be none of ours."""
    for option, folder, usual in (("--data", context.data, DATA), ("--runs", context.runs_place, RUNS)):
        if isinstance(folder, Path) and folder != usual:
            check_folder(option, folder)


def verb(
    function: Callable[..., None], *, shared: bool = False, own_json: bool = False
) -> Callable[..., None]:
    """Make a command of `function(context, ...)`: add the common options, turn errors into one line on stderr.

    A `shared` one can be started several times by torchrun, as one command. With --json stdout is for `print_json` alone,
    unless the command writes its JSON itself (`own_json`). The lines after "Example:" in the docstring
    are commands; help prints them as they stand.

    Exit codes: 0 success, 1 the work failed, 2 the request was wrong, 141 the reader of stdout left; there is one for
    each signal that stops the work (objbench.train.interrupt), such as 130 for Ctrl-C.
    """

    @functools.wraps(function)
    def command(**arguments: Any) -> None:
        common = {name: arguments.pop(name) for name in COMMON}
        data, runs = data_folder(common.pop("data")), runs_folder(common.pop("runs"))
        context = Context(data=data, runs_place=runs, **common, interrupts=Interrupts())
        try:
            _refuse_files(context)
            with context.interrupts.catch():
                try:
                    alone = only_json() if context.json and not own_json else nullcontext()
                    with shared_command() if shared else nullcontext(ALONE) as ranks, alone, no_exit():
                        function(replace(context, ranks=ranks), **arguments)
                except Exception:
                    context.interrupts.check()  # libraries may have turned a signal's exception into one of their own
                    raise
        except ObjbenchError as error:
            _fail(str(error), error.exit_code, context.debug)
        except Interrupted as stop:
            _fail(str(stop), stop.exit_code, context.debug)
        except KeyboardInterrupt:  # a second Ctrl-C, or the first where signals are not handled
            _fail("interrupted", EXIT_CODES[signal.SIGINT], context.debug)
        except UnwrittenError:
            raise
        except Exception as error:
            _fail(in_a_line(error, _LESS_MEMORY.get(function.__name__, "")), 1, context.debug)

    signature = inspect.signature(function, eval_str=True)
    own = list(signature.parameters.values())[1:]
    common = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in COMMON.items()
    ]
    own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
    command.__signature__ = signature.replace(parameters=[*own, *common])  # type: ignore[attr-defined]
    command.__doc__ = inspect.cleandoc(function.__doc__ or "").replace(
        "Example:\n", "\b\nExample:\n"
    )  # \b: do not wrap
    del command.__wrapped__
    command.__annotations__ = {p.name: p.annotation for p in [*own, *common]}
    return command


def shared_verb(function: Callable[..., None]) -> Callable[..., None]:
    """Make a command that several processes can share."""
    return verb(function, shared=True)


def sizes_of(train: int | None, val: int | None, test: int | None) -> dict[str, int]:
    """Split -> size, for the splits whose size was given."""
    given = {"train": train, "val": val, "test": test}
    return {split: size for split, size in given.items() if size is not None}


def _fail(message: str, code: int, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    print(f"objbench: {printable(message)}", file=sys.stderr)
    raise typer.Exit(code)


def over_images(n: int | None, of: int) -> str:
    """What follows a mean over `n` of the `of` images of a split: nothing if the metric is defined for all of them.

    >>> f"ari_fg 98.3{over_images(31, 40)}"
    'ari_fg 98.3 (mean over 31 of 40 images)'
    """
    return "" if n is None else f" (mean over {n:,} of {of:,} images)"


def say(message: str) -> None:
    """Print a message for the user on stderr; stdout is for data."""
    print(printable(message), file=sys.stderr, flush=True)


def print_json(content: Any) -> None:
    """`content` as JSON on stdout."""
    print(for_programs(content, default=str), file=json_stream())
