"""Plots of networks and features; :mod:`redunet.plots` exports all of them."""
