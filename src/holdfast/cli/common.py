"""The common parts of all commands: options, exit codes, and how a command fails."""

import getpass
import os
from enum import IntEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from holdfast.cli.terminal import note

DATA_DEFAULT = Path(".data")
Data = Annotated[Path, typer.Option("--data", metavar="DIR", help="The platform's data folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class ExitCode(IntEnum):
    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    UNAVAILABLE = 5
    INTERRUPTED = 130


def operator_name() -> str:
    """Return the operator's name; a container may run as a user without a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid-{os.getuid()}"


def fail(code: ExitCode, line: str) -> NoReturn:
    """End the command with one line that says why."""
    note(line)
    raise typer.Exit(code)
