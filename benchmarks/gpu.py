"""All timings on a GPU in one run that ends in time, as a section for RESULTS.md.

The run has six parts: tests, layers, precision, graphs, losses and fits. MNIST is a seventh part if
``--data`` names its folder. Every measurement first runs at a small size. If the full size would
take more than its share of the time, fewer samples are measured, and the row says so. With
``--device cpu --minutes 0.05`` all sizes are small, and the run only shows that everything works.
"""

import argparse
import math
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import torch
from tabulate import tabulate
from torch import Tensor

from benchmarks import losses, textbook
from benchmarks.budget import Budget, fitted, reduced, resized
from benchmarks.construct import LARGEST_TEXTBOOK, Timer
from benchmarks.machine import Roofline, add_device_option, best_time, describe
from benchmarks.workloads import EVALUATION, SETTINGS, WORKLOADS, Workload
from redunet import ReduNet, ReduNetClassifier

# Goals on an H200: milliseconds of a layer, and the loop over classes / the loss of redunet.
LAYER_GOALS = {"vector": 3.0, "image16": 0.7, "image75": 2.0, "classes": 5.0}
LOSS_GOAL, MANY_CLASSES = 100, 200

# Shares of the time that is left when a part begins.
SHARES = {"tests": 0.3, "layers": 0.35, "precision": 0.2, "graphs": 0.1, "losses": 0.4, "fits": 0.3}

# Number of series that a classifier is fitted to.
SERIES = 100


class Context(NamedTuple):
    """What a part needs to know."""

    device: torch.device
    budget: Budget
    timer: Timer
    data: str | None
    is_trial: bool  # whether all sizes are small

    def workload(self, work: Workload) -> Workload:
        """A workload, which is reduced in a trial."""
        return reduced(work) if self.is_trial else work


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_device_option(parser, default="cuda")
    parser.add_argument(
        "--minutes",
        type=float,
        default=8.0,
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


def tests(context: Context) -> str:
    """The tests that need a GPU, in a process of their own."""
    if context.device.type != "cuda":
        return "The tests that need a GPU did not run: there is no CUDA device."
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-p", "no:cacheprovider"]
    command += ["-p", "no:benchmark", "-o", "addopts=", "-rf", "--tb=line"]
    shown = _output(command, context.budget.left)
    if shown is None:
        return "The tests did not end in time."
    lines = shown.splitlines()
    return "\n".join([*(line for line in lines if line.startswith("FAILED")), lines[-1]])


def layers(context: Context) -> str:
    """Time of a layer of every workload, with the goals, and of a layer on new samples."""
    roofline = Roofline.measure(context.device, size=256 if context.is_trial else 4096)
    rows = []
    for number, (key, work) in enumerate(WORKLOADS.items()):
        budget = context.budget.share(1 / (len(WORKLOADS) + 1 - number))
        goal = None if context.is_trial else LAYER_GOALS.get(key)
        rows.append(_layer_row(context.workload(work), goal, budget, context.timer, roofline))
    headers = ["ms per layer", "goal", "exact", "variational", "momentum", "floor", "floor / exact"]
    formats = ("", *[".3g"] * 6, ".1e")
    table = tabulate(
        rows, [*headers, "largest difference"], "github", floatfmt=formats, missingval="–"
    )
    return f"{roofline}\n\n{table}\n\n{_evaluation(context)}"


def _layer_row(
    work: Workload, goal: float | None, budget: Budget, timer: Timer, roofline: Roofline
) -> list[object]:
    def prepare(work: Workload) -> Callable[[], object]:
        data = work.data(timer.device)
        return lambda: ReduNet.construct(*data, num_layers=1, **SETTINGS)

    layers_timed = (1 + timer.repeat) * (2 + timer.layers)
    fitting = fitted(work, budget, prepare, runs=4 * layers_timed)  # momentum takes nearly double
    if fitting is None:
        return [work.name, goal]
    X, labels = fitting.data(timer.device)
    exact = timer.layer(X, labels)
    variational = timer.layer(X, labels, operators="variational", rank=fitting.rank)
    momentum = timer.layer(X, labels, momentum=0.9)
    floor = roofline.seconds(fitting.flops(), fitting.bytes())
    milliseconds = [1e3 * seconds for seconds in (exact, variational, momentum, floor)]
    difference = _difference(fitting, X, labels, budget)
    return [fitting.name, goal, *milliseconds, floor / exact, difference]


def _difference(work: Workload, X: Tensor, labels: Tensor, budget: Budget) -> float | None:
    """Largest difference of the features after a layer from the textbook's, if there is time."""
    loops = math.prod(work.shape[1:]) * (work.classes + 1)
    seconds = loops * (1e-4 + 1e-10 * work.shape[0] ** 3)  # a guess, on one core
    if seconds > budget.left or work.samples * work.classes * work.shape[0] > LARGEST_TEXTBOOK:
        return None
    net = ReduNet.construct(X, labels, num_layers=1, **SETTINGS)
    expected = textbook.layer(textbook.to_spectrum(X), labels, **SETTINGS).V
    return (net(X) - textbook.from_spectrum(expected, X.shape)).abs().max().item()


def _evaluation(context: Context) -> str:
    """Time of a layer on new samples."""
    runs = 3 * (1 + context.timer.repeat)
    work = fitted(context.workload(EVALUATION), context.budget, _network_on_samples(context), runs)
    if work is None:
        return "There was no time for a layer on new samples."
    milliseconds = 1e3 * context.timer.evaluation(work)
    return (
        f"A layer on new samples, {work.name.removeprefix('evaluation, ')}: {milliseconds:.3g} ms."
    )


def _network_on_samples(context: Context) -> Callable[[Workload], Callable[[], object]]:
    """For a workload, a function that applies a network to its samples."""

    def prepare(work: Workload) -> Callable[[], object]:
        X, labels = work.data(context.device)
        net = ReduNet.construct(X[:500], labels[:500], num_layers=1, **SETTINGS)
        return lambda: net(X)

    return prepare


def precision(context: Context) -> str:
    """Time of ``net(X)`` in full float32, and with TF32 for its products."""
    rows = []
    for number, key in enumerate(("vector", "image16", "classes")):
        budget = context.budget.share(1 / (3 - number))
        work = fitted(
            context.workload(WORKLOADS[key]), budget, _network_on_samples(context), runs=40
        )
        if work is None:
            continue
        X, labels = work.data(context.device)
        net = ReduNet.construct(X, labels, num_layers=3, **SETTINGS)
        full, full_time = net(X), context.timer.best(lambda net=net, X=X: net(X))
        expected = net.membership(X).argmax(1)
        with _matmul_precision("high"):
            fast, fast_time = net(X), context.timer.best(lambda net=net, X=X: net(X))
            changed = (net.membership(X).argmax(1) != expected).double().mean().item()
        difference = (fast - full).abs().max().item()
        rows.append([work.name, 1e3 * full_time, 1e3 * fast_time, difference, changed])
    headers = ["ms of net(X), 3 layers", "float32", "TF32", "largest difference", "labels changed"]
    formats = ("", ".3g", ".3g", ".1e", ".2%")
    note = (
        'The second column is after `torch.set_float32_matmul_precision("high")`, which is your '
        "choice: by default torch computes products in full float32."
    )
    return tabulate(rows, headers, "github", floatfmt=formats) + "\n\n" + note


class _matmul_precision:
    """A precision of float32 products, for a while."""

    def __init__(self, precision: str):
        self._precision, self._before = precision, torch.get_float32_matmul_precision()

    def __enter__(self) -> None:
        torch.set_float32_matmul_precision(self._precision)

    def __exit__(self, *_: object) -> None:
        torch.set_float32_matmul_precision(self._before)


def graphs(context: Context) -> str:
    """Time of ``net(X)`` on one and on 64 samples: as it is, and as a CUDA graph."""
    rows = []
    for key in ("vector", "image16"):
        work = resized(context.workload(WORKLOADS[key]), 500)
        X, labels = work.data(context.device)
        net = ReduNet.construct(X, labels, num_layers=3, **SETTINGS)
        for samples in (1, 64):
            few = X[:samples].clone()
            eager = context.timer.best(lambda net=net, few=few: net(few))
            replayed = None
            if context.device.type == "cuda":
                replayed = 1e3 * context.timer.best(_captured(net, few))
            rows.append([f"{work.name}, on {samples}", 1e3 * eager, replayed])
    headers = ["ms of net(X), 3 layers", "as it is", "CUDA graph"]
    return tabulate(rows, headers, "github", floatfmt=".3g", missingval="–")


def _captured(net: ReduNet, X: Tensor) -> Callable[[], None]:
    """A function that replays ``net(X)`` as a CUDA graph."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # plans and workspaces are made before the capture
        net(X)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        net(X)
    return graph.replay


def losses_(context: Context) -> str:
    """Time of ΔR and its gradient: all methods of ``benchmarks.losses``."""
    rows, batches = [], [*losses.SMALL_CLASSES, *losses.LARGE_CLASSES]
    for number, batch in enumerate(batches):
        budget = context.budget.share(1 / (len(batches) - number))
        goal = LOSS_GOAL if batch.classes >= MANY_CLASSES else None
        if context.is_trial:
            goal = None
            batch = batch._replace(dim=batch.dim // 8, samples=batch.samples // 8, classes=2)
        with torch.enable_grad():
            fitting = _fitted_batch(batch, budget)
            if fitting is not None:
                rows.append([*losses.row(fitting, context.device), goal])
    ratios = ["loop / ours", "V / ours", "V and update / ours", "relative difference"]
    headers = ["ms", *losses.WAYS, "V, update", *ratios, "goal of loop / ours"]
    formats = ("", *[".3g"] * 9, ".1e", "")
    return tabulate(rows, headers, "github", floatfmt=formats, missingval="–")


def _fitted_batch(batch: losses.Batch, budget: Budget) -> losses.Batch | None:
    """The batch, with fewer classes if the loop over classes would take too long."""
    size = batch.samples // batch.classes
    few = batch._replace(classes=2, samples=2 * size)
    Z, labels = few.data(budget.device)
    loss = losses.loop(few.classes, None)
    seconds = best_time(lambda: losses.gradient(loss, Z, labels), budget.device, repeat=2)
    # Four runs of the loop, and about as much for the other methods.
    classes = min(batch.classes, int(2 * budget.left / (10 * seconds)))
    return None if classes < 2 else batch._replace(classes=classes, samples=classes * size)


def fits(context: Context) -> str:
    """Time to fit a classifier to series: search, construction and prediction."""
    rows, fit = [], 0.0
    for length in (16, 64, 128, 256):
        if 4 * fit > context.budget.left:
            break
        X, y = _series(2 * SERIES, length)
        model = ReduNetClassifier(device=context.device)
        fit = _fit_time(model, X[:SERIES], y[:SERIES], context.device)
        score = model.score(X[SERIES:], y[SERIES:])
        rows.append([f"{SERIES} series of length {length}, 4 classes", fit, score])
    return tabulate(rows, ["", "seconds to fit", "test accuracy"], "github", floatfmt=".3g")


def _fit_time(model: ReduNetClassifier, X: Tensor, y: Tensor, device: torch.device) -> float:
    return best_time(lambda: model.fit(X, y), device, repeat=1)


def _series(m: int, length: int) -> tuple[Tensor, Tensor]:
    """Noisy waves of four frequencies at random shifts, ``(m, 1, length)``."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(m) % 4
    phase = 2 * torch.pi * torch.rand(m, 1, generator=generator)
    time_axis = 2 * torch.pi * torch.arange(length) / length
    waves = torch.sin((3 + y[:, None]) * time_axis + phase)
    return (waves + 0.5 * torch.randn(m, length, generator=generator))[:, None], y


def mnist(context: Context) -> str:
    """``benchmarks.mnist`` in a process of its own, with as many digits as there is time for."""
    if not context.data:
        return "`--data` names no folder of MNIST."
    command = [sys.executable, "-m", "benchmarks.mnist", "--data-dir", context.data]
    command += ["--device", str(context.device), "--per-class"]
    shown = _output([*command, "50"], context.budget.left)
    if shown is not None:
        shown = _output([*command, "500"], context.budget.left) or shown
    return shown or "There was no time for MNIST."


def _output(command: list[str], seconds: float) -> str | None:
    """What a command prints; None if it takes longer."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=max(1.0, seconds))
    except subprocess.TimeoutExpired:
        return None
    if done.returncode and not done.stdout.strip():
        return f"It failed: {done.stderr.strip().splitlines()[-1]}"
    return done.stdout.strip()


PARTS: dict[str, Callable[[Context], str]] = {
    "tests": tests,
    "layers": layers,
    "precision": precision,
    "graphs": graphs,
    "losses": losses_,
    "fits": fits,
    "mnist": mnist,
}


if __name__ == "__main__":
    with torch.no_grad():
        main()
