"""The `inceptive` command. Answers go to standard output, everything else to standard error.

Exit status: 0 done, 1 the request cannot be met, 2 bad usage, 130 stopped with Ctrl-C. Each command
is one module of `inceptive.cli` that imports what it needs when it runs, so help is instant.
"""

import contextlib
import errno
import functools
import logging
import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from inceptive import __version__
from inceptive.cli.progress import say
from inceptive.errors import InceptiveError, InvalidArgument, printable, reason

COMMANDS = (
    "nets", "table", "trace", "draw", "train", "evaluate", "explain", "predict", "score", "embed",
    "similar", "compare", "fid", "early_exit", "export", "serve", "shards",
)  # fmt: skip
"""The modules of this room that hold a command each, in the order in which help lists them."""
INSTANT = ("nets", "table", "draw")
"""Those that decode no image, and import nothing that could."""

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What a full or failing disk behind standard output answers."""

app = typer.Typer(
    help="The Inception family of image classifiers: exact, trainable, explained and fast.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked_for: bool) -> None:
    if asked_for:
        print(f"inceptive {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", callback=_print_version, is_eager=True, help="Show the version."
        ),
    ] = False,
) -> None:
    """The options of `inceptive` itself."""


class Command(TyperCommand):
    """A command whose usage line names its arguments as its help does; Typer would add braces."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        arguments = [each for each in self.params if each.param_type_name == "argument"]
        return [str(self.options_metavar), *(each.metavar or each.name or "" for each in arguments)]


def stoppable(run: Callable[..., None]) -> Callable[..., None]:
    """Wrap `run` to end with one line and status 130 on Ctrl-C (Typer: "Aborted" and status 1)."""

    @functools.wraps(run)
    def stopped(*args: Any, **options: Any) -> None:
        try:
            if run.__module__.rpartition(".")[2] not in INSTANT:
                from inceptive.images import quiet_decoders

                quiet_decoders()
                # Else it says in two lines that it keeps no cache where no folder can be written.
                logging.getLogger("matplotlib").addHandler(logging.NullHandler())
            run(*args, **options)
        except KeyboardInterrupt as error:
            say(printable(f"inceptive: {str(error) or 'stopped'}"))
            sys.exit(130)

    return stopped


for command_module in COMMANDS:
    command = import_module(f"inceptive.cli.{command_module}")
    app.command(name=command.NAME, cls=Command)(stoppable(command.run))


def main() -> None:
    """Run one command and exit with its status."""
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    try:
        try:
            app(prog_name="inceptive")
        finally:
            if sys.stdout:  # None where it is closed
                sys.stdout.flush()
    except InceptiveError as error:
        say(printable(f"inceptive {command}: {error}"))
        sys.exit(2 if isinstance(error, InvalidArgument) else 1)
    except MemoryError:
        say(f"inceptive {printable(command)}: there is not enough memory for it")
        sys.exit(1)
    except BrokenPipeError:  # the reader of our output has gone, as in `| head`
        _drop_output()
        sys.exit(1)
    except OSError as error:
        if error.errno not in NO_ROOM:
            if not error.filename:
                raise
            say(printable(f"inceptive {command}: {error.filename}: {reason(error)}"))
            sys.exit(1)
        _drop_output()
        place = error.filename or "standard output"
        text = f"inceptive {command}: {place} cannot be written ({reason(error)})"
        say(printable(text))
        sys.exit(1)


def _drop_output() -> None:
    """What is still to be written to standard output goes nowhere."""
    with contextlib.suppress(OSError, AttributeError):  # a notebook's has no descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
