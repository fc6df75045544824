"""Colours and markers of classes."""

import numpy as np
import pytest

from redunet.inspection.style import HUES, class_style
from redunet.plots import (
    class_colors,
)


def appearance(colors, deficiency):
    """CIELAB coordinates of colours as readers with a colour deficiency see them.

    Machado, Oliveira and Fernandes (2009), severity 1.
    """
    matrix = {
        "none": np.eye(3),
        "red": [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ],
        "green": [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ],
        "blue": [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ],
    }[deficiency]
    rgb = np.array(colors)[:, :3]
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(matrix).T, 0, 1)
    to_xyz = np.array(
        [[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]]
    )
    xyz = seen @ to_xyz.T / to_xyz.sum(1)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[:, 1], 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)


@pytest.mark.parametrize("deficiency", ["none", "red", "green", "blue"])
def test_colours_of_ten_classes_are_distinct_for_all_readers(deficiency):
    found = appearance(class_colors(10), deficiency)
    differences = np.linalg.norm(found[:, None] - found, axis=2)
    assert differences[np.triu_indices(10, 1)].min() > 12  # 2 is just noticeable


def test_the_first_hundred_classes_differ_in_colour_or_marker():
    styles = [tuple(class_style(number).values()) for number in range(100)]
    assert len(set(styles)) == 100
    assert [color for color, _ in styles[:10]] == list(HUES)
    assert class_colors(11).shape == (11, 4)
