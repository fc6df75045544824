"""Packages that only some uses need, and the extras of redunet that install them."""

from importlib.util import find_spec

# By extra; setup.cfg has the same.
PACKAGES = {
    "images": ("PIL",),
    "onnx": ("onnx", "onnxscript"),
    "plots": ("matplotlib",),
    "report": ("matplotlib", "jinja2"),
    "scattering": ("kymatio",),
}


def require(extra: str) -> None:
    """Raise ModuleNotFoundError, which names the extra, unless its packages are installed."""
    missing = [name for name in PACKAGES[extra] if find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(
            f"this needs {' and '.join(missing)}, which redunet does not install by itself: "
            f"pip install 'redunet[{extra}]'",
            name=missing[0],
        )
