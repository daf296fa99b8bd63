"""Run ids are those of the stores that exist: each kind of run, field, method, model, data set, verifier, attack and template."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import ids
import pytest

from rsctl.config.runs import Spec, TrainSpec, parse_spec

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "run_ids.json").read_text())


@pytest.mark.parametrize("kind", sorted(ids.SPECS))
def test_every_field_enters_the_hash_as_before(kind: str) -> None:
    assert ids.of_fields()[kind] == GOLDEN["fields"][kind]


def test_every_field_of_every_kind_is_in_the_table_or_came_later_with_a_neutral_value() -> None:
    for kind in get_args(Spec):
        name = kind.model_fields["kind"].default
        before = {*GOLDEN["fields"][name], "version", "kind"} - {""}
        assert before <= {*kind.model_fields}
        for later in {*kind.model_fields} - before:
            assert "neutral" in kind.model_fields[later].json_schema_extra, later


def test_runs_of_every_template_and_catalog_entry_keep_their_ids(tmp_path: Path) -> None:
    ids.folders(tmp_path)
    found = ids.of_sweeps(tmp_path)
    assert {*GOLDEN["sweeps"]} <= {*found}
    changed = [name for name, runs in GOLDEN["sweeps"].items() if found[name] != runs]
    assert changed == []


def test_the_name_of_a_class_is_not_part_of_a_hash() -> None:
    class Renamed(TrainSpec):
        pass

    spec = parse_spec({"kind": "train", **ids.SPECS["train"][0]})
    assert Renamed(**spec.model_dump()).hash == spec.hash == GOLDEN["fields"]["train"][""][1]
