"""Checks of input. Public functions call these once; the code behind them trusts its input."""

import math
import reprlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.sparse import issparse
from torch import Tensor

from redunet._shapes import advice, check_equal_shapes

# Samples, features or labels as users pass them.
Array: TypeAlias = ArrayLike | Tensor

# Errors write out at most so many values of a list.
QUOTED = 5

# Integers that float32 may round.
WIDE_INTEGERS = {torch.int32, torch.int64, torch.uint32, torch.uint64}


def as_samples(X: Array, *, device: torch.device | str | None = None, name: str = "X") -> Tensor:
    """Samples as a finite, real floating-point tensor of shape ``(m, C, *spatial)``.

    Parameters
    ----------
    X : array-like or Tensor
        Samples first. The types float32 and float64 stay. Integers of more than 16 bits become
        float64, because float32 cannot hold all of them, and other types the default floating-point
        type.
    device : torch.device or str, optional
        Target device; by default a tensor stays on its device.
    name : str
        Name of the samples in error messages.

    Raises
    ------
    ValueError
        If there is no axis of channels, there are no values, or a value is not finite.
    TypeError
        If the values are complex.
    """
    X = as_tensor(X, device=device)
    check_real(X, name)
    if X.dtype in WIDE_INTEGERS:
        X = X.to(torch.float64)
    elif X.dtype not in (torch.float32, torch.float64):
        X = X.to(torch.promote_types(torch.get_default_dtype(), torch.float32))
    if X.ndim < 2:
        raise ValueError(
            f"{name} must have shape (m, n), (m, C, T), (m, C, H, W), …, got {tuple(X.shape)}: "
            f"pass {name}[None] if this is one sample, or {name}[:, None] if each has one value"
        )
    if X.numel() == 0:
        raise ValueError(f"{name} has no values: got shape {tuple(X.shape)}")
    check_finite(X, name)
    return X


def as_tensor(X: Array, *, device: torch.device | str | None = None) -> Tensor:
    """An array or tensor as a tensor.

    Arrays that torch cannot use as they are (read-only ones, and those with negative strides or of
    foreign byte order) are copied. Long doubles become float64.

    Raises
    ------
    ValueError
        If values are masked, or samples have different shapes.
    TypeError
        If ``X`` is sparse, or its values are no numbers.
    """
    if isinstance(X, Tensor):
        if X.layout != torch.strided:
            raise TypeError(f"expected a dense tensor, got one of layout {X.layout}")
        return X.to(device)
    if issparse(X):
        raise TypeError(
            f"expected a dense array, got a sparse {type(X).__name__}: pass X.toarray() if it fits "
            "into memory"
        )
    check_array(X)
    try:
        array = np.asarray(X)
    except ValueError:
        check_equal_shapes(X)  # nested lists of different lengths
        raise
    if array.ndim == 0 and array.dtype.kind in "OUS":
        raise TypeError(f"expected an array of numbers, got {reprlib.repr(X)}")
    if array.dtype.kind in "OUS" or array.dtype.char == "g":
        array = _as_numbers(array, getattr(X, "columns", ()))
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    # Sums do not depend on the order of the columns of a frame in memory.
    if hasattr(X, "columns") or not array.flags.writeable or min(array.strides, default=0) < 0:
        array = array.copy()
    return torch.as_tensor(array, device=device)


def check_array(X: object) -> None:
    """Check an array, a frame or a list of samples before it is converted to numbers.

    Raises
    ------
    ValueError
        If values are masked, or samples have different shapes.
    TypeError
        If values are dates, durations or records.
    """
    if np.ma.isMaskedArray(X) and np.ma.getmaskarray(X).any():
        raise ValueError(
            f"{np.ma.getmaskarray(X).sum()} values are masked, but samples must be complete: fill "
            "them, for example with sklearn.impute.SimpleImputer on X.filled(numpy.nan)"
        )
    for kind in [X.dtype] if hasattr(X, "dtype") else getattr(X, "dtypes", ()):
        if getattr(kind, "kind", "") in ("M", "m", "V"):  # scikit-learn makes numbers of dates
            raise TypeError(
                f"expected an array of numbers, got {kind}: convert dates, for example to seconds "
                "by (X - X.min()) / numpy.timedelta64(1, 's'), and stack the fields of records"
            )
    is_list = isinstance(X, list | tuple) and len({getattr(x, "shape", None) for x in X}) > 1
    if is_list or (isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 1):
        check_equal_shapes(X)


def _as_numbers(array: np.ndarray, columns: Iterable[object]) -> np.ndarray:
    """An array of objects or texts as one of floats. Errors name the columns of a frame."""
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        check_equal_shapes(array)
        texts = []
        for name, column in zip(columns, array.T, strict=False):
            try:
                column.astype(np.float64)
            except (TypeError, ValueError):
                texts.append(name)
        where = f" in the columns {', '.join(map(repr, texts[:5]))}" if texts else ""
        raise TypeError(
            f"expected an array of numbers, got one of objects{where}: {error}"
        ) from error


def check_real(X: Tensor, name: str) -> None:
    """Raise TypeError if values are complex."""
    if X.is_complex():
        raise TypeError(
            f"{name} must be real, got {X.dtype}: pass real and imaginary parts as channels"
        )


def as_network_input(
    X: Array,
    sample_shape: tuple[int, ...],
    *,
    device: torch.device,
    dtype: torch.dtype,
) -> Tensor:
    """Finite samples of the shape that a network was constructed for, in its type.

    Values are checked in host memory only. A check of values on a GPU would make the host wait for
    the GPU. They are not checked either while a graph is traced or exported.

    Raises
    ------
    ValueError
        If the shape is different, or values in host memory are not finite.
    """
    X = as_tensor(X)
    check_real(X, "X")
    check_sample_shape(X, sample_shape, least=0)
    if X.is_floating_point():  # integers are finite, and may take less memory before conversion
        X = X.to(dtype)
        if X.device.type == "cpu" and X.numel() and not is_traced():
            check_finite(X, "X")
    return X.to(device, dtype)


def check_device(device: torch.device | str | None) -> None:
    """Raise ValueError unless tensors can be on a device of this machine."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"the device {str(device)!r} cannot be used here ({reason}): leave it out, or take cpu"
        ) from error


def is_traced() -> bool:
    """Whether a graph is traced, compiled or exported, or samples are mapped by torch.func.

    No value can be read then.
    """
    is_graph = torch.compiler.is_compiling() or torch.jit.is_tracing()
    return is_graph or torch._C._functorch.maybe_current_level() is not None


def label_kind(labels: np.ndarray) -> str:
    """The kind of labels in words. Labels of different kinds must not be mixed."""
    return {"b": "booleans", "f": "floats", "U": "strings"}.get(labels.dtype.kind, "integers")


def quoted(names: Iterable[object]) -> str:
    """The first few names, labels or numbers of lines, and how many there are in all."""
    shown = [repr(plain(name)) for name in names]
    more = f", … ({len(shown)} in all)" if len(shown) > QUOTED else ""
    return ", ".join(shown[:QUOTED]) + more


def check_finite(X: Tensor, name: str) -> None:
    """Raise ValueError with the number of values that are not finite and the first position."""
    # The extremes of X are not finite if any value is not, because they propagate NaN.
    if bool(torch.isfinite(torch.stack(torch.aminmax(X.detach()))).all()):
        return
    bad = (~torch.isfinite(X)).nonzero()
    sample, *index = bad[0].tolist()
    several = len(X) > 1
    of_samples = f", in {len(bad[:, 0].unique())} of {len(X)} samples" if several else ""
    raise ValueError(
        f"{name} must be finite: {len(bad)} of {X.numel()} values are not{of_samples}; the first "
        f"is {X[tuple(bad[0])].item()}{f' in sample {sample}' if several else ''} at index "
        f"{tuple(index)}: fill what is missing, or leave samples out"
    )


def plain(value: object) -> Any:
    """A NumPy or torch scalar as a Python value; every other value as it is."""
    if isinstance(value, np.generic | np.ndarray | Tensor) and value.ndim == 0:
        return value.item()
    return value


def check_number(**values: object) -> Any:
    """The value of every keyword as a Python number, or None.

    NumPy and torch scalars are numbers, booleans are not. Like the other checks, this returns a
    tuple if there are several keywords.

    Raises
    ------
    TypeError
        If a value is not a number.
    """
    return _each(values, Real, "a number")


def check_positive(**values: object) -> Any:
    """The value of every keyword as a positive, finite Python number, or None.

    Raises
    ------
    TypeError
        If a value is not a number.
    ValueError
        If a value is not positive or not finite.
    """
    bound = "a positive number"
    return _each(values, Real, "a number", bound, lambda number: 0 < number < math.inf)


def check_count(minimum: int | None = 1, **values: object) -> Any:
    """The value of every keyword as a Python integer of at least ``minimum``, or None.

    Raises
    ------
    TypeError
        If a value is not an integer.
    ValueError
        If a value is less than ``minimum``.
    """
    if minimum is None:
        return _each(values, Integral, "an integer")
    bound = f"at least {minimum}"
    return _each(values, Integral, "an integer", bound, lambda number: number >= minimum)


def check_counts(*, repeat: int = 1, **values: object) -> tuple[int, ...]:
    """The integers of a sequence, each at least 1; a single integer is repeated.

    Raises
    ------
    TypeError
        If a value is not an integer.
    ValueError
        If a value is less than 1.
    """
    ((name, value),) = values.items()
    value = plain(value)
    sequence = value if isinstance(value, Iterable) else (value,) * repeat
    return tuple(check_count(**{name: each}) for each in sequence)


def check_flag(**values: object) -> Any:
    """The value of every keyword as a Python boolean.

    Raises
    ------
    TypeError
        If a value is not a boolean.
    """
    return _each(values, bool, "True or False")


def set_fields(instance: object, **values: object) -> None:
    """Give checked values to the fields of a frozen dataclass."""
    for name, value in values.items():
        object.__setattr__(instance, name, value)


def _each(
    values: dict[str, object],
    kind: type,
    expected: str,
    bound: str = "",
    is_within: Callable[[float], bool] = lambda number: True,
) -> Any:
    """The checked values, which must be of a kind or None; a single one without a tuple."""
    checked = []
    for name, value in values.items():
        value = plain(value)
        is_kind = isinstance(value, kind) and isinstance(value, bool) == (kind is bool)
        if not is_kind and (value is not None or kind is bool):
            raise TypeError(f"{name} must be {expected}, got {value!r}")
        if isinstance(value, Real) and kind is not bool:
            value = int(value) if isinstance(value, Integral) else float(value)
            if not is_within(value):
                raise ValueError(f"{name} must be {bound}, got {value}")
        checked.append(value)
    return tuple(checked) if len(checked) > 1 else checked[0]


def check_sample_shape(
    X: Tensor | np.ndarray, expected: tuple[int, ...], *, least: int = 1
) -> None:
    """Raise ValueError unless ``X`` contains samples of the shape ``expected``."""
    if X.ndim and len(X) < least:
        raise ValueError(f"X has no samples: got shape {tuple(X.shape)}")
    if tuple(X.shape[1:]) != expected:
        raise ValueError(
            f"expected samples of shape {expected}, that is X of shape (m, "
            f"{', '.join(map(str, expected))}), got X of shape {tuple(X.shape)}"
            f"{advice(X.shape, expected)}"
        )


@contextmanager
def memory_advice(batch_size: int) -> Iterator[None]:
    """Convert an out-of-memory error to a MemoryError that suggests a ``batch_size``."""
    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError on a GPU is one of these
        on_cpu = "can't allocate memory" in str(error)
        if not (on_cpu or isinstance(error, torch.OutOfMemoryError)):
            raise
        remedy = f"try batch_size={batch_size // 2}" if batch_size > 1 else "use fewer channels"
        raise MemoryError(f"out of memory with {batch_size} samples at a time: {remedy}") from error
