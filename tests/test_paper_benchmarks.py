"""Benchmarks of the tables of the papers take their first step on small data."""

import argparse
import re
import sys

import pytest
import torch

from benchmarks import epochs, finetuning, losses
from redunet import MCR2Loss
from tests.definitions import negative_rate_reduction
from tests.paper_files import write_mnist


@pytest.fixture
def program(monkeypatch, capsys):
    """A function that runs a benchmark, and returns what it prints."""

    def run_program(module, *options):
        monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, options)])
        module.main()
        return capsys.readouterr().out

    return run_program


def test_table_2_has_both_starts(program, tmp_path, monkeypatch):
    write_mnist(tmp_path, 500)
    monkeypatch.setattr(finetuning, "FORWARD", finetuning.FORWARD[:1])
    options = ["--data-dir", tmp_path, "--pool", 4, "--layers", 1, "--epochs", 1]
    shown = program(finetuning, *options, "--batch-size", 500, "--eta", 0.5)
    rows = re.findall(r"^\| (.*\S) +\| +\d+ \| +(\d\.\d{4}) \|$", shown, re.MULTILINE)
    assert [name for name, _ in rows][1:] == [
        "random values + back-propagation",
        "construction + back-propagation",
    ]


def test_the_full_size_of_table_2_is_the_default(monkeypatch, program):
    asked = {}
    parse = argparse.ArgumentParser.parse_args

    def stop(parser):
        asked.update(vars(parse(parser, [])))
        raise SystemExit

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    with pytest.raises(SystemExit):
        program(finetuning)
    assert (asked["per_class"], asked["tests"]) == (6000, 10_000)
    assert (asked["layers"], asked["pool"], finetuning.CONSTRUCTED) == (30, 1, 50)


def test_all_ways_to_compute_the_rates_have_the_same_gradient():
    Z, labels = losses.Batch(3, 8, 30, 2).data(torch.device("cpu"))
    expected = losses.gradient(negative_rate_reduction, Z, labels)
    for loss in (epochs.membership_matrices(3), losses.loop(3, None), MCR2Loss(epochs.EPS_SQ)):
        found = losses.gradient(loss, Z, labels)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)


def test_seconds_an_epoch_stand_beside_those_of_the_paper(program, monkeypatch):
    small = {"MNIST": epochs.Task(losses.Batch(4, 8, 40, 2), 400, 11.56, 6.29)}
    monkeypatch.setattr(epochs, "TASKS", small)
    lines = program(epochs, "--repeat", 1, "--slow", 0).splitlines()
    cells = [cell.strip() for cell in lines[-1].split("|")[1:-1]]
    assert cells[:3] == ["MNIST", "10", "–"]
    assert all(float(cell) > 0 for cell in cells[3:6])
    assert cells[6:] == ["11.6", "6.29"]


def test_epochs_have_the_shapes_of_the_paper():
    shapes = {name: (*task.batch[:3], task.batches) for name, task in epochs.TASKS.items()}
    assert shapes == {
        "MNIST": (10, 128, 1000, 60),
        "CIFAR-10": (10, 128, 1000, 50),
        "CIFAR-100": (100, 500, 2000, 25),
        "Tiny ImageNet": (200, 500, 2000, 50),
    }
