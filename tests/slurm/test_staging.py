"""A data set on the node's own disk: copied once, whole, below a folder that the node names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from chain import tiny

from rsctl.cluster.slurm.staging import stage
from rsctl.errors import InputError

if TYPE_CHECKING:
    from chain import Chain
    from sites import Site

    from rsctl.store.layout import Run


@pytest.fixture
def run(chain: Chain) -> Run:
    """A model of a data set that has files; it isn't trained here."""
    batches = chain.folder / "data" / "cifar-10-batches-py"
    batches.mkdir(parents=True)
    (batches / "data_batch_1").write_bytes(b"pixels")
    chain.plan(tiny(dataset="cifar10"))
    (found,) = chain.store.runs("models")
    return found


def test_the_data_set_is_copied_once(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_DISK", str(tmp_path / "disk"))
    root = stage(run, "$NODE_DISK/data")
    copy = root / "cifar-10-batches-py" / "data_batch_1"
    assert root == tmp_path / "disk" / "data"
    assert copy.read_bytes() == b"pixels"
    copy.write_bytes(b"kept")
    assert stage(run, "$NODE_DISK/data") == root
    assert copy.read_bytes() == b"kept"


def test_a_folder_that_the_node_does_not_name_is_a_sentence(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NODE_DISK", raising=False)
    with pytest.raises(InputError, match=r"\$NODE_DISK/data.*a variable that the node sets"):
        stage(run, "$NODE_DISK/data")


def test_a_task_that_cannot_stage_says_why(site: Site) -> None:
    site.profile("staged", staging="$NO_SUCH_VARIABLE/data")
    site.sweep(certification={"shards": 1})
    site.submit("--cluster", "staged")
    assert site.wait() == ["failed", "cancelled"]
    assert "$NO_SUCH_VARIABLE/data" in next(iter(site.statuses().values())).reason


def test_a_task_reads_what_was_staged(site: Site, tmp_path: Path) -> None:
    site.profile("staged", staging=str(tmp_path / "disk"))
    site.sweep(certification={"shards": 1})
    site.submit("--cluster", "staged")
    assert site.wait() == ["done", "done"]
    assert (tmp_path / "disk").is_dir()
