"""Several checkpoints in one sweep are called by their files' names, and by a short hash where two names are equal."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch
from chain import Chain
from test_published_runs import sweep, trained

from rsctl.cluster.status import status_text, status_values
from rsctl.config.run_settings import told_apart
from rsctl.report.figures.draw import plot
from rsctl.report.tables.formats import FORMATS, render
from rsctl.results.sweep import sweep_results
from rsctl.tui.planned import read_sweep

HEX = re.compile(r"[0-9a-f]{64}")


def test_names_come_with_a_hash_only_where_they_are_equal() -> None:
    column = ["a.pt 11111111", "b.pt 22222222", "b.pt 33333333", "x/model.safetensors 44444444"]
    assert told_apart("method.file", column) == [
        "a.pt",
        "b.pt 22222222",
        "b.pt 33333333",
        "x/model.safetensors",
    ]
    assert told_apart("method.file", ["a b.pt 11111111"] * 2) == ["a b.pt"] * 2
    assert told_apart("method.sigma", [1, None]) == [1, None]


def several(chain: Chain) -> dict[str, Any]:
    """Three files of other weights: two of one name, and one of a folder."""
    stored = torch.load(trained(chain.folder), weights_only=True)
    files = []
    for at, name in enumerate(("one/best.pt", "two/best.pt", "other.pt", "run/pytorch_model.bin")):
        file = chain.folder / name
        file.parent.mkdir(exist_ok=True)
        torch.save({**stored, "epoch": at}, file)
        files.append(str(file.parent if file.suffix == ".bin" else file))
    values = {**sweep(Path(files[0])), "method": {"name": "checkpoint", "normalisation": "none"}}
    return {**values, "grid": {"method.file": files}}


def test_no_table_figure_or_list_calls_them_by_their_hashes(chain: Chain) -> None:
    chain.run_all(several(chain))
    results = sweep_results(chain.store, "tiny")
    text = {form: render(results, form) for form in FORMATS}
    svg = chain.folder / "f.svg"
    plot(chain.store, "tiny", svg)
    status = status_text(status_values(chain.place, "tiny"))
    entries = read_sweep(chain.store, "tiny", None).entries
    said = {
        **text,
        "figure": svg.read_text(),
        "status": status,
        "dashboard": "\n".join(one.name for one in entries),
    }
    assert {what for what, shown in said.items() if HEX.search(shown)} == set()
    for shown in (text["md"], text["json"], text["csv"], status, said["dashboard"]):
        assert "other.pt" in shown
        assert "run/pytorch" in shown
        assert not re.search(r"other.pt [0-9a-f]{8}", shown)
    for shown in (text["md"], text["json"], said["dashboard"]):
        assert len(set(re.findall(r"best.pt [0-9a-f]{8}", shown))) == 2
    assert len({row["settings"] for row in json.loads(text["json"])["rows"]}) == 4
