"""Rows of tables in text files."""

import csv
import re
from io import StringIO

# What stands in quotes, where delimiters are text, and how much text a header has at most.
_QUOTED = re.compile('"[^"]*"')
MOST_OF_HEADER = 2**20


def rows_of(text: str) -> tuple[list[list[str]], list[int]]:
    """The rows of a table, which have the same number of cells, and their lines in the file.

    The first of tab, semicolon and comma that is in the first line, outside of quotes, separates
    cells. Blank lines, empty rows at the end, and an empty last column are left out.

    Raises
    ------
    ValueError
        If there are no rows, a quote is not closed, rows have different numbers of cells, or there
        is only one column.
    """
    first_line = _QUOTED.sub("", text[:MOST_OF_HEADER]).partition("\n")[0]
    delimiter = next((mark for mark in "\t;" if mark in first_line), ",")
    reader = csv.reader(
        StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    try:
        numbered = [
            (reader.line_num, row) for row in reader if len(row) > 1 or "".join(row).strip()
        ]
    except csv.Error as error:
        raise ValueError(f"the quotes of line {reader.line_num} do not fit ({error})") from error
    numbered = [(line, row) for line, row in numbered if len(row) > 1 or "".join(row).strip()]
    while numbered and not "".join(numbered[-1][1]).strip():  # spreadsheets write such rows
        del numbered[-1]
    if not numbered:
        raise ValueError("the table is empty")
    length = len(numbered[0][1])
    for line, row in numbered:
        if len(row) != length:
            raise ValueError(f"line {line} has {len(row)} cells, the first row has {length}")
    if length == 1:
        raise ValueError("expected columns separated by tabs, semicolons or commas, got one column")
    rows, lines = [row for _, row in numbered], [line for line, _ in numbered]
    if not any(row[-1].strip() for row in rows):  # every line ends in a delimiter
        rows = [row[:-1] for row in rows]
    return rows, lines
