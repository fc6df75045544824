"""Plots of networks and features; :mod:`redunet.plots` exports all of them."""

from redunet._extras import require

require("plots")
