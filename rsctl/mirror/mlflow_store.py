"""MLflow: a file store, in which every metric is a file with a line per point."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from rsctl.mirror.points import MirroredRun
from rsctl.store.files import make_folder

EXPERIMENT = "rsctl"
_AT_ONCE = 1000
"""Most metrics of a batch."""
_LONGEST = 500
"""Most characters of a parameter."""


class MlflowStore:
    """`<folder>`, MLflow's own layout; the position of each metric is the largest step that it has."""

    def __init__(self, folder: Path) -> None:
        # Newer versions of MLflow open a file store only on request.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        from mlflow.entities import Metric, Param
        from mlflow.tracking import MlflowClient

        make_folder(folder)
        self._metric, self._param = Metric, Param
        self._client: Any = MlflowClient(tracking_uri=folder.absolute().as_uri())

    def write(self, shown: MirroredRun) -> int:
        run = self._run(shown)
        last = {
            key: max((one.step for one in self._client.get_metric_history(run, key)), default=-1)
            for key in {key for point in shown.points for key in point.tagged}
        }
        steps = set()
        new = []
        for point in shown.points:
            for key, value in point.tagged.items():
                if point.step > last[key]:
                    steps.add(point.step)
                    new.append(self._metric(key, value, int(1000 * point.time), point.step))
        for start in range(0, len(new), _AT_ONCE):
            self._client.log_batch(run, metrics=new[start : start + _AT_ONCE])
        return len(steps)

    def _run(self, shown: MirroredRun) -> str:
        """The id of the run with this name, made where there is none."""
        known = self._client.get_experiment_by_name(EXPERIMENT)
        experiment = known.experiment_id if known else self._client.create_experiment(EXPERIMENT)
        wanted = f"tags.\"rsctl.run\" = '{shown.run}'"
        found = self._client.search_runs([experiment], filter_string=wanted, max_results=1)
        if found:
            return str(found[0].info.run_id)
        tags = {"rsctl.run": shown.run, "rsctl.sweep": shown.sweep, "mlflow.user": "rsctl"}
        made = self._client.create_run(experiment, tags=tags, run_name=shown.run)
        params = [self._param(key, str(value)[:_LONGEST]) for key, value in shown.settings.items()]
        self._client.log_batch(made.info.run_id, params=params)
        return str(made.info.run_id)
