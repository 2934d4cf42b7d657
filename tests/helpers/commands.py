"""Command lines, run in this process."""

from __future__ import annotations

from typer.testing import CliRunner, Result

from objbench.cli.main import app


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def call_with_toy(*arguments: object) -> Result:
    """A command that knows the dataset `toy`, in the folder that the fixture `toy_home` makes."""
    return call(*arguments, "--config", "toy.yaml")


def printed(*arguments: object) -> str:
    """What a line that succeeds prints."""
    result = call(*arguments)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def refused(code: int, *arguments: object) -> str:
    """The message of a line that ends with this exit code, prints nothing else and shows no traceback."""
    result = call(*arguments)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return result.stderr
