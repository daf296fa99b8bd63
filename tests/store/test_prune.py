"""`rsctl prune`: what goes, and above all what stays."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from chain import Chain, tiny

from rsctl.cluster.prune import leftovers, remove
from rsctl.errors import InputError, RefusedError
from rsctl.store.attempts import Claim, here
from rsctl.store.run_kinds import TABLES, RunKind


def runs(chain: Chain) -> set[str]:
    return {f"{run.kind}/{run.id}" for kind in RunKind for run in chain.store.runs(kind)}


def gone(chain: Chain, *sweeps: str, recent: float = -1.0) -> set[str]:
    store = chain.place.store
    return {str(one.path.relative_to(store)) for one in leftovers(chain.place, sweeps, recent=recent)}


def test_what_a_sweep_names_stays_and_what_none_names_goes(chain: Chain) -> None:
    chain.plan(tiny())
    chain.plan(tiny(name="other", sigma=0.25))
    before = runs(chain)
    assert gone(chain) == set()
    assert gone(chain, "other") == {key for key in before if "s0.25" in key}
    remove(chain.place, leftovers(chain.place, ["other"], recent=-1), ["other"])
    assert runs(chain) == {key for key in before if "s0.5" in key}
    assert chain.store.sweep_names() == ["tiny"]
    assert gone(chain) == set()


def test_what_two_sweeps_share_stays(chain: Chain) -> None:
    chain.plan(tiny())
    chain.plan(tiny(name="other", certification={"n": 400}))
    models = {f"models/{run.id}" for run in chain.store.runs("models")}
    assert len(models) == 1
    assert not gone(chain, "other") & models
    assert len(gone(chain, "other")) == 1


def test_a_model_that_another_learns_from_stays(chain: Chain) -> None:
    """Though no sweep says so: the model's own spec does."""
    chain.plan(tiny(method="heat"))
    file = chain.store.sweep_folder("tiny") / "plan.json"
    plan = json.loads(file.read_text())
    for entry in plan["entries"]:
        assert entry.pop("parents")
    file.write_text(json.dumps(plan))
    assert gone(chain) == set()


def test_a_run_that_was_just_submitted_is_left_alone(chain: Chain) -> None:
    chain.plan(tiny())
    (chain.store.sweep_folder("tiny") / "plan.json").unlink()
    assert gone(chain, recent=3600.0) == set()
    assert gone(chain)


def test_what_a_table_that_stays_stands_on_stays_too(chain: Chain) -> None:
    """Its model, and the model that this one started from, though both are old."""
    chain.plan(tiny(method="heat"))
    (chain.store.sweep_folder("tiny") / "plan.json").unlink()
    for model in chain.store.runs("models"):
        os.utime(model.path / "launch.json", (0, 0))
    assert gone(chain, recent=3600.0) == set()


def test_what_is_at_work_is_refused(chain: Chain) -> None:
    (request, *_) = chain.plan(tiny()).requests
    Claim.take(request.task.run, request.task.number, here())
    with pytest.raises(RefusedError, match="still running"):
        gone(chain, "tiny")
    (chain.store.sweep_folder("tiny") / "plan.json").unlink()
    assert not any(request.task.run.id == key.partition("/")[2] for key in gone(chain))


def test_an_unknown_sweep_is_named(chain: Chain) -> None:
    chain.plan(tiny())
    with pytest.raises(InputError, match="no sweep 'tony'"):
        gone(chain, "tony")


def test_code_goes_with_its_last_run_and_imports_never(chain: Chain) -> None:
    chain.plan(tiny())
    shutil.copytree(
        next((chain.store.root / "code").iterdir()), chain.store.root / "code" / "0123456789abcdef"
    )
    kept = chain.store.root / "imports" / "log"
    kept.mkdir(parents=True)
    assert gone(chain) == {"code/0123456789abcdef"}
    everything = gone(chain, "tiny")
    assert sum(key.startswith("code/") for key in everything) == 2
    assert {key.partition("/")[0] for key in everything} <= {"models", *TABLES, "code"}


def test_a_log_goes_with_the_last_sweep_that_shows_it(chain: Chain) -> None:
    log = chain.folder / "sigma_0.5" / "digits" / "log.tsv"
    log.parent.mkdir(parents=True)
    log.write_text("idx\tlabel\tpredict\tradius\tcorrect\ttime\n0\t1\t1\t0.5\t1\t0:01\n")
    for sweep in ("old", "older"):
        assert chain.cli("import", log, "--name", sweep).code == 0
    assert gone(chain) == gone(chain, "old") == set()
    assert len(gone(chain, "old", "older")) == 1
    assert chain.cli("prune", "old", "older", "--yes").code == 0
    assert not chain.store.import_only()
    assert "Available: (none yet)" in chain.cli("export", "old").err
    assert not list((chain.store.root / "imports").iterdir())


def test_runs_that_stay_for_being_young_are_told(chain: Chain) -> None:
    chain.plan(tiny())
    shown = chain.cli("prune", "tiny")
    assert "sweeps/tiny  (the sweep itself" in shown.out
    assert "1 folder," in shown.err
    assert "more were submitted in the last 60 minutes and are kept" in shown.err


def test_the_command_touches_nothing_until_it_is_told_to(chain: Chain) -> None:
    chain.plan(tiny())
    before = runs(chain)
    shown = chain.cli("prune", "tiny")
    assert shown.code == 0
    assert "Nothing was removed" in shown.err
    assert runs(chain) == before
    assert chain.cli("prune", "nothing-of-this-name").code == 2


def test_what_is_listed_goes_and_nothing_else_the_sweep_itself_included(chain: Chain) -> None:
    chain.plan(tiny())
    chain.plan(tiny(name="other", sigma=0.25))
    kept = runs(chain) - gone(chain, "tiny")
    asked = chain.cli("prune", "tiny", "--now")
    listed = {line.split("MB")[1].split("(")[0].strip() for line in asked.out.splitlines()}
    assert listed == {"sweeps/tiny", *gone(chain, "tiny")}
    assert "add --yes" in asked.err
    assert all((chain.store.root / path).exists() for path in listed)
    removed = chain.cli("prune", "tiny", "--now", "--yes")
    assert removed.code == 0
    assert removed.out == asked.out
    assert not any((chain.store.root / path).exists() for path in listed)
    assert runs(chain) == kept
    assert chain.store.sweep_names() == ["other"]
    assert os.listdir(chain.store.root / "sweeps") == ["other"]


def test_folders_that_are_not_runs_of_the_store_are_left_alone(chain: Chain) -> None:
    """The store may be a project's own folder, with a `code` and `models` of its own."""
    chain.plan(tiny())
    root = chain.store.root
    own = [
        root / "code" / "src",
        root / "code" / "0123456789abcdef",
        root / "models" / "mine",
        root / "counts" / "notes-12345678",
    ]
    for folder in own:
        folder.mkdir(parents=True)
        (folder / "file.py").write_text("precious")
    (root / "models" / "mine" / "spec.json").write_text("{}")
    listed = gone(chain, "tiny")
    assert listed
    assert not listed & {str(folder.relative_to(root)) for folder in own}
    assert chain.cli("prune", "tiny", "--now", "--yes").code == 0
    assert all((folder / "file.py").read_text() == "precious" for folder in own)
