"""ℓ1 and ℓ∞ radii, and which certificates have them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from rsctl.certificates import CountTable, certificates, find_certificate
from rsctl.errors import RefusedError

COUNTS = np.array([[9500, 300, 200], [10_000, 0, 0], [5000, 2500, 2500], [300, 9500, 200]])
SELECTION = np.tile([100, 0, 0], (4, 1))


def table(dimension: int) -> CountTable:
    return CountTable(SELECTION, COUNTS, COUNTS.sum(axis=1), 0.5, dimension, label=np.zeros(4, np.int64))


@pytest.mark.parametrize("name", ["cohen", "runner-up", "t-certify", "top-2"])
def test_an_l1_ball_of_the_same_radius_and_a_cube_of_the_radius_over_root_d(name: str) -> None:
    inner = find_certificate(name).certify(table(3072), 0.001)
    l1, linf = (find_certificate(f"{name}-{norm}").certify(table(3072), 0.001) for norm in ("l1", "linf"))
    np.testing.assert_array_equal(l1.radius, inner.radius)
    np.testing.assert_allclose(linf.radius, inner.radius / np.sqrt(3072), rtol=1e-12)
    for other in (l1, linf):
        np.testing.assert_array_equal(other.predicted, inner.predicted)
        np.testing.assert_array_equal(other.at_cap, inner.at_cap)


@pytest.mark.parametrize("dimension", [1, 2, 3, 64, 784, 3072, 150528])
def test_a_linf_radius_is_never_rounded_up(dimension: int) -> None:
    inner = find_certificate("cohen").certify(table(dimension), 0.001).radius
    linf = find_certificate("cohen-linf").certify(table(dimension), 0.001).radius
    for r, c in zip(inner, linf, strict=True):
        # The corner of the cube lies inside the ball: d c² ≤ R², in exact arithmetic.
        assert dimension * Fraction(float(c)) ** 2 <= Fraction(float(r)) ** 2


def test_norm_and_k_are_declared_and_names_tell_them_apart() -> None:
    found = certificates()
    assert (found["cohen-linf"].norm, found["cohen-l1"].norm, found["cohen"].norm) == ("linf", "l1", "l2")
    assert (found["top-5-linf"].norm, found["top-5-linf"].k) == ("linf", 5)
    assert all(name == certificate.name for name, certificate in found.items())
    for name, certificate in found.items():
        top = name.split("-")[1] if name.startswith("top-") else 1
        assert certificate.k == int(top), name
    assert {"top-2", "top-3", "top-5"} == {
        name for name in found if name.startswith("top-") and found[name].norm == "l2"
    }
    heuristic = [name for name, certificate in found.items() if certificate.guarantee.kind == "heuristic"]
    assert not [name for name in heuristic if found[name].norm != "l2"]


def test_without_the_dimension_there_is_no_linf_radius() -> None:
    with pytest.raises(RefusedError, match="coordinates"):
        find_certificate("cohen-linf").certify(table(0), 0.001)
    assert find_certificate("cohen-l1").certify(table(0), 0.001).radius[0] > 0
