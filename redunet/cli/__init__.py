"""The command line, which constructs, evaluates, plots and exports networks, and predicts.

Data are tables such as ``.csv`` files, ``.ts`` files of time series, ``.npz`` files with samples
``X`` and labels ``y``, or folders that contain one folder of images per class. Results go to
standard output, as JSON with ``--json``. Progress, warnings and errors go to standard error.

Modules that take long to load, such as torch, are loaded when a command runs. Help, and errors
about arguments, files and folders, come at once.
"""

import json
import os
import sys
import warnings
from importlib import import_module

from redunet.cli.arguments import check, parser

__all__ = ["main"]

# Errors that users can correct. All other errors are bugs and show a traceback.
EXPECTED = (ValueError, TypeError, OSError, MemoryError, ModuleNotFoundError)


def main(arguments: list[str] | None = None) -> int:
    """Run a command. Returns the exit status: 0, or 1 after an error; wrong usage exits with 2."""
    try:
        try:
            return _run(sys.argv[1:] if arguments is None else arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader of the output, such as `head`, needs no more. Python flushes again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("redunet: interrupted", file=sys.stderr)
        return 130


def _run(arguments: list[str]) -> int:
    options = parser().parse_args(arguments)
    with warnings.catch_warnings():
        warnings.showwarning = _show
        try:
            check(options)
            result = import_module("redunet.cli.commands").COMMANDS[options.command](options)
        except EXPECTED as error:
            if "debug" in options or isinstance(error, BrokenPipeError):
                raise
            print(f"redunet: error: {_one_line(error)}", file=sys.stderr)
            return 1
    if result is not None:
        _print(result, as_json="json" in options)
    return 0


def _print(result: dict[str, object], *, as_json: bool) -> None:
    """Results of a command, with names in the first column."""
    if as_json:
        print(json.dumps(result, indent=2))
        return
    tabulate = import_module("tabulate").tabulate
    readable = import_module("redunet.inspection.text").readable
    rows = [(name, readable(value)) for name, value in result.items()]
    print(tabulate(rows, tablefmt="plain", disable_numparse=True))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _show(message: Warning | str, *place: object, **more: object) -> None:
    """Print a warning as one line."""
    print(f"redunet: warning: {' '.join(str(message).split())}", file=sys.stderr)
