"""The command line, which constructs, evaluates, reports and exports networks, and predicts.

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
from io import TextIOWrapper

from redunet.cli.arguments import check, parser

__all__ = ["main"]

# Errors that users can correct. All other errors are bugs and show a traceback.
EXPECTED = (ValueError, TypeError, OSError, MemoryError, ModuleNotFoundError)


def main(arguments: list[str] | None = None) -> int:
    """Run a command. Returns the exit status: 0, or 1 after an error; wrong usage exits with 2."""
    for name, stream in (("stdout", sys.stdout), ("stderr", sys.stderr)):
        if stream is None:  # the caller has closed it
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, TextIOWrapper):  # the locale may not have all characters
            stream.reconfigure(errors="backslashreplace")
    try:
        options = parser().parse_args(arguments)
        with warnings.catch_warnings():
            warnings.showwarning = _show
            check(options)
            result = getattr(import_module("redunet.cli.commands"), options.command)(options)
            if result is not None:
                _print(result, as_json="json" in options)
        return 0
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        print("redunet: interrupted", file=sys.stderr)
        return 130
    except EXPECTED as error:
        if "debug" in options:
            raise
        print(f"redunet: error: {_one_line(error)}", file=sys.stderr)
        return 1
    finally:
        _flush()


def _flush() -> None:
    """Write what is left to standard output. Its reader, such as `head`, may need no more."""
    try:
        sys.stdout.flush()
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            print(f"redunet: error: {_one_line(error)} (standard output)", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes at exit
        sys.exit(1)


def _print(result: dict[str, object], *, as_json: bool) -> None:
    """Results of a command, with names in the first column."""
    if as_json:
        print(json.dumps(result, indent=2))
        return
    readable = import_module("redunet._tables").readable
    width = max(map(len, result))
    for name, value in result.items():
        print(f"{name:{width}}  {readable(value)}")


def _one_line(message: BaseException | str) -> str:
    return " ".join(str(message).split()) or type(message).__name__


def _show(message: Warning | str, *place: object, **more: object) -> None:
    """Print a warning as one line."""
    print(f"redunet: warning: {_one_line(message)}", file=sys.stderr)
