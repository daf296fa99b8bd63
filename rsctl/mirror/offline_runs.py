"""Weights & Biases: one offline run per training, which `wandb sync` uploads."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from rsctl.mirror.points import MirroredRun
from rsctl.store.files import TEMPORARY, make_folder


class OfflineRuns:
    """`<folder>/<run>/<last step>/…`: the whole run so far, made aside and renamed into place; earlier ones are removed then.

    An offline run can't be appended to, and the id is a function of the run's name: uploaded again, it replaces itself.
    """

    def __init__(self, folder: Path) -> None:
        import wandb

        self._wandb: Any = wandb
        self._folder = folder

    def write(self, shown: MirroredRun) -> int:
        folder = self._folder / shown.run
        make_folder(folder)
        for left in folder.glob(f"{TEMPORARY}*"):
            shutil.rmtree(left, ignore_errors=True)
        before = sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal())
        last = before[-1] if before else -1
        new = sum(point.step > last for point in shown.points)
        if new:
            making = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=folder))
            self._record(shown, making)
            os.rename(making, folder / str(shown.points[-1].step))
            before.append(shown.points[-1].step)
        for step in before[:-1]:
            shutil.rmtree(folder / str(step), ignore_errors=True)
        return new

    def _record(self, shown: MirroredRun, folder: Path) -> None:
        """Record the run in a folder, without a message, a request, or facts about this machine."""
        quiet = self._wandb.Settings(
            silent=True, console="off", disable_git=True, save_code=False, x_disable_meta=True, x_disable_stats=True,
            disable_job_creation=True, host="rsctl", root_dir=str(folder),
        )  # fmt: skip
        digest = hashlib.sha256(shown.run.encode()).hexdigest()[:16]
        run = self._wandb.init(
            project="rsctl", group=shown.sweep, name=shown.run, id=digest, mode="offline", dir=str(folder), config=dict(shown.settings),
            settings=quiet, reinit="create_new",
        )  # fmt: skip
        for point in shown.points:
            run.log({**point.tagged, "time": point.time}, step=point.step)
        run.finish()
        inside = folder / "wandb"
        for path in inside.glob("offline-run-*"):
            shutil.rmtree(path / "logs", ignore_errors=True)  # paths of this machine
            os.rename(path, folder / path.name)
        shutil.rmtree(inside, ignore_errors=True)
