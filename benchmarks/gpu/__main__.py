"""Everything that a GPU can tell, in one run that ends in time, as a section for RESULTS.md.

The parts come in the order of their worth: the tests on the device, what decides between two ways
of computing, times, and where the time goes. MNIST takes part if ``--data`` names its folder. Every
measurement first runs at a small size. If the full size would take more than its share of the time,
fewer samples are measured, and the row says so. Each part is printed as soon as it ends, so a run
that is stopped leaves the parts before. With ``--device cpu --minutes 0.05`` all sizes are small,
and the run only shows that everything works.
"""

import argparse
import os
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from benchmarks.budget import Budget
from benchmarks.construct import Timer
from benchmarks.gpu import constants, correctness, profiles, timings
from benchmarks.gpu.context import Context
from benchmarks.machine import add_device_option, describe

PARTS: dict[str, Callable[[Context], str]] = {
    "tests": correctness.tests,
    "constants": constants.constants,
    "layers": timings.layers,
    "losses": timings.losses_,
    "graphs": timings.graphs,
    "profiles": profiles.profiles,
    "fits": timings.fits,
    "precision": timings.precision,
    "mnist": timings.mnist,
}

# Shares of the time that is left when a part begins.
SHARES = {
    "tests": 0.3,
    "constants": 0.2,
    "layers": 0.35,
    "losses": 0.3,
    "graphs": 0.15,
    "profiles": 0.2,
    "fits": 0.3,
    "precision": 0.3,
}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_device_option(parser, default="cuda")
    parser.add_argument(
        "--minutes",
        type=float,
        default=6.0,
        help="time for everything; less than 1 is a trial with small sizes",
    )
    parser.add_argument("--data", default=os.environ.get("REDUNET_DATA"), help="folder of MNIST")
    parser.add_argument("--only", choices=list(PARTS), nargs="+", help="by default all parts")
    parser.add_argument("--out", type=Path, help="file for the section")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore", UserWarning)  # small sizes have few samples in a class
    if options.device.type == "cuda" and not torch.cuda.is_available():
        parser.error("there is no CUDA device; --device cpu shows that everything works")
    parts = []
    for part in sections(options):  # a run that is stopped leaves the parts before
        print("\n" * bool(parts) + part, flush=True)
        parts.append(part)
        if options.out:
            options.out.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def sections(options: argparse.Namespace) -> Iterable[str]:
    """A headline with the machine, and the result of every part."""
    device, budget = options.device, Budget(60 * options.minutes, options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "a CPU"
    yield f"## Timings on {name}"
    yield describe(device)
    is_trial = options.minutes < 1
    timer = Timer(*((1, 1) if is_trial else (4, 3)), device)
    for part in options.only or PARTS:
        yield f"### {part.upper() if part == 'mnist' else part.capitalize()}"
        share = budget.share(SHARES.get(part, 1.0))
        context = Context(device, share, timer, options.data, is_trial)
        try:
            yield PARTS[part](context)
        except Exception as error:  # a part that fails must not end the others
            yield f"This part failed: {type(error).__name__}: {str(error).splitlines()[0]}"


if __name__ == "__main__":
    with torch.no_grad():
        main()
