"""Train a network with the structure of a ReduNet, but with trainable convolutions for E and Cʲ.

The network is trained by back-propagation, with and without a ReLU after the first convolution. Its
other nonlinearities are memberships and normalisations. After Figure 17 of the ReduNet paper (JMLR
2022), with digits instead of CIFAR-10. The layers have no factors γ_j and no projection onto the
sphere, and there are two average poolings between them.
"""

import matplotlib.pyplot as plt
import torch
from torch import nn
from tqdm import trange

from featurizers import NUM_CLASSES, Problem, argument_parser
from redunet.plots import PALETTE
from redunet.training.convolutional import ReduConvNet


def main() -> None:
    parser = argument_parser(__doc__.splitlines()[0])
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--lr", type=float, default=0.02)
    options = parser.parse_args()
    problem = Problem.of(options)
    epochs = options.epochs or (30 if problem.name == "digits" else 3)

    figure, ax = plt.subplots(layout="constrained")
    for relu, color in zip((True, False), PALETTE, strict=False):
        name = "with ReLU" if relu else "without ReLU"
        torch.manual_seed(options.seed)
        channels = problem.train[0].shape[1]
        net = ReduConvNet(channels, NUM_CLASSES, options.channels, relu=relu).to(options.device)
        losses = train(net, problem, epochs, options.lr, name)
        train_accuracy, accuracy = (accuracy_of(net, s) for s in (problem.train, problem.test))
        print(f"{name}: {train_accuracy:.4f} of the training, {accuracy:.4f} of the test digits")
        ax.plot(losses, color=color, label=f"{name}, test accuracy {accuracy:.3f}")
    ax.set(
        title=f"ReduConvNet on {problem.name}", xlabel="step", ylabel="cross-entropy", yscale="log"
    )
    ax.legend(frameon=False)
    options.figures.mkdir(parents=True, exist_ok=True)
    path = options.figures / "redu_conv_net.png"
    figure.savefig(path, dpi=150)
    print(f"figure: {path}")


def train(net: nn.Module, problem: Problem, epochs: int, lr: float, name: str) -> list[float]:
    """Train, and return the cross-entropy of each step."""
    device = next(net.parameters()).device
    optimizer = torch.optim.SGD(net.parameters(), lr, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    losses = []
    for _ in trange(epochs, desc=name):
        for X, labels in problem.batches():
            loss = nn.functional.cross_entropy(net(X.to(device)), labels.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        schedule.step()
    return losses


@torch.no_grad()
def accuracy_of(net: nn.Module, samples: tuple[torch.Tensor, torch.Tensor]) -> float:
    """Share of the digits that are classified correctly."""
    device = next(net.parameters()).device
    predictions = torch.cat([net(X.to(device)).argmax(1).cpu() for X in samples[0].split(500)])
    return (predictions == samples[1]).float().mean().item()


if __name__ == "__main__":
    main()
