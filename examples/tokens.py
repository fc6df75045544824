"""Attention by token statistics: the compression falls step by step, at a linear cost.

Random tokens pass a few steps of TokenStatisticsAttention without any training. Then
the time of a step is measured beside that of softmax attention of the same shape, which compares
all pairs of tokens.
"""

import argparse
import time
from collections.abc import Callable

import torch
from tabulate import tabulate
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from redunet import TokenStatisticsAttention


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dim", type=int, default=64, help="size of a token")
    parser.add_argument("--heads", type=int, default=8, help="number of heads")
    parser.add_argument("--steps", type=int, default=6, help="number of steps")
    parser.add_argument("--tokens", type=int, nargs="+", default=[256, 1024, 4096, 8192])
    options = parser.parse_args()
    torch.manual_seed(0)

    attention = TokenStatisticsAttention(options.dim, options.heads).requires_grad_(False)
    Z = torch.randn(1, 500, options.dim)
    rates = []
    for _ in range(options.steps):
        rates.append(attention.compression(Z).item())
        Z = attention(Z)
    print(f"compression before each step: {', '.join(f'{rate:.2f}' for rate in rates)}")

    rows = []
    for count in options.tokens:
        Z = torch.randn(1, count, options.dim)
        parts = Z.unflatten(2, (options.heads, -1)).transpose(1, 2)
        rows.append([count, milliseconds(attention, Z), milliseconds(softmax_attention, parts)])
    headers = ["tokens", "token statistics [ms]", "softmax attention [ms]"]
    print(tabulate(rows, headers, "github", floatfmt=".1f"))


def softmax_attention(parts: Tensor) -> Tensor:
    """Attention of tokens ``(1, heads, n, p)`` to each other."""
    return scaled_dot_product_attention(parts, parts, parts)


def milliseconds(step: Callable[[Tensor], Tensor], Z: Tensor) -> float:
    """The shortest time of five calls."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        step(Z)
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


if __name__ == "__main__":
    main()
