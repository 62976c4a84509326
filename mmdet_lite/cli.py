"""The command line: the parser of all subcommands, and how errors are told.

Heavy imports happen inside the functions, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence

from mmdet_lite.benchmarks import cli as benchmarks
from mmdet_lite.commands import configs, data, models, training
from mmdet_lite.commands.command import Command

_TRACEBACK = "MMDET_LITE_TRACEBACK"
# Errors whose message says it all.
_EXPLAINED = (
    ImportError,
    OSError,
    ValueError,
    TypeError,
    KeyError,
    FloatingPointError,
    MemoryError,
)

COMMANDS = {
    **training.COMMANDS,
    **models.COMMANDS,
    **configs.COMMANDS,
    **data.COMMANDS,
    "benchmark": Command(
        "Measure speed side by side with others' ways, in one run.",
        benchmarks.add_arguments,
        benchmarks.run,
    ),
}


def main(command: str | None = None, argv: Sequence[str] | None = None) -> None:
    """Run a subcommand.

    Args:
        command: its name; None: the first argument names it.
        argv: arguments; None: those of the process.
    """
    if command is not None:
        parser = argparse.ArgumentParser(description=COMMANDS[command].summary, allow_abbrev=False)
        COMMANDS[command].add_arguments(parser)
        args = parser.parse_args(argv)
    else:
        args = _parser().parse_args(argv)
        command = args.command
    try:
        COMMANDS[command].run(args)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # of `... | head`, which has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except _EXPLAINED as error:
        if os.environ.get(_TRACEBACK):
            raise
        _report(error)
        sys.exit(COMMANDS[command].failure)


def _report(error: Exception) -> None:
    rank = int(os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or 0)
    if rank > 0:
        # As a rule the main process has the same to say; then torchrun ends this one before it
        # repeats it.
        time.sleep(2)
    title = f"error on rank {rank}" if rank > 0 else "error"
    hint = f"(for the traceback set {_TRACEBACK}=1)"
    print(f"\n{title}: {_message(error)}\n{hint}", file=sys.stderr)


def _message(error: Exception) -> str:
    """What an error says, without the quotes of a KeyError or a worker process's traceback."""
    message = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if "in DataLoader worker process" in message:
        message = message.rpartition(f"\n{type(error).__name__}: ")[2]
    return message.strip() or type(error).__name__


def _parser() -> argparse.ArgumentParser:
    from mmdet_lite import __version__

    parser = argparse.ArgumentParser("mmdet-lite", description="Object detection from configs.")
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        sub = subparsers.add_parser(name, help=command.summary, description=command.summary)
        command.add_arguments(sub)
    return parser
