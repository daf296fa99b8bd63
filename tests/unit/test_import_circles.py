"""Within a room no module imports itself by way of others; imports inside functions count."""

from __future__ import annotations

from collections.abc import Mapping

import grimp
import pytest

ROOMS = (
    "rsctl.catalog",
    "rsctl.certificates",
    "rsctl.config",
    "rsctl.store",
    "rsctl.plan",
    "rsctl.cluster",
    "jobs.training",
)


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("rsctl", "jobs")


def circle(imports: Mapping[str, set[str]]) -> set[str]:
    """Modules that lie on a circle, or between two: those that are left after all that import none of the others, or that none
    of the others imports, are taken away."""
    left = dict(imports)
    while left:
        imported = set().union(*left.values())
        ends = {module for module, found in left.items() if not found & left.keys() or module not in imported}
        if not ends:
            break
        left = {module: found - ends for module, found in left.items() if module not in ends}
    return {*left}


def test_a_circle_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == {"b", "c"}
    assert circle({"a": {"b"}, "b": {"c"}, "c": set()}) == set()


@pytest.mark.parametrize("room", ROOMS)
def test_modules_of_a_room_import_in_one_direction(graph: grimp.ImportGraph, room: str) -> None:
    inside = {room, *graph.find_descendants(room)}
    assert len(inside) > 3
    imports = {module: graph.find_modules_directly_imported_by(module) & inside for module in inside}
    assert circle(imports) == set()
