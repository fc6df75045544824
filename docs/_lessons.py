"""What every lesson of the gallery starts with: warnings that are errors, and the palette."""

import warnings

import matplotlib.pyplot as plt

from redunet import ReduNetWarning
from redunet.plots import PALETTE

before = []  # the filters of warnings before the lesson


def prepare(gallery_conf, fname, when):
    """Called by sphinx-gallery before and after each lesson.

    A warning in a lesson fails the build. Colours C0, C1, … are those of the palette. In lessons
    that compare methods, C0 is redunet, C1 the method it is compared with, and C2 a variant. These
    are the colours of ``redunet.inspection.style.METHODS``.
    """
    if when == "after":
        warnings.filters[:] = before
        return
    before[:] = warnings.filters
    for category in (UserWarning, RuntimeWarning):
        warnings.filterwarnings("error", category=category, module="redunet|__main__")
    warnings.simplefilter("error", ReduNetWarning)
    warnings.filterwarnings("ignore", message=".*non-interactive")  # plt.show() in the build
    plt.rcParams["axes.prop_cycle"] = plt.cycler(color=PALETTE)
    plt.rcParams["figure.dpi"] = 110
