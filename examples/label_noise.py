"""Wrong labels: a classifier memorises them, but they do little harm to the rate reduction.

Cross-entropy and MCR² are trained with an increasing share of wrong labels. The rate of all samples
together does not depend on labels, and only samples that fit their label are compressed. Table 1
and Figure 14 of the ReduNet paper (JMLR 2022).
"""

import argparse

import matplotlib.pyplot as plt
import torch
from tabulate import tabulate

from featurizers import (
    LITTLE_DROPOUT,
    CrossEntropy,
    Problem,
    argument_parser,
    nearest_subspace_accuracy,
    objectives,
    test_features,
)
from redunet import datasets
from redunet.plots import PALETTE
from training import History, train

NAMES = ("cross-entropy", "MCR²")


def main() -> None:
    parser = argument_parser(__doc__.splitlines()[0])
    parser.add_argument("--ratios", type=float, nargs="+", default=[0, 0.1, 0.2, 0.3, 0.4, 0.5])
    options = parser.parse_args()
    problem = Problem.of(options)._replace(dropout=LITTLE_DROPOUT)
    epochs = options.epochs or (150 if problem.name == "digits" else 30)
    print(f"{problem.name}: {len(problem.train[0])} training images, {epochs} epochs")

    accuracies, histories = {name: [] for name in NAMES}, []
    for ratio in options.ratios:
        for name in NAMES:
            accuracy, history = train_and_test(name, ratio, epochs, problem, options)
            accuracies[name].append(accuracy)
        histories.append(history)  # MCR² comes last
    rows = [[name, *values] for name, values in accuracies.items()]
    headers = ["test accuracy", *(f"{ratio:.0%} wrong" for ratio in options.ratios)]
    print(tabulate(rows, headers, "github", floatfmt=".4f"))
    draw(accuracies, histories, options)


def train_and_test(
    name: str, ratio: float, epochs: int, problem: Problem, options: argparse.Namespace
) -> tuple[float, History]:
    """Train with wrong labels, and return the accuracy on test digits with correct labels."""
    labels = datasets.corrupt_labels(problem.train[1], ratio, seed=options.seed)
    torch.manual_seed(options.seed)
    featurizer = problem.featurizer(options.device)
    objective = objectives(problem, options.device)[name]
    loss, optimizer = objective.loss, objective.optimizer(featurizer)
    batches = problem.batches(labels)
    history = train(featurizer, loss, batches, optimizer, epochs=epochs, progress=True)
    if isinstance(loss, CrossEntropy):
        predictions = loss.classifier(test_features(featurizer, problem)).argmax(1).cpu()
        return (predictions == problem.test[1]).float().mean().item(), history
    return nearest_subspace_accuracy(featurizer, problem, labels), history


def draw(
    accuracies: dict[str, list[float]],
    histories: list[History],
    options: argparse.Namespace,
) -> None:
    """Accuracy against the share of wrong labels, and rates of MCR² against epochs."""
    figure, axes = plt.subplots(2, 1, figsize=(7.5, 8), layout="constrained")
    for (name, values), color, marker in zip(accuracies.items(), PALETTE, "os", strict=False):
        axes[0].plot(options.ratios, values, color=color, marker=marker, label=name)
    axes[0].set(title="Test accuracy", xlabel="share of wrong labels", ylabel="accuracy")
    axes[0].legend(frameon=False)
    shades = plt.colormaps["viridis"]([0.9 * i / len(histories) for i in range(len(histories))])
    for ratio, history, color in zip(options.ratios, histories, shades, strict=True):
        axes[1].plot(history.expansion, color=color, label=f"{ratio:.0%} wrong")
        axes[1].plot(history.compression, "--", color=color)
    axes[1].set(
        title=r"MCR²: $R$ (solid) and $R_c$ (dashed) with the training labels",
        xlabel="epoch",
        ylabel="rate [nats]",
    )
    axes[1].legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    options.figures.mkdir(parents=True, exist_ok=True)
    path = options.figures / "label_noise.png"
    figure.savefig(path, dpi=150)
    print(f"figure: {path}")


if __name__ == "__main__":
    main()
