"""Times of layers, losses and fits, beside what else could be taken."""

import math
import sys
import time
from collections.abc import Callable

import torch
from tabulate import tabulate
from torch import Tensor

from benchmarks import losses, textbook
from benchmarks.budget import Budget, fitted, resized
from benchmarks.construct import LARGEST_TEXTBOOK, Timer
from benchmarks.gpu.context import Context
from benchmarks.gpu.correctness import output
from benchmarks.machine import Roofline, best_time
from benchmarks.workloads import EVALUATION, SETTINGS, WORKLOADS, Workload
from redunet import ReduNet, ReduNetClassifier, datasets

# Goals on an H200: milliseconds of a layer, and the loop over classes / the loss of redunet.
LAYER_GOALS = {"vector": 3.0, "image16": 0.7, "image75": 2.0, "classes": 5.0}
LOSS_GOAL, MANY_CLASSES = 100, 200

# Number of series that a classifier is fitted to.
SERIES = 100


def layers(context: Context) -> str:
    """Time of a layer of every workload, with the goals, and of a layer on new samples."""
    roofline = Roofline.measure(context.device, size=256 if context.is_trial else 4096)
    rows = []
    for number, (key, work) in enumerate(WORKLOADS.items()):
        budget = context.budget.share(1 / (len(WORKLOADS) + 1 - number))
        goal = None if context.is_trial else LAYER_GOALS.get(key)
        rows.append(_layer_row(context.workload(work), goal, budget, context.timer, roofline))
    headers = ["ms per layer", "goal", "exact", "variational", "momentum", "floor", "floor / exact"]
    headers += ["peak [GiB]", "Algorithm 3 as printed", "largest difference"]
    formats = ("", *[".3g"] * 8, ".1e")
    table = tabulate(rows, headers, "github", floatfmt=formats, missingval="–")
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
    if timer.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(timer.device)
    exact = timer.layer(X, labels)
    peak = _peak(timer.device)
    variational = timer.layer(X, labels, operators="variational", rank=fitting.rank)
    momentum = timer.layer(X, labels, momentum=0.9)
    floor = roofline.seconds(fitting.flops(), fitting.bytes())
    milliseconds = [1e3 * seconds for seconds in (exact, variational, momentum, floor)]
    printed = _as_printed(fitting, X, labels, budget)
    return [fitting.name, goal, *milliseconds, floor / exact, peak, *printed]


def _peak(device: torch.device) -> float | None:
    """Largest memory that was taken on a GPU, in GiB."""
    return torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None


def _as_printed(
    work: Workload, X: Tensor, labels: Tensor, budget: Budget
) -> tuple[float | None, float | None]:
    """Milliseconds of Algorithm 3 as printed, and the largest difference of the features.

    Both are None if there is too little time or memory.
    """
    loops = math.prod(work.shape[1:]) * (work.classes + 1)
    seconds = 2 * loops * (1e-4 + 1e-10 * work.shape[0] ** 3)  # a guess, on one core
    if seconds > budget.left or work.samples * work.classes * work.shape[0] > LARGEST_TEXTBOOK:
        return None, None
    V = textbook.to_spectrum(X)
    expected = textbook.layer(V, labels, **SETTINGS).V
    printed = best_time(lambda: textbook.layer(V, labels, **SETTINGS), X.device, repeat=1)
    net = ReduNet.construct(X, labels, num_layers=1, **SETTINGS)
    difference = (net(X) - textbook.from_spectrum(expected, X.shape)).abs().max().item()
    return 1e3 * printed, difference


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
    """Time to fit a classifier to series: search, construction and prediction.

    Four classes of 25 series have matrices just below the size up to which torch 2.11 decomposes
    them together. Four classes of 100 series have larger ones.
    """
    rows, fit = [], 0.0
    for samples, length in ((1, 16), (1, 64), (1, 256), (4, 64), (4, 256)):
        if 8 * fit > context.budget.left:
            break
        train = samples * SERIES
        X, y = _series(train + SERIES, length)
        model = ReduNetClassifier(device=context.device)
        fit = _fit_time(model, X[:train], y[:train], context.device)
        score = model.score(X[train:], y[train:])
        rows.append([f"{train} series of length {length}, 4 classes", fit, score])
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
    """MNIST with chosen settings, and ``benchmarks.mnist`` in a process of its own."""
    if not context.data:
        return "`--data` names no folder of MNIST."
    parts = [_searched(context)]
    command = [sys.executable, "-m", "benchmarks.mnist", "--data-dir", context.data]
    command += ["--device", str(context.device), "--per-class"]
    for per_class in ("50", "500"):
        shown = output([*command, per_class], context.budget.left)
        if shown is not None:
            parts.append(f"{per_class} digits of each class:\n\n{shown}")
    return "\n\n".join(parts)


def _searched(context: Context) -> str:
    """Seconds to search and construct a network from MNIST, with as many digits as fit."""
    (X, y), (X_test, y_test) = (datasets.mnist(split, context.data) for split in ("train", "test"))
    if context.is_trial:
        X_test, y_test = X_test[:100], y_test[:100]
    rows, seconds = [], 0.0
    for per_class in (2,) if context.is_trial else (20, 100, 500, None):
        if 12 * seconds > context.budget.left:
            break
        chosen = slice(None) if per_class is None else datasets.subsample(y, per_class)
        start = time.perf_counter()
        net = ReduNet.construct(X[chosen].to(context.device), y[chosen], lift="auto")
        seconds = time.perf_counter() - start
        accuracy = (net.predict(X_test.to(context.device)) == y_test.numpy()).mean()
        rows.append([len(y[chosen]), net.feature_shape[0], seconds, accuracy])
    headers = ["digits", "channels", "seconds to search and construct", "test accuracy"]
    return tabulate(rows, headers, "github", floatfmt=("", "", ".3g", ".4f"))
