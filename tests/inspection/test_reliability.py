"""Accuracy by confidence, and the expected calibration error."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from redunet import ReduNet, ReduNetClassifier, datasets, report
from redunet.inspection.summary import by_confidence, calibration_error, evaluation
from redunet.plots import plot_reliability
from tests.inspection.report_page import Page

# Two samples of confidence 0.9 of which one is right, and two of 0.6 that are right.
MEMBERSHIP = np.array([[0.9, 0.1], [0.1, 0.9], [0.6, 0.4], [0.4, 0.6]])
TARGETS = np.array([0, 0, 0, 1])


def test_bins_have_their_mean_confidence_and_accuracy():
    confidence, accuracy, shares = found = by_confidence(MEMBERSHIP, TARGETS)
    np.testing.assert_allclose(confidence, [0.6, 0.9])
    np.testing.assert_allclose(accuracy, [1, 0.5])
    np.testing.assert_array_equal(shares, [0.5, 0.5])
    assert calibration_error(*found) == pytest.approx((2 * 0.4 + 2 * 0.4) / 4)
    certain = by_confidence(np.array([[1.0, 0.0]]), np.array([0]))
    assert (calibration_error(*certain), certain[2].tolist()) == (0, [1])


@pytest.fixture(scope="module")
def problem():
    X, labels = datasets.digits()
    net = ReduNet.construct(X[:100].flatten(1), labels[:100], lift="auto")
    return net, X[100:300].flatten(1), labels[100:300]


def test_the_log_loss_is_told_also_of_one_class_or_one_sample(problem):
    net, X, labels = problem
    own = net.membership(X)[range(len(X)), labels].numpy()
    for rows in (slice(None), (labels == 3).nonzero()[:, 0], slice(0, 1)):
        found = evaluation(net, X[rows], labels[rows])
        assert found["log loss"] == pytest.approx(-np.log(own[rows]).mean(), rel=1e-5)


def test_the_plot_and_the_report_show_the_error(problem, tmp_path):
    net, X, labels = problem
    found = by_confidence(net.membership(X).numpy(), labels.numpy())
    ax = plot_reliability(net, X, labels)
    _, line = ax.get_lines()
    np.testing.assert_allclose(line.get_xydata(), np.stack(found[:2], 1))
    assert f"expected calibration error {calibration_error(*found):.3f}" in ax.get_title()
    with pytest.raises(ValueError, match=r"labels must be among the classes .* got 11"):
        plot_reliability(net, X, labels * 0 + 11)
    plt.close(ax.figure)
    report(net, X, labels, tmp_path / "report.html", worst=0)
    page = Page(tmp_path / "report.html")
    assert "Accuracy by confidence" in [alt for alt, _ in page.images]
    error = evaluation(net, X, labels)["expected calibration error"]
    results = dict(row for table in page.tables for row in table if len(row) == 2)
    assert float(results["expected calibration error"]) == pytest.approx(error, rel=6e-3)


def test_classifiers_are_drawn_by_their_probabilities():
    X, y = datasets.digits()
    X, y = X[:60].flatten(1).numpy(), y[:60].numpy()
    model = ReduNetClassifier(lift=None).fit(X, y)
    _, ax = plt.subplots()
    assert plot_reliability(model, X, y, ax=ax) is ax
    plt.close(ax.figure)
