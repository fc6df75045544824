"""The tests that run on a device."""

import importlib.util
import os
import subprocess
import sys

import torch

from benchmarks.gpu.context import Context


def tests(context: Context) -> str:
    """What users do, on the device, and the tests that need a GPU, in processes of their own."""
    device = context.device
    if device.type == "cpu":
        return "There is no device for the tests that run on one."
    shown = [_passed("what users do", ["tests/device"], device, context.budget.left / 2)]
    if device.type == "cuda":
        shown.append(_passed("needs a GPU", ["-m", "gpu"], device, context.budget.left))
    return "\n".join(shown)


def _passed(name: str, chosen: list[str], device: torch.device, seconds: float) -> str:
    """The tests that failed, and how many passed."""
    command = [sys.executable, "-m", "pytest", *chosen, "-p", "no:cacheprovider"]
    # A benchmark plugin warns if several processes share the tests, and warnings are errors.
    command += ["-p", "no:benchmark", "-o", "addopts=", "-rf", "--tb=line"]
    if importlib.util.find_spec("xdist"):
        command += ["-n", "4"]
    shown = output(command, seconds, {"REDUNET_TEST_DEVICE": device.type})
    if shown is None:
        return f"- {name}: the tests did not end in time"
    lines = shown.splitlines()
    return "\n".join(
        [f"- {name}: {lines[-1]}", *(f"  - {line}" for line in lines if line.startswith("FAILED"))]
    )


def output(
    command: list[str], seconds: float, settings: dict[str, str] | None = None
) -> str | None:
    """What a command prints; None if it takes longer."""
    environment = os.environ | (settings or {})
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=max(1.0, seconds), env=environment
        )
    except subprocess.TimeoutExpired:
        return None
    if done.returncode and not done.stdout.strip():
        return f"It failed: {done.stderr.strip().splitlines()[-1]}"
    return done.stdout.strip()
