"""What somebody should know before a plan is submitted, though nothing is wrong with the sweep file."""

from __future__ import annotations

from rsctl.plan.changed import other_files
from rsctl.plan.plan import Plan
from rsctl.spec.settings import Place
from rsctl.store.layout import Store


def notes_of(plan: Plan, place: Place) -> list[str]:
    """Sentences, the gravest first."""
    return [*_changed(plan, place)]


def _changed(plan: Plan, place: Place) -> list[str]:
    files = other_files(Store(place.store), plan)
    return (
        [f"{files} Submitted with --update, the sweep gets new runs and drops the old ones."] if files else []
    )
