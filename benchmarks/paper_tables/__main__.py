"""The tables of the papers. ``--table NAME`` computes one; without it, they are listed."""

import argparse
import os
import sys
import time
from pathlib import Path

from tabulate import tabulate

from benchmarks.machine import add_device_option, describe
from benchmarks.paper_tables import (
    clustering,
    corruption,
    slides,
    table_4,
    table_14,
    table_15,
    table_16,
    table_17,
    table_18,
)
from benchmarks.paper_tables.cells import Machine, Results, Table, fill, selected

TABLES: dict[str, Table] = {
    "4": table_4.TABLE,
    "6": corruption.TABLE_6,
    "7": corruption.TABLE_7,
    "8": corruption.TABLE_8,
    "9": corruption.TABLE_9,
    "11": clustering.TABLE,
    "14": table_14.TABLE,
    "15": table_15.TABLE,
    "15-settings": table_15.SETTINGS,
    "16": table_16.TABLE,
    "17": table_17.TABLE,
    "18": table_18.TABLE,
    "slides-rotations": slides.ROTATIONS,
    "slides-translations": slides.TRANSLATIONS,
}


def main(arguments: list[str]) -> None:
    """Compute the cells of a table that the file of results lacks, and print the table."""
    options = parser().parse_args(arguments)
    if options.table is None:
        print(overview())
        return
    print(describe(options.device))
    results = Results(options.results)
    for name in TABLES if options.table == "all" else [options.table]:
        print(f"\n**{heading(name)}**: {TABLES[name].title}\n", flush=True)
        print(computed(name, TABLES[name], results, options), flush=True)


def computed(name: str, table: Table, results: Results, options: argparse.Namespace) -> str:
    """The table in Markdown, and its time."""
    cells = selected(table.cells, options.only)
    if options.trial:
        cells = [cells[0] | table.trial]
    start = time.perf_counter()
    if not options.show:
        fill(name, table, cells, results, Machine(options.data_dir, options.device))
    shown = [x for x in cells if results.get(x) is not None] if options.show else cells
    seconds = results.seconds(cells)
    now = time.perf_counter() - start
    return f"{table.show(shown, results)}\n\n{seconds:.0f} s in all, {now:.0f} s now"


def overview() -> str:
    """All tables with their estimated times."""
    rows = [[n, t.title, t.needs, len(t.cells), t.minutes] for n, t in TABLES.items()]
    headers = ["--table", "shows", "needs", "cells", "minutes"]
    return tabulate(rows, headers, "simple", floatfmt="g", disable_numparse=[0])


def heading(name: str) -> str:
    return f"Table {name}" if name[0].isdigit() else f"Table of the {name.replace('-', ', ')}"


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=f"{__doc__.splitlines()[0]}\n\n{overview()}",
        epilog="Minutes are estimates for all cells of a table on one core.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--table", choices=[*TABLES, "all"])
    parser.add_argument(
        "--results",
        type=Path,
        metavar="FILE",
        help="JSON lines with finished cells, which are not computed again (default: no file)",
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="only cells with this setting, such as channels=5,15; may be repeated",
    )
    parser.add_argument("--show", action="store_true", help="show finished cells, compute nothing")
    parser.add_argument(
        "--trial", action="store_true", help="one tiny cell of embedded digits, in seconds"
    )
    parser.add_argument(
        "--data-dir",
        default=os.environ.get("REDUNET_DATA"),
        help="folder of the files of MNIST or CIFAR-10 (default: REDUNET_DATA)",
    )
    add_device_option(parser)
    return parser


if __name__ == "__main__":
    sys.argv[0] = str(Path(__file__).parent)  # the name of the benchmark, for the description
    main(sys.argv[1:])
