"""What decides between two ways of computing on a device, measured."""

import copy
import math
import time
from collections.abc import Callable, Iterator

import torch
from tabulate import tabulate
from torch import Tensor, nn

from benchmarks.budget import resized
from benchmarks.gpu.context import Context
from benchmarks.workloads import SETTINGS, WORKLOADS
from redunet import ReduNet
from redunet.layers.operators import responses
from redunet.lifts import MultiScaleLift, RandomCirculantLift, ShortTimeFourierLift
from redunet.rates.spectrum import as_double, scaled

PRECISIONS = {
    torch.float32: "float32",
    torch.float64: "float64",
    torch.complex64: "complex64",
    torch.complex128: "complex128",
}

# Types, sizes and numbers of matrices. torch 2.11 batches eigh up to a size of 32.
EIGENDECOMPOSITIONS = [
    (torch.complex128, 32, 64),
    (torch.complex128, 33, 64),
    (torch.complex128, 128, 40),
    (torch.float64, 500, 4),
    (torch.float32, 784, 4),
    (torch.complex64, 32, 512),
    (torch.complex64, 64, 40),
]
INVERSES = [
    (torch.complex64, 16, 4000),
    (torch.complex64, 75, 4000),
    (torch.float32, 128, 201),
    (torch.float32, 512, 201),
    (torch.float32, 784, 11),
    (torch.float32, 2048, 11),
    (torch.float64, 784, 11),
]
# Entries of the matrices that are inverted by blocks at once; they fit into the cache.
BLOCK = 2**19
# Frequencies, samples, channels, and columns of all operators.
PRODUCTS = [(420, 4000, 16, 176), (420, 1000, 75, 825)]


def constants(context: Context) -> str:
    """All tables for which there is time."""
    tables = []
    for table in (
        launches,
        not_a_number,
        inverses,
        eigendecompositions,
        products,
        convolutions,
        blocks,
        reading,
    ):
        if context.budget.left <= 0:
            break
        tables.append(table(context))
    return "\n\n".join(tables)


def launches(context: Context) -> str:
    """The least time of an operation, of a wait and of a copy to the device."""
    x = torch.ones(1000, device=context.device)
    runs = {
        "an operation": lambda: x.add(1),
        "an operation and a wait": lambda: x.sum().item(),
        "a copy of a number to the device": lambda: torch.tensor([1.0], device=context.device),
    }
    rows = [
        [name, 10 * context.milliseconds(lambda run=run: [run() for _ in range(100)])]
        for name, run in runs.items()
    ]
    return tabulate(rows, ["", "µs"], "github", floatfmt=".3g")


def not_a_number(context: Context) -> str:
    """What a factorisation says of a matrix with NaN; LAPACK says that it fails."""
    matrices = torch.eye(3, device=context.device).repeat(2, 1, 1)
    matrices[0, 1, 1], matrices[1, 1, 1] = math.nan, -1
    info = torch.linalg.cholesky_ex(matrices).info.tolist()
    return f"`cholesky_ex` of a matrix with NaN and of an indefinite one: info = {info}."


def inverses(context: Context) -> str:
    """Inverses from Cholesky factors, by ``cholesky_inverse`` and by a product, and by blocks.

    The last columns are relative errors for matrices whose eigenvalues lie between 1 and 10⁴.
    """
    rows = []
    for dtype, size, count in _sizes(INVERSES, context):
        A = _positive(count, size, dtype, context.device)
        identity = torch.eye(size, dtype=dtype, device=context.device)
        factor = torch.linalg.cholesky(A)

        def product(factor: Tensor = factor, identity: Tensor = identity) -> Tensor:
            half = torch.linalg.solve_triangular(factor, identity, upper=False)
            return half.mH @ half

        runs = (
            lambda A=A: torch.linalg.cholesky_ex(A),
            lambda factor=factor: torch.cholesky_inverse(factor),
            product,
            lambda A=A: [by_blocks(part) for part in A.split(max(1, BLOCK // A[0].numel()))],
        )
        graded = _graded(5, size, dtype, context.device)
        exact = torch.linalg.inv(as_double(graded))
        found = torch.cholesky_inverse(torch.linalg.cholesky(graded)), by_blocks(graded)
        errors = [((t - exact).norm() / exact.norm()).item() for t in found]
        name = f"{count} of {size} × {size}, {PRECISIONS[dtype]}"
        rows.append([name, *map(context.milliseconds, runs), *errors])
    headers = ["ms for all", "factor", "cholesky_inverse", "triangle and product"]
    headers += ["all by blocks", "error of the factor", "by blocks"]
    return tabulate(rows, headers, "github", floatfmt=("", *[".3g"] * 4, ".0e", ".0e"))


def by_blocks(A: Tensor, leaf: int = 24) -> Tensor:
    """The inverse of positive definite matrices by 2 × 2 blocks and Schur complements.

    Only blocks of at most ``leaf`` rows are factorised. Everything else is batched products. It
    multiplies by inverses, so its error grows with the square of the condition.
    """
    size = A.shape[-1]
    if size <= leaf:
        return torch.cholesky_inverse(torch.linalg.cholesky_ex(A).L)
    half = (size + 1) // 2
    first = by_blocks(A[:, :half, :half], leaf)
    moved = first @ A[:, :half, half:]
    second = by_blocks(A[:, half:, half:] - A[:, half:, :half] @ moved, leaf)
    inverse, corner = torch.empty_like(A), moved @ second
    inverse[:, :half, :half] = torch.baddbmm(first, corner, moved.mH)
    inverse[:, :half, half:], inverse[:, half:, :half] = -corner, -corner.mH
    inverse[:, half:, half:] = second
    return inverse


def eigendecompositions(context: Context) -> str:
    """An eigendecomposition on the device and on the CPU."""
    rows = []
    for dtype, size, count in _sizes(EIGENDECOMPOSITIONS, context):
        A = _positive(count, size, dtype, context.device)
        vectors = torch.linalg.eigh(A).eigenvectors
        identity = torch.eye(size, dtype=dtype, device=context.device)
        few = A[:4].cpu()
        start = time.perf_counter()
        torch.linalg.eigh(few)
        on_cpu = 1e3 * (time.perf_counter() - start) / len(few)
        on_device = context.milliseconds(lambda A=A: torch.linalg.eigh(A), 2) / count
        error = (vectors.mH @ vectors - identity).abs().max().item()
        rows.append([f"{size} × {size}, {PRECISIONS[dtype]}", on_device, on_cpu, error])
    headers = ["ms of eigh for one matrix", "in a batch", "CPU", "error of orthogonality"]
    return tabulate(rows, headers, "github", floatfmt=("", ".3g", ".3g", ".0e"))


def products(context: Context) -> str:
    """A complex product, and a real one that does the same work."""
    rows = []
    for shape in PRODUCTS:
        F, m, C, columns = (max(2, n // 8) if context.is_trial else n for n in shape)
        V = _random(F, m, C, dtype=torch.complex64, device=context.device)
        operators = _random(F, C, columns, dtype=torch.complex64, device=context.device)
        X = _random(F, m, 2 * C, dtype=torch.float32, device=context.device)
        matrices = _random(F, 2 * C, 2 * columns, dtype=torch.float32, device=context.device)
        complex_ms = context.milliseconds(lambda V=V, operators=operators: V @ operators)
        real_ms = context.milliseconds(lambda X=X, matrices=matrices: X @ matrices)
        rows.append([f"{F} × ({m} × {C}) ({C} × {columns})", complex_ms, real_ms])
    return tabulate(rows, ["ms", "complex", "real, of twice the size"], "github", floatfmt=".3g")


def convolutions(context: Context) -> str:
    """Errors of lifts in float32, with convolutions in TF32 (the default of torch) and without."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(64, 3, 32, 32, generator=generator)
    series = torch.randn(64, 2, 256, generator=generator)
    lifts: list[tuple[nn.Module, Tensor]] = [
        (RandomCirculantLift(3, 16, 3, ndim=2), images),
        (MultiScaleLift(2, 1, nonlinearity="relu").fit(series), series),
        (ShortTimeFourierLift(16), series),
    ]
    rows = []
    for lift, X in lifts:
        exact = copy.deepcopy(lift).double()(X.double())
        row = [type(lift).__name__]
        for allow_tf32 in (True, False):
            with torch.backends.cudnn.flags(enabled=True, allow_tf32=allow_tf32):
                lifted = lift.to(context.device)(X.to(context.device)).cpu().double()
            row.append(((lifted - exact).norm() / exact.norm()).item())
        rows.append(row)
    headers = ["relative error", "TF32 allowed", "not allowed"]
    return tabulate(rows, headers, "github", floatfmt=".0e")


def blocks(context: Context) -> str:
    """Time of ``net(X)`` with blocks of several sizes."""
    rows, sizes = [], (26, 27, 28, 29, 30, 31)
    for key in ("vector", "image16", "classes"):
        work = context.workload(WORKLOADS[key])
        X, labels = work.data(context.device)
        net = ReduNet.construct(X, labels, num_layers=3, **SETTINGS)
        rows.append(
            [
                work.name,
                *_with(
                    responses.BLOCK_BYTES,
                    [2**bits for bits in sizes],
                    lambda n=net, X=X: n(X),
                    context,
                ),
            ]
        )
    headers = ["ms of net(X), blocks of bytes:", *(f"2^{bits}" for bits in sizes)]
    return tabulate(rows, headers, "github", floatfmt=".3g")


def reading(context: Context) -> str:
    """Time of a layer of low rank that reads the memberships back, and of one that does not."""
    rows = []
    for samples, features, classes in ((2000, 512, 100), (5000, 784, 50), (20000, 512, 200)):
        work = WORKLOADS["classes"]._replace(
            samples=samples, shape=(features,), classes=classes, name=f"m={samples}, k={classes}"
        )
        work = context.workload(work)
        net = ReduNet.construct(
            *resized(work, 20 * work.classes).data(context.device), num_layers=1, **SETTINGS
        )
        X, _ = work.data(context.device)
        costs = _with(responses.COST_OF_READING, [0, math.inf], lambda n=net, X=X: n(X), context)
        products = len(X) * X.shape[1] * getattr(net.layers[0].operators, "width", X.shape[1])
        rows.append([f"{work.name}: 2^{math.log2(products):.1f} multiplications", *costs])
    headers = ["ms of net(X), one layer of low rank", "memberships read", "not read"]
    return tabulate(rows, headers, "github", floatfmt=".3g")


def _with(
    table: dict[str, float], values: list[float], run: Callable[[], object], context: Context
) -> Iterator[float]:
    """Milliseconds of a function with each of the values in the place of a constant."""
    key = context.device.type if context.device.type in table else "cuda"
    before = table[key]
    try:
        for value in values:
            table[key] = value
            yield context.milliseconds(run)
    finally:
        table[key] = before


def _sizes(
    sizes: list[tuple[torch.dtype, int, int]], context: Context
) -> Iterator[tuple[torch.dtype, int, int]]:
    """The sizes as long as there is time, a tenth of them in a trial."""
    for dtype, size, count in sizes:
        if context.budget.left > 0:
            yield (dtype, max(2, size // 10), 5) if context.is_trial else (dtype, size, count)


def _positive(count: int, size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Random positive definite matrices with eigenvalues of at least 0.05."""
    A = _random(count, size, size, dtype=dtype, device=device)
    return A @ A.mH / size + 0.05 * torch.eye(size, dtype=dtype, device=device)


def _graded(count: int, size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Random positive definite matrices with eigenvalues from 1 to 10⁴."""
    directions = torch.linalg.qr(_random(count, size, size, dtype=dtype, device=device)).Q
    values = torch.logspace(0, 4, size, dtype=dtype.to_real(), device=device)
    return scaled(directions, values) @ directions.mH


def _random(*shape: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Normal numbers, the same on every device."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator, dtype=dtype, device="cpu").to(device)
