"""The filter's language."""

from __future__ import annotations

import pytest

from rsctl.errors import InputError
from rsctl.tui.filters import parse_filter
from rsctl.tui.views import Overview, RunView, SweepView, TaskView


def _run(title: str, state: str, **settings: object) -> RunView:
    task = TaskView("t", "train", "models/x", 0, state)
    return RunView(title, "s", title, title, "m", "c", settings, {}, (task,))


RUNS = (
    _run(
        "a", "failed", method="gaussian", sigma=0.25, seed=0, **{"training.lr": 0.1, "certification.seed": 0}
    ),
    _run("b", "done", method="sodm", sigma=0.5, seed=1, **{"training.lr": 0.01, "certification.seed": 0}),
    _run("c", "running", method="sodm", sigma=1.0, seed=2, **{"training.lr": 0.1, "certification.seed": 0}),
)
OVERVIEW = Overview("store", (SweepView("s", "", "local", 0.0, RUNS),), (), 0.0)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("state:failed", "a"),
        ("state:!done", "ac"),
        ("method:sodm sigma:>0.5", "c"),
        ("sigma:>=0.5", "bc"),
        ("sigma:0.5", "b"),
        ("lr:0.1", "ac"),
        ("training.lr:<0.1", "b"),
        # A key means the setting of that name where there is one, not also another table's.
        ("seed:0", "a"),
        ("certification.seed:0", "abc"),
        ("method:!sodm", "a"),
        ("b", "b"),
        ("sigma:", "abc"),
        ("nothing", ""),
    ],
)
def test_terms(text: str, left: str) -> None:
    chosen = parse_filter(text, OVERVIEW)
    assert "".join(run.title for run in RUNS if chosen.matches(run)) == left


@pytest.mark.parametrize(
    ("text", "said"), [("sgima:1", "Did you mean 'sigma'"), ("state:dead", "unknown state 'dead'")]
)
def test_a_wrong_term_is_explained(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_filter(text, OVERVIEW)
