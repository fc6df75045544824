"""Numbers, lists and tables as text, and tables as HTML for notebooks."""

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from redunet.network import ReduNet

# Of lists of more entries, the first few are written.
WRITTEN = 12
SHOWN = 6


def three_digits(value: float) -> str:
    """A number with three significant digits, without an exponent if it is at least 0.0001."""
    if abs(value) >= 999.5 or value == 0:
        return f"{value:.0f}"
    return f"{value:#.3g}".rstrip(".")


def with_three_digits(text: str) -> str:
    """A text whose numbers with more than three decimals have three significant digits."""
    return re.sub(r"\d+\.\d{4,}(e-?\d+)?", lambda found: three_digits(float(found.group())), text)


def readable(value: object) -> str:
    """A value of a summary as text: numbers with three digits, and lists with commas."""
    if isinstance(value, float | np.floating):
        return three_digits(float(value))
    if value is None or isinstance(value, bool):
        return {None: "–", True: "yes", False: "no"}[value]
    if isinstance(value, dict):
        value = [f"{name}: {readable(part)}" for name, part in value.items()]
    if isinstance(value, list):
        is_long = len(value) > WRITTEN
        shown = ", ".join(map(str, value[:SHOWN] if is_long else value))
        return f"{shown}, … ({len(value)})" if is_long else shown
    return f"{value:,}" if isinstance(value, int) else str(value)


def bar_options(progress: bool) -> dict[str, float]:
    """Options of progress bars. A log keeps every drawing of a bar, so it gets few."""
    is_live = sys.stderr.isatty() or "ipykernel" in sys.modules
    return {"disable": not progress, "mininterval": 0.1 if is_live else 30.0}


def table(
    headers: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    html: bool = False,
    floatfmt: str | Sequence[str] = ".3f",
    missingval: str = "",
    are_numbers: bool = True,
) -> str:
    """A table as text, or as HTML for a notebook. Options are those of ``tabulate``."""
    from tabulate import tabulate

    return tabulate(
        rows,
        headers,
        tablefmt="html" if html else "simple",
        floatfmt=floatfmt,
        missingval=missingval,
        disable_numparse=not are_numbers,
    )


def html_pairs(values: Mapping[str, object]) -> str:
    """Names and values as a table in HTML."""
    rows = [(name, with_three_digits(readable(value))) for name, value in values.items()]
    return table((), rows, html=True, are_numbers=False)


def description(net: "ReduNet") -> dict[str, object]:
    """Layers, shapes, parameters, memory, settings and rates of a network, as plain values."""
    parameters, lift = list(net.layers.parameters()), net.lift
    parts = lift if isinstance(lift, Iterable) else [lift]
    return {
        "layers": len(net.layers),
        "classes": net.classes_.tolist(),
        "sample shape": list(net.sample_shape),
        "feature shape": list(net.feature_shape),
        "lift": None if lift is None else [type(part).__name__ for part in parts],
        "operators": net.layers[0].operators.description,
        "parameters": sum(p.numel() for p in parameters),
        "memory [MiB]": round(sum(p.nbytes for p in parameters) / 2**20, 1),
        "eps_sq": net.settings.eps_sq,
        "eta": net.settings.eta,
        "membership": with_three_digits(str(net.settings.membership)),
        **({} if net.reader is None else {"reader": type(net.reader).__name__}),
        "momentum": net.settings.momentum,
        "rate reduction before": float(net.history.delta[0]),
        "rate reduction after": float(net.history.delta[-1]),
    }
