"""The results of a search as a table."""

from collections.abc import Sequence

from redunet.search.candidate import Candidate
from redunet.search.regression import ExpansionRegression


def table_of(
    candidates: Sequence[Candidate],
    best: Candidate,
    reader: ExpansionRegression | None,
) -> str:
    """A row for each candidate, with a star if it is chosen, and one for the reader."""
    from tabulate import tabulate

    rows = [
        ["*" if c.is_like(best) else "", c.name, c.band, c.eps_sq, c.loss, c.accuracy]
        for c in candidates
    ]
    if reader is not None:
        rows.append(["*", reader.description, 0, reader.eps_sq_, reader.loss_, reader.accuracy_])
    headers = ["", "lift", "band", "ε²", "log loss", "accuracy"]
    return tabulate(rows, headers, floatfmt=("", "", "g", ".3g", ".3f", ".3f"), missingval="–")
