"""Copies data sets to a node's own disk, once per node."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from rsctl.catalog import find, known_datasets
from rsctl.errors import InputError
from rsctl.store.exclusion import exclusive
from rsctl.store.files import TEMPORARY, explained
from rsctl.store.layout import Run


def stage(run: Run, folder: str) -> Path:
    """Copy the run's data set below `folder` (environment variables are filled in); returns the data root to use.

    Tasks of one node copy it once: the first copies under a lock, the others wait.
    """
    target = Path(os.path.expandvars(os.path.expanduser(folder)))
    if "$" in str(target) or not target.is_absolute():
        raise InputError(
            f"staging: '{folder}' becomes '{target}' on this node, not an absolute path. Use a variable that the node sets, such as $TMPDIR."
        )
    launch = run.launch()
    source = Path(launch["data"])
    names = list(find("data set", run.spec.dataset, known_datasets()).paths)
    own = launch["dataset_parameters"].get("path")
    if own and not os.path.isabs(os.path.expanduser(str(own))):
        names.append(str(own))
    with exclusive(target / ".lock", wait=True):
        for name in names:
            if not (target / name).exists() and (source / name).exists():
                print(f"staging {source / name} to {target / name}", flush=True)
                _copy(source / name, target / name)
    return target


def _copy(source: Path, target: Path) -> None:
    """Copy completely or not at all: an interrupted copy keeps a temporary name."""
    making = target.with_name(f"{TEMPORARY}{target.name}")
    with explained(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(making, ignore_errors=True)
        if source.is_dir():
            shutil.copytree(source, making)
        else:
            shutil.copyfile(source, making)
        os.rename(making, target)
