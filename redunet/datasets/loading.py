"""Samples and labels from a file or a folder of any kind."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import Tensor

from redunet._checks import as_samples
from redunet._formats import KINDS, check_options, kind_of
from redunet.datasets.folders import image_folder
from redunet.datasets.series import read_ts
from redunet.datasets.tables import LabelledSamples, read_table


def load(path: str | os.PathLike[str], **options: object) -> LabelledSamples:
    """Samples and labels from a file or a folder.

    Parameters
    ----------
    path : str or path
        A table (``.csv``, ``.tsv`` or ``.txt``; see :func:`read_table`), time series (``.ts``; see
        :func:`read_ts`), an ``.npz`` file with arrays ``X`` and ``y``, or a folder that contains
        one folder of images per class (see :func:`image_folder`). No code in the file is run.
    **options
        The options of these functions: ``label``, ``header``, ``drop``, ``decimal`` and
        ``encoding`` for tables, ``length``, ``fill`` and ``encoding`` for time series, ``size`` and
        ``color`` for images. For ``.npz`` files, ``label`` is the name of the array of labels if it
        is not ``y``, or None if there is none.

    Returns
    -------
    X : Tensor of shape (m, n), (m, C, T), (m, C, H, W), …
    labels : numpy array (m,)

    The pair has attributes ``columns`` and ``label``: the names in the header of a table, or None.

    Raises
    ------
    ValueError
        If the file is of another kind, cannot be used, or is not read with one of the options.
    """
    path = Path(path)
    check_options(path, {name: name for name in options})
    kind = kind_of(path)
    if kind is None:
        raise ValueError(
            f"{path} should be a folder of images, or a file that ends in "
            f"{', '.join([*KINDS][:-1])} or {[*KINDS][-1]}"
        )
    samples = READERS[kind](path, **options)
    return samples if isinstance(samples, LabelledSamples) else LabelledSamples(*samples)


def _read_npz(path: Path, label: str | None = "y") -> LabelledSamples:
    """The array of samples, and that of labels."""
    wanted = ["X"] if label is None else ["X", label]
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not an .npz file of plain arrays") from error
    if not arrays.keys() >= set(wanted):
        raise ValueError(
            f"{path} should contain arrays {' and '.join(wanted)}, it contains "
            f"{', '.join(arrays) or 'none'}"
        )
    return LabelledSamples(as_samples(arrays["X"]), None if label is None else arrays[label])


READERS: dict[str, Callable[..., tuple[Tensor, np.ndarray]]] = {
    "tables": read_table,
    "time series": read_ts,
    "arrays": _read_npz,
    "folders of images": image_folder,
}
