"""Where a sweep file names no radii, the columns end where sigma, n and alpha allow none."""

from __future__ import annotations

from typing import Any

import pytest
from chain import Chain, tiny

from rsctl.config.sections import Certification
from rsctl.config.sweep import build_sweep
from rsctl.plan.columns import possible_radii
from rsctl.plan.plan import Plan, make_plan
from rsctl.tui.compose.draft import Draft
from rsctl.tui.compose.form import compose

ALL = Certification().radii


def planned(chain: Chain, **changes: Any) -> Plan:
    return make_plan(build_sweep(tiny(**changes), "x", chain.place.data), "x")


def columns(chain: Chain, **changes: Any) -> list[list[float]]:
    """Of each entry of the sweep in the store."""
    chain.plan(tiny(**changes), update=True)
    return [entry.radii for entry in chain.store.sweep("tiny")["entries"]]


@pytest.mark.parametrize(
    ("sigma", "n", "expected"),
    [(0.25, 1000, 3), (0.25, 100_000, 4), (0.5, 200, 4), (0.12, 200, 1), (2.0, 100, 9)],
)
def test_they_end_where_no_image_can_be_certified(chain: Chain, sigma: float, n: int, expected: int) -> None:
    """By hand for 1000 draws at 0.25: the bound of p is 0.001^(1/1000) = 0.99312, and 0.25 times its quantile is 0.616."""
    assert columns(chain, sigma=sigma, certification={"n": n}) == [ALL[:expected]]


def test_all_runs_of_a_sweep_have_the_columns_of_the_one_that_reaches_farthest(chain: Chain) -> None:
    assert columns(chain, grid={"sigma": [0.12, 0.25, 1.0]}, certification={"n": 100}) == [ALL[:7]] * 3


def test_radii_that_are_given_stay(chain: Chain) -> None:
    assert columns(chain, certification={"radii": ALL}) == [ALL]
    assert columns(chain, sigma=0.12, certification={"radii": [0.0, 3.0]}) == [[0.0, 3.0]]


def test_intervals_are_counted_and_have_no_such_end(chain: Chain) -> None:
    given = {"certificates": ["splitting-l1"]}
    assert columns(chain, noise="splitting", sigma=0.2, certification=given) == [ALL]


def test_no_identity_changes(chain: Chain) -> None:
    """Draws that end at radii have them in their identity: those are the default ones as they always were."""
    ends = {"stopping": "certify-at-radii", "certificates": ["sequential"]}
    first, second = (
        planned(chain, sigma=0.25, certification={**ends, **more}) for more in ({}, {"radii": ALL})
    )
    assert [entry.table.spec.run_id for entry in first.entries] == [
        entry.table.spec.run_id for entry in second.entries
    ]
    assert len(possible_radii(first.entries)) < len(ALL)


def test_the_form_shows_them(chain: Chain) -> None:
    def field(**changes: Any) -> Any:
        sections = compose(Draft(tiny(**changes))).sections
        return next(one for s in sections for one in s.fields if one.key == "certification.radii")

    assert field(sigma=0.25, certification={"n": 1000}).default == "0.0, 0.25, 0.5"
    assert "sigma" in field(sigma=0.25).source
    assert field(sigma=-1.0).default.endswith("2.0"), "nothing is known of a draft with problems"
