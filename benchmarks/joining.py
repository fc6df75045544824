"""How many candidates of a search a network needs: accuracy with 1, 2, 4, 8 and 16 of them.

The search orders the candidates by their leave-one-out loss on the training samples. Only those
within its tolerance are joined. With 1, the network is the best candidate alone.
"""

import argparse
from statistics import fmean

import numpy as np
import torch
from tabulate import tabulate
from tqdm import tqdm

from benchmarks.contest import Task
from benchmarks.machine import describe
from benchmarks.time_series import SETS, task
from redunet import ReduNet, Search

NUMBERS = (1, 2, 4, 8, 16)


def accuracies(contest: Task, seed: int) -> list[float]:
    """Accuracies on the test samples of one search with growing numbers of candidates."""
    search = Search(seed=seed, most_blocks=max(NUMBERS)).fit(contest.X, contest.y)
    chosen, (test, *_) = search.chosen_, contest.tests.values()
    values = []
    for number in NUMBERS:
        search.chosen_ = chosen[:number]
        net = ReduNet.construct(contest.X, contest.y, num_layers=1, **search.arguments)
        values.append(float(np.mean(net.predict(test) == contest.y_test)))
    return values


def main() -> None:
    """Print a table of Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sets", nargs="+", default=list(SETS), metavar="SET")
    options = parser.parse_args()
    rows = []
    for name in tqdm(options.sets):
        results = [accuracies(task(name, seed), seed) for seed in range(options.seeds)]
        rows.append([name, *map(fmean, zip(*results, strict=True))])
    rows.append(["mean", *map(fmean, list(zip(*rows, strict=True))[1:])])
    print(describe(torch.device("cpu")))
    print(tabulate(rows, ["candidates at most", *NUMBERS], "github", floatfmt=".3f"))


if __name__ == "__main__":
    main()
