"""Train the same network with cross-entropy, MCR² and V-MCR², and compare the features.

Cross-entropy contracts each class to a point. The rate reduction spreads the classes over
orthogonal subspaces of as many dimensions as possible. Figures 1 and 2 and Table 2 of the V-MCR²
paper (CVPR 2022), and Figure 12 of the ReduNet paper (JMLR 2022). The option ``--paper`` selects
the settings of a paper.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from tabulate import tabulate
from torch import Tensor

from featurizers import (
    PRECISIONS,
    Objective,
    Problem,
    add_training_options,
    argument_parser,
    nearest_subspace_accuracy,
    objectives,
    settings_of,
)
from launch import Launch
from papers import DATA, SETTINGS, paper_objectives, paper_problem, setting_of
from redunet import datasets, rate_reduction
from redunet.plots import PALETTE, plot_similarity, plot_singular_values
from training import History, features, train

SHOWN = 50  # images of each class in the heat maps
CLASSES = 10  # classes in the pictures
NAMES = {"ce": "cross-entropy", "mcr2": "MCR²", "v-mcr2": "V-MCR²"}


def main() -> None:
    options = parsed()
    launch = Launch.of(options)
    options.device, first = launch.device, launch.rank == 0
    problem = paper_problem(options) if options.paper else Problem.of(options)
    torch.manual_seed(options.seed)
    chosen = chosen_objectives(problem, options)
    if first:
        epochs = ", ".join(dict.fromkeys(str(objective.epochs) for objective in chosen.values()))
        print(f"{problem.name}: {len(problem.train[0])} training images, {epochs} epochs")
    histories, trained, rows = {}, {}, []
    for name, objective in chosen.items():
        torch.manual_seed(options.seed)
        featurizer = problem.featurizer(options.device)
        history = run(featurizer, name, objective, problem, launch, options)
        if first:
            histories[name] = history
            trained[name] = tuple(t.cpu() for t in features(featurizer, problem.batches()))
            rates = rate_reduction(*trained[name], eps_sq=options.eps_sq)
            accuracy = nearest_subspace_accuracy(featurizer, problem)
            seconds = sum(history.seconds) / len(history.seconds)
            rows.append([name, *(r.item() for r in rates), accuracy, seconds])
    launch.end()
    if first:
        print("\nAfter training, without dropout:")
        headers = ["objective", "ΔR", "R", "R_c", "test accuracy", "s/epoch"]
        print(tabulate(rows, headers, "github", floatfmt=("", ".2f", ".2f", ".2f", ".4f", ".2f")))
        draw(histories, trained, options)


def parsed() -> argparse.Namespace:
    parser = argument_parser(__doc__.splitlines()[0])
    parser.add_argument(
        "--data",
        choices=DATA,
        help="data set, read from --data-dir (default: MNIST with --data-dir, otherwise digits)",
    )
    parser.add_argument(
        "--paper",
        nargs="?",
        const="any",
        choices=["any", *SETTINGS],
        help="settings of a paper, for a GPU (default: V-MCR², or MCR² for data without V-MCR²)",
    )
    parser.add_argument(
        "--objectives", choices=NAMES, nargs="+", default=list(NAMES), help="(default: all)"
    )
    add_training_options(parser)
    options = parser.parse_args()
    check(options, parser)
    return options


def check(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Stop if options do not fit together."""
    if options.data == "digits":
        options.data_dir = None
    elif options.data and not options.data_dir:
        parser.error(f"set --data-dir or REDUNET_DATA to the folder of {options.data}")
    if options.data not in (None, "digits", "mnist") and not options.paper:
        parser.error(f"--data {options.data} needs --paper")
    if options.paper:
        try:
            schedules = setting_of(options).schedules
        except ValueError as error:
            parser.error(str(error))
        if not any(NAMES[short] in schedules for short in options.objectives):
            parser.error(f"this paper has only {', '.join(schedules)}")


def chosen_objectives(problem: Problem, options: argparse.Namespace) -> dict[str, Objective]:
    """The objectives of ``--objectives``, with their epochs."""
    if options.paper:
        every = paper_objectives(problem, options)
    else:
        epochs = 150 if problem.name == "digits" else 30
        every = objectives(problem, options.device, options.eps_sq)
        every = {name: objective._replace(epochs=epochs) for name, objective in every.items()}
    return {
        name: objective._replace(
            epochs=options.epochs or objective.epochs,
            learning_rate=options.lr or objective.learning_rate,
        )
        for name, objective in every.items()
        if name in [NAMES[short] for short in options.objectives]
    }


def run(
    featurizer: torch.nn.Module,
    name: str,
    objective: Objective,
    problem: Problem,
    launch: Launch,
    options: argparse.Namespace,
) -> History:
    """Train with one objective, together with the other processes."""
    if launch.rank == 0:
        print(name)
    if launch.size > 1:
        torch.manual_seed(options.seed + launch.rank)  # other dropout, crops and flips
    optimizer = objective.to(options.device).optimizer(featurizer)
    return train(
        launch.share(featurizer),
        objective.loss,
        problem.batches(transformed=bool(options.paper), part=launch[:2], seed=options.seed),
        optimizer,
        epochs=objective.epochs,
        scheduler=objective.scheduler(optimizer),
        autocast=PRECISIONS.get(options.amp),
        checkpoint=checkpoint_of(name, options.checkpoint),
        settings=settings_of(options),
        process_group=launch.group,
        progress=launch.rank == 0,
    )


def checkpoint_of(name: str, path: Path | None) -> Path | None:
    """The file of an objective: ``run.safetensors`` becomes ``run-mcr2.safetensors``."""
    if path is None:
        return None
    (short,) = (short for short, other in NAMES.items() if other == name)
    return path.with_stem(f"{path.stem}-{short}")


def draw(
    histories: dict[str, History],
    trained: dict[str, tuple[Tensor, Tensor]],
    options: argparse.Namespace,
) -> None:
    """Draw rates against epochs, and similarities and singular values of the features."""
    figure = plt.figure(figsize=(3.2 * len(trained), 8.5), layout="constrained")
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
    ax.legend(frameon=False, loc="lower right", ncols=2)
    first = next(iter(trained))
    for name, (Z, labels) in trained.items():
        Z, labels = Z[labels < CLASSES], labels[labels < CLASSES]
        rows = datasets.subsample(labels, min(SHOWN, int(labels.bincount().min())))
        plot_similarity(Z[rows], labels[rows], ax=axes[f"similarity {name}"]).set_title(name)
        ax = plot_singular_values(Z, labels, ax=axes[f"values {name}"])
        ax.set_title(name)
        if name != first:
            ax.get_legend().remove()  # classes have the same colours in all panels
    options.figures.mkdir(parents=True, exist_ok=True)
    path = options.figures / "train_mcr2.png"
    figure.savefig(path, dpi=150)
    print(f"figure: {path}")


if __name__ == "__main__":
    main()
