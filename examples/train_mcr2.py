"""Train the same network with cross-entropy, MCR² and V-MCR², and compare the features.

Cross-entropy contracts each class to a point. The rate reduction spreads the classes over
orthogonal subspaces of as many dimensions as possible. Figures 1 and 2 and Table 2 of the V-MCR²
paper (CVPR 2022); the option ``--paper`` selects its settings.
"""

import argparse

import matplotlib.pyplot as plt
import torch
from tabulate import tabulate
from torch import Tensor

from featurizers import Problem, argument_parser, nearest_subspace_accuracy, objectives
from redunet import datasets, rate_reduction, train
from redunet.plots import PALETTE, plot_similarity, plot_singular_values
from redunet.training.featurizers import TrainingHistory, features

SHOWN = 50  # digits of each class in the heat maps


def main() -> None:
    parser = argument_parser(__doc__.splitlines()[0])
    parser.add_argument(
        "--paper",
        action="store_true",
        help="learning rates, random crops and flips, and 2000 epochs of the paper (on a GPU)",
    )
    options = parser.parse_args()
    problem = Problem.of(options)
    epochs = options.epochs or (2000 if options.paper else 150 if problem.name == "digits" else 30)
    print(f"{problem.name}: {len(problem.train[0])} training images, {epochs} epochs")

    torch.manual_seed(options.seed)
    histories, trained, rows = {}, {}, []
    for name, objective in objectives(problem, options.device, paper=options.paper).items():
        print(name)
        torch.manual_seed(options.seed)
        featurizer = problem.featurizer(options.device)
        history = train(
            featurizer,
            objective.loss,
            problem.batches(transformed=options.paper),
            objective.optimizer(featurizer),
            epochs=epochs,
            progress=True,
        )
        histories[name] = history
        trained[name] = tuple(t.cpu() for t in features(featurizer, problem.batches()))
        rates = rate_reduction(*trained[name], eps_sq=0.5)
        accuracy = nearest_subspace_accuracy(featurizer, problem)
        rows.append([name, *(r.item() for r in rates), accuracy, sum(history.seconds) / epochs])
    print("\nAfter training, without dropout:")
    headers = ["objective", "ΔR", "R", "R_c", "test accuracy", "s/epoch"]
    print(tabulate(rows, headers, "github", floatfmt=("", ".2f", ".2f", ".2f", ".4f", ".2f")))
    draw(histories, trained, options)


def draw(
    histories: dict[str, TrainingHistory],
    trained: dict[str, tuple[Tensor, Tensor]],
    options: argparse.Namespace,
) -> None:
    """Draw rates against epochs, and similarities and singular values of the features."""
    figure = plt.figure(figsize=(4 * len(trained), 10), layout="constrained")
    axes = figure.subplot_mosaic(
        [
            ["rates"] * len(trained),
            [f"similarity {n}" for n in trained],
            [f"values {n}" for n in trained],
        ]
    )
    ax = axes["rates"]
    for (name, history), color in zip(histories.items(), PALETTE, strict=False):
        ax.plot(history.delta, color=color, label=name)
        if history.variational:
            ax.plot(history.variational, ":", color=color, label=f"{name}, variational")
    ax.set(title="Rate reduction during training", xlabel="epoch", ylabel=r"$\Delta R$ [nats]")
    ax.margins(x=0)
    ax.legend(frameon=False)
    for name, (Z, labels) in trained.items():
        rows = datasets.subsample(labels, min(SHOWN, int(labels.bincount().min())))
        plot_similarity(Z[rows], labels[rows], ax=axes[f"similarity {name}"]).set_title(name)
        plot_singular_values(Z, labels, ax=axes[f"values {name}"]).set_title(name)
    options.figures.mkdir(parents=True, exist_ok=True)
    path = options.figures / "train_mcr2.png"
    figure.savefig(path, dpi=150)
    print(f"figure: {path}")


if __name__ == "__main__":
    main()
