"""A verb: the help of its arguments, its options, then those that all verbs have; options that were given twice."""

from __future__ import annotations

from typing import Any

import typer.core

from objbench.cli.common import COMMON

# accepted after every verb, but without a meaning after these
_MEANINGLESS = {
    "prepare": {"runs"},
    "verify": {"runs"},
    "show": {"runs"},
}


class VerbCommand(typer.core.TyperCommand):
    """A verb whose help has one style: every value is named in capitals, whatever its Python type is.

    An option that takes one value is refused if it is given twice: the last one would count alone.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words after the verb."""
        _, _, given = self.make_parser(ctx).parse_args(args=[*args])
        single = [
            one
            for one in given
            if isinstance(one, typer.core.TyperOption) and not (one.multiple or one.is_flag)
        ]
        for position, option in enumerate(single):
            if option in single[:position]:
                ctx.fail(f"{max(option.opts, key=len)}: given twice, and it takes one value")
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """What follows the verb's name in the line of usage."""
        arguments = [parameter for parameter in self.params if parameter.param_type_name == "argument"]
        return [
            "[OPTIONS]",
            *(
                _placeholder(argument) if argument.required else f"[{_placeholder(argument)}]"
                for argument in arguments
            ),
        ]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the sections of the help."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": [], "Common options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None or parameter.name in _MEANINGLESS.get(str(self.name), ()):
                continue
            if parameter.param_type_name == "argument":
                sections["Arguments"].append((_placeholder(parameter), record[1]))
            else:
                common = parameter.name in COMMON or parameter.name == "help"
                sections["Common options" if common else "Options"].append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def _placeholder(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())
