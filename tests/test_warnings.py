"""Warnings of the package have a class of their own and name the line of the user."""

import warnings

import pytest
import torch

import redunet
from redunet import ReduNet
from redunet._warnings import warn

X = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
X[2] = 0
LABELS = [0, 1] * 4


def construct():
    ReduNet.construct(X, LABELS, num_layers=1)


def construct_without_gradients():
    with torch.no_grad():
        torch.no_grad()(ReduNet.construct)(X, LABELS, num_layers=1)


def warn_directly():
    warn("2 samples have zero norm")


@pytest.mark.parametrize("call", [construct, construct_without_gradients, warn_directly])
def test_a_warning_names_the_line_of_the_user(call):
    with pytest.warns(redunet.ReduNetWarning, match="zero norm") as caught:
        call()
    (found,) = (warning for warning in caught if "zero norm" in str(warning.message))
    assert found.filename == __file__
    assert found.lineno in [line for *_, line in call.__code__.co_lines()]


def test_a_filter_silences_the_warnings_of_redunet_alone():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", redunet.ReduNetWarning)
        construct()
        warnings.warn("something else", stacklevel=1)
    assert [str(warning.message) for warning in caught] == ["something else"]
