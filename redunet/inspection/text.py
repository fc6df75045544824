"""Numbers and lists as text."""

import math
import re

# Larger numbers of entries in a list are not written out.
WRITTEN_ENTRIES = 20


def three_digits(value: float) -> str:
    """A number with three significant digits, without an exponent if it is at least 0.0001."""
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    rounded = float(f"{value:.2e}")
    order = math.floor(math.log10(abs(rounded)))
    if order < -4:
        return f"{value:.2e}"
    return f"{rounded:.{max(0, 2 - order)}f}" if order <= 2 else f"{value:.0f}"


def with_three_digits(text: str) -> str:
    """A text whose numbers with more than three decimals have three significant digits."""
    return re.sub(r"\d+\.\d{4,}(e-?\d+)?", lambda found: three_digits(float(found.group())), text)


def readable(value: object) -> str:
    """A value of a summary as text: numbers with three digits, and lists with commas."""
    if isinstance(value, float):
        return three_digits(value)
    if isinstance(value, list):
        shown = ", ".join(map(str, value[:WRITTEN_ENTRIES]))
        return shown if len(value) <= WRITTEN_ENTRIES else f"{shown}, … ({len(value)})"
    return f"{value:,}" if isinstance(value, int) else str(value)
