"""Numbers and lists as text."""

import math
import re
from itertools import accumulate

# Lists of more entries, or of more characters, are not written out.
WRITTEN_ENTRIES = 20
WRITTEN_CHARACTERS = 80


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
    if value is None:
        return "–"
    if isinstance(value, dict):
        value = [f"{name}: {readable(part)}" for name, part in value.items()]
    if isinstance(value, list):
        texts = [str(entry) for entry in value]
        lengths = accumulate(len(text) + len(", ") for text in texts)
        fitting = sum(length <= WRITTEN_CHARACTERS for length in lengths)
        count = max(1, min(WRITTEN_ENTRIES, fitting))
        shown = ", ".join(texts[:count])
        return shown if len(texts) <= count else f"{shown}, … ({len(texts)})"
    return f"{value:,}" if isinstance(value, int) else str(value)
