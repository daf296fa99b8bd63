"""HeatSmoothing's two radii: their values, and labels that don't promise what they can't."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtri

from rsctl.certificates import CountTable, find_certificate
from rsctl.errors import RefusedError

COUNTS = np.array([[900, 60, 40], [400, 600, 0], [450, 450, 100], [0, 0, 1000]])
TABLE = CountTable(
    np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]]), COUNTS, COUNTS.sum(axis=1), 0.25, 3072
)


def test_the_l_bound_is_theorem_3_at_the_frequencies() -> None:
    certified = find_certificate("l-bound").certify(TABLE, 0.001)
    np.testing.assert_allclose(certified.radius, 0.25 * np.sqrt(np.pi / 2) * np.array([0.84, 0.2, 0, 1]))
    assert certified.predicted.tolist() == [0, 1, -1, 2]
    assert certified.at_cap.tolist() == [False, False, False, True]


def test_the_l_bound_stays_below_the_exact_radius_of_the_same_averages() -> None:
    certified = find_certificate("l-bound").certify(TABLE, 0.001)
    p = np.clip(-np.sort(-COUNTS, axis=1)[:, :2] / 1000, 1e-9, 1 - 1e-9)
    assert (certified.radius <= 0.25 / 2 * (ndtri(p[:, 0]) - ndtri(p[:, 1])) + 1e-12).all()


def test_neither_label_promises_more_than_there_is() -> None:
    assert find_certificate("l-bound").guarantee.label(0.001).startswith("heuristic, no guarantee")
    label = find_certificate("single-pass").guarantee.label(0.001)
    assert label.startswith("probabilistic 0.999")
    assert "g_v" in label
    assert "not of v" in label


def test_single_pass_is_certify_with_the_class_of_the_clean_pass() -> None:
    single_pass, cohen = find_certificate("single-pass"), find_certificate("cohen")
    clean = replace(TABLE, selection="clean")
    np.testing.assert_array_equal(
        single_pass.certify(clean, 0.001).radius, cohen.certify(TABLE, 0.001).radius
    )
    assert single_pass.certify(clean, 0.001).predicted.tolist() == [0, 1, -1, 2]
    with pytest.raises(RefusedError, match="unperturbed"):
        single_pass.certify(TABLE, 0.001)


def test_the_largest_radius_of_the_published_setting_is_the_published_one() -> None:
    # ImageNet, n = 1,000, α = .001, σ = .25: the maximum of the paper's Table 4.
    table = CountTable(
        np.array([[1, 0]]), np.array([[1000, 0]]), np.array([1000]), 0.25, 150528, selection="clean"
    )
    assert find_certificate("single-pass").certify(table, 0.001).radius[0] == pytest.approx(0.6158, abs=1e-4)
