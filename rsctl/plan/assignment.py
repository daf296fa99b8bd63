"""Assigns the images of a table to its tasks."""

from __future__ import annotations

from rsctl.plan.plan import TablePlan
from rsctl.store.files import publish_all, to_json
from rsctl.store.layout import Run


def assign(run: Run, table: TablePlan) -> dict[int, list[int]]:
    """Assign every image to a task, the new ones in `shards` parts; returns the tasks that this plan needs.

    A task's images are written when it is created and never change. Concurrent submissions can't assign an
    image twice: a task file is created exclusively, and the loser reads the tasks again.
    """
    tasks = {number: run.images(number) for number in run.task_numbers()}
    while True:
        assigned = {image for images in tasks.values() for image in images}
        fresh = [image for image in table.images if image not in assigned]
        if not fresh:
            break
        parts = [fresh[j :: table.shards] for j in range(min(table.shards, len(fresh)))]
        number = max(tasks, default=-1) + 1
        files = {
            run.task_file(number + offset).name: to_json({"stage": run.kind.stage, "images": part})
            for offset, part in enumerate(parts)
        }
        created = publish_all(run.tasks_folder, files)
        tasks |= {number + offset: part for offset, part in enumerate(parts[:created])}
        if created < len(parts):
            # Another submission created this task: keep its images and reassign the rest.
            tasks[number + created] = run.images(number + created)
    wanted = set(table.images)
    return {number: images for number, images in sorted(tasks.items()) if not wanted.isdisjoint(images)}
