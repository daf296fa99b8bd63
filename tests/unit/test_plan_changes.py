"""What a plan says of data that changed, of data that isn't there, and of settings that hardly anybody means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tomli
from chain import Chain, tiny
from PIL import Image

from jobs.data import load, require_planned
from rsctl.catalog import folders
from rsctl.catalog.datasets import ImageFolder
from rsctl.cli.app import run
from rsctl.cluster import control, retry
from rsctl.config.sweep import overridden
from rsctl.config.templates import all_templates, find_template
from rsctl.errors import InputError, RefusedError
from rsctl.plan.describe import describe
from rsctl.tui.compose.draft import Draft
from rsctl.tui.compose.form import compose


@pytest.fixture
def own(chain: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of four images below the data root, and no queue that would start anything."""
    monkeypatch.setenv("RSCTL_DATA", str(tmp_path / "data"))
    monkeypatch.setattr("rsctl.cluster.local.backend.start_detached", lambda *_: None)
    for split in ("train", "test"):
        for name in ("ant", "bee"):
            folder = tmp_path / "data" / "own" / split / name
            folder.mkdir(parents=True)
            Image.new("RGB", (8, 8), "red" if name == "ant" else "blue").save(folder / "0.png")
    return tmp_path / "data" / "own"


def folder_sweep(**changes: Any) -> dict[str, Any]:
    return tiny(dataset={"name": "imagefolder", "path": "own", "size": 8}, **changes)


def check(chain: Chain, values: dict[str, Any]) -> str:
    return describe(control.plan_file(chain.file(values), chain.place), chain.place).text


def test_data_that_changed_is_no_new_sweep_without_being_asked(chain: Chain, own: Path) -> None:
    values = folder_sweep()
    file = chain.file(values)
    control.submit(file, chain.place)
    assert control.submit(file, chain.place).committed.notes == []
    before = chain.store.sweep("tiny")
    assert "differ" not in check(chain, values)
    Image.new("RGB", (8, 8)).save(own / "train" / "ant" / "1.png")
    assert "the files of imagefolder 'own' differ" in check(chain, values)
    composed = compose(Draft(values))
    assert composed.replaces
    assert "the files of imagefolder 'own' differ" in composed.plan
    with pytest.raises(
        RefusedError, match=r"dataset: the files of imagefolder 'own' differ .*0 results in 1 table.*--update"
    ):
        control.submit(file, chain.place)
    assert chain.store.sweep("tiny") == before
    notes = "\n".join(control.submit(file, chain.place, update=True).committed.notes)
    assert all(part in notes for part in ("imagefolder 'own' differ", "adds", "drops"))
    assert control.submit(file, chain.place).committed.notes == []
    (own / "train" / "ant" / "1.png").unlink()
    with pytest.raises(RefusedError, match="differ"):
        control.submit(file, chain.place)


def test_runs_of_when_classes_were_sorted_are_not_taken_for_those_of_their_order(
    chain: Chain, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = tiny(dataset={"name": "imagefolder", "path": "own", "size": 8, "classes": ["bee", "ant"]})
    file = chain.file(values)
    given = folders.class_names
    with monkeypatch.context() as then:
        then.setattr(folders, "class_names", lambda root, parameters: tuple(sorted(given(root, parameters))))
        control.submit(file, chain.place)
        old = chain.counts_run()
    with pytest.raises(
        RefusedError, match=r"differ .* Older versions sorted dataset\.classes, whose order is now"
    ):
        control.submit(file, chain.place)
    images = load("imagefolder", old.launch()["dataset_parameters"], "test", own.parent)
    with pytest.raises(InputError, match="the files, or the order of its classes, differ"):
        require_planned(images, "imagefolder", old.table_spec.data)
    assert "update: drops" in "\n".join(control.submit(file, chain.place, update=True).committed.notes)


def test_a_file_that_stands_for_other_runs_asks_too(chain: Chain, own: Path) -> None:
    control.submit(chain.file(folder_sweep()), chain.place)
    plan = chain.store.sweep_folder("tiny") / "plan.json"
    table = chain.counts_run().id
    plan.write_text(plan.read_text().replace(table, f"{table[:-8]}00000000"))  # as an older rsctl named it
    with pytest.raises(RefusedError, match=r"its file now resolves to different runs.*--update"):
        chain.plan(folder_sweep())
    assert f"update: adds {table}" in chain.plan(folder_sweep(), update=True).notes


def test_what_is_done_needs_no_caution(chain: Chain, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
    values = tiny(resources={"training": {"threads": 2, "gpus": 0}}, certification={"max_images": 2})
    file = chain.file(values)
    assert len(control.submit(file, chain.place).committed.notes) == 1
    chain.run_all(values)
    assert control.submit(file, chain.place).committed.notes == []


def test_a_data_set_that_is_not_there_is_no_surprise_on_the_node(chain: Chain, own: Path) -> None:
    values = tiny(dataset="mnist", model={"name": "cnn", "width": 4})
    said = check(chain, values)
    assert (
        f"note: dataset: mnist isn't complete and readable below the data root {own.parent} (MNIST/raw missing)"
        in said
    )
    (note,) = control.submit(chain.file(values), chain.place).committed.notes
    assert note in said
    with pytest.raises(
        InputError, match=f"mnist isn't complete and readable below the data root {own.parent}"
    ):
        load("mnist", {}, "train", own.parent)
    (own.parent / "MNIST" / "raw").mkdir(parents=True)
    assert "note" not in check(chain, values)


def test_a_size_that_nobody_gave_is_said(chain: Chain, own: Path) -> None:
    assert "note" not in check(chain, folder_sweep())
    said = check(chain, tiny(dataset={"name": "imagefolder", "path": "own"}))
    assert "note: dataset.size isn't set: the images of imagefolder 'own' are resized to 32x32 pixels" in said
    assert "3x32x32 values in [0, 1]" in said


def test_data_list_names_the_parameters_of_a_folder(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "list"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    for key in ImageFolder.model_fields:
        assert any(line.startswith((f"{key}:", f"{key} = ")) for line in lines), key
    assert any(line.startswith("size = 32: Side in pixels") for line in lines)


def test_more_threads_than_cores_are_said_where_the_cores_are_known(
    chain: Chain, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    values = folder_sweep(resources={"training": {"threads": 500}, "certification": {"threads": 2}})
    said = check(chain, values)
    assert "note: resources.training.threads: 500 threads on 2 cores" in said
    assert "resources.certification.threads" not in said
    (note,) = control.submit(chain.file(values), chain.place).committed.notes
    assert note in said
    assert "threads" not in check(chain, {**values, "cluster": "slurm"})


def test_a_value_that_the_grid_overrides_is_said(chain: Chain) -> None:
    values = tiny(grid={"sigma": [0.25, 0.5], "training.lr": [0.1], "seed": [0, 1]}, training={"lr": 0.2})
    del values["sigma"]
    said = [line for line in check(chain, values).splitlines() if line.startswith("note: ")]
    assert said == [
        "note: training.lr is set both to a value and to a list in the grid: the list applies, the value is ignored."
    ]
    one = {"name": "gaussian", "grid": {"sigma": [0.25]}}
    assert "note: sigma is set both to a value" in check(chain, tiny(method=[one]))
    assert "note" not in check(chain, tiny(method=[one, {"name": "stability"}]))  # it counts for the second


@pytest.mark.parametrize("template", [template.name for template in all_templates()])
def test_no_template_has_a_value_that_is_used_nowhere(template: str) -> None:
    assert overridden(tomli.loads(find_template(template).text), template) == []


def test_tables_of_held_out_images_with_the_noise_of_test_images_are_drawn_anew(
    chain: Chain, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rsctl.config import tables

    file = chain.file(tiny(certification={"split": "val", "max_images": 4}))
    with monkeypatch.context() as before:
        before.setattr(tables, "_drawn", tables._about)
        control.submit(file, chain.place)
    with pytest.raises(RefusedError, match=r"used the noise of test images, which new ones don't.*--update"):
        control.submit(file, chain.place)
    assert any("adds" in note for note in control.submit(file, chain.place, update=True).committed.notes)


@pytest.mark.parametrize("lies_there", [True, False])
def test_a_retry_finds_data_that_was_moved(
    lies_there: bool, chain: Chain, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = chain.plan(folder_sweep(certification={"max_images": 2})).requests[0].task
    moved = own.parent.with_name("elsewhere")
    own.parent.rename(moved)
    work = chain.work(training)
    with pytest.raises(InputError, match="is not a folder"):
        load("imagefolder", work.launch["dataset_parameters"], "train", work.data_root)
    work.claim.end("failed", "its data isn't there")
    (moved / "nothing").mkdir()
    monkeypatch.setenv("RSCTL_DATA", str(moved if lies_there else moved / "nothing"))
    tasks, _ = retry.retry(chain.place, "tiny")
    launches = [task.run.launch() for task in tasks]
    assert {launch["data"] for launch in launches} == {str(moved if lies_there else own.parent)}
    if lies_there:
        images = load("imagefolder", launches[0]["dataset_parameters"], "train", Path(launches[0]["data"]))
        require_planned(images, "imagefolder", training.run.train_spec.data)
