"""The tests that need a GPU."""

import importlib.util
import subprocess
import sys

from benchmarks.gpu.context import Context


def tests(context: Context) -> str:
    """The tests that need a GPU, in processes of their own."""
    if context.device.type != "cuda":
        return "The tests that need a GPU did not run: there is no CUDA device."
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-p", "no:cacheprovider"]
    # A benchmark plugin warns if several processes share the tests, and warnings are errors.
    command += ["-p", "no:benchmark", "-o", "addopts=", "-rf", "--tb=line"]
    if importlib.util.find_spec("xdist"):
        command += ["-n", "4"]
    shown = output(command, context.budget.left)
    if shown is None:
        return "The tests did not end in time."
    lines = shown.splitlines()
    return "\n".join([*(line for line in lines if line.startswith("FAILED")), lines[-1]])


def output(command: list[str], seconds: float) -> str | None:
    """What a command prints; None if it takes longer."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=max(1.0, seconds))
    except subprocess.TimeoutExpired:
        return None
    if done.returncode and not done.stdout.strip():
        return f"It failed: {done.stderr.strip().splitlines()[-1]}"
    return done.stdout.strip()
