"""Writes the golden files from the code at hand: `python tests/golden/make.py run-ids|store|outputs|pickle`.

They are what stores of the first release hold and what its commands print of them: renewed only where a change is meant to alter
these, the store never.
"""

from __future__ import annotations

import json
import lzma
import os
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]


def run_ids() -> None:
    import ids

    with tempfile.TemporaryDirectory() as folder:
        ids.folders(Path(folder))
        values = {"fields": ids.of_fields(), "sweeps": ids.of_sweeps(Path(folder))}
    (HERE / "run_ids.json").write_text(json.dumps(values, indent=0, sort_keys=True) + "\n")


def pickle() -> None:
    """Pickle a SLURM task of the store as submitit does."""
    from packed import unpack
    from submitit.core.utils import DelayedSubmission

    from rsctl.cluster.local.requests import own_queue
    from rsctl.cluster.slurm.task import SlurmTask
    from rsctl.store.layout import Store

    with tempfile.TemporaryDirectory() as folder:
        unpack(Path(folder))
        (key,) = own_queue(Store(Path(folder) / "store")).wanted()
    task = SlurmTask(f"store/{key.rpartition('/')[0]}", 0, "0123456789abcdef0123456789abcdef", 3, "", 60.0)
    DelayedSubmission(task).dump(HERE / "submitted.pkl")


def outputs() -> None:
    """Write the output of commands on the store."""
    from outputs import everything
    from packed import unpack

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        unpack(root)
        os.environ.update(RSCTL_CONFIG=str(root / "rsctl.toml"), XDG_CACHE_HOME=str(root / "cache"))
        values = everything(root)
        os.chdir("/")
    data = (json.dumps(values, indent=0, sort_keys=True) + "\n").encode()
    (HERE / "outputs.json.xz").write_bytes(lzma.compress(data, preset=9))


def store() -> None:
    """Every kind of record, by the writers that real tasks use."""
    import importlib

    from chain import Chain, StopsAfter, end_processes
    from packed import ARCHIVE, BEGUN, pack
    from PIL import Image
    from sweeps import CANCELLED, FAILING, FINISHED, INTERRUPTED, MAIN, PARTIAL, TRAINING, WAITING

    from rsctl.cluster.task import module_of
    from rsctl.store.task_context import Stopped

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve() / "golden"
        root.mkdir()
        (root / "rsctl.toml").write_text('store = "store"\ndata = "data"\n[profiles.two]\ncpus = 2\n')
        os.environ.update(RSCTL_CONFIG=str(root / "rsctl.toml"), XDG_CACHE_HOME=str(root / "cache"))
        os.chdir(root)
        chain = Chain(root)
        for split in ("train", "test"):
            for label, animal in enumerate(("ant", "bee")):
                place = root / "data" / "animals" / split / animal
                place.mkdir(parents=True)
                for number in range(4):
                    Image.new("RGB", (8, 8), (90 * label + 9 * number, 40, 200)).save(place / f"{number}.png")
        (root / "data" / "animals" / "test" / "ant" / "notes.md").write_text("not an image")
        from rsctl.plan.commit import save_sweep_file

        def file(values: dict[str, Any]) -> Path:
            from chain import toml

            tables = {key: values[key] for key in ("verification", "attack") if key in values}
            plain = {key: value for key, value in values.items() if key not in tables}
            text = toml(plain)
            for key, entries in tables.items():
                text += "".join(f"\n[[{key}]]\n{toml(entry)}" for entry in entries)
            path = root / f"{values['name']}.toml"
            path.write_text(text + "\n")
            return path

        def plan(values: dict[str, Any]) -> Any:
            path = file(values)
            from rsctl.config.sweep import load_sweep
            from rsctl.plan.commit import commit
            from rsctl.plan.plan import make_plan

            committed = commit(
                make_plan(load_sweep(path, chain.place.data, chain.store.planned), str(path)),
                chain.place,
                update=False,
            )
            save_sweep_file(chain.place, values["name"], path)
            return committed

        done = chain.cli("submit", file(MAIN), "--wait", timeout=900)
        assert done.code == 0, done.err

        def interrupt(task: Any, tiles: int) -> None:
            work = chain.work(task, StopsAfter)
            work.tiles = tiles
            try:
                importlib.import_module(module_of(task.run)).main(work)
            except Stopped:
                work.claim.end("stopped", "signal SIGTERM")
                return
            raise AssertionError("it wasn't interrupted")

        for name, tiles in INTERRUPTED.items():
            print("interrupted", name, flush=True)
            for request in plan(FINISHED[name]).requests:
                if request.task.run.kind == "models":
                    chain.run(request.task)
                elif request.task.number == 0:
                    interrupt(request.task, tiles)
        pack(root, BEGUN)
        print(BEGUN.stat().st_size)
        for name, values in FINISHED.items():
            print(name, flush=True)
            again = file(values)
            from rsctl.config.sweep import load_sweep
            from rsctl.plan.commit import commit
            from rsctl.plan.plan import make_plan

            made = make_plan(load_sweep(again, chain.place.data, chain.store.planned), str(again))
            for request in commit(made, chain.place, update=False).requests:
                chain.run(request.task)
            save_sweep_file(chain.place, name, again)
        print("checkpoint", flush=True)
        model = next(run for run in chain.store.runs("models") if run.id.startswith("gaussian-digits-s0.25"))
        taken = root / "taken.pt"
        import torch

        weights = torch.load(model.model_file, weights_only=True)
        torch.save(weights.get("state_dict", weights), taken)
        values = {
            **PARTIAL,
            "name": "checkpoint",
            "method": {"name": "checkpoint", "file": str(taken), "normalisation": "none"},
        }
        values.pop("training")
        for request in plan(values).requests:
            chain.run(request.task)
        print("partial", flush=True)
        requests = plan(PARTIAL).requests
        first, _ = [r.task for r in requests if r.task.run.kind == "counts"]
        for request in requests:
            if request.task.run.kind == "models":
                chain.run(request.task)
        interrupt(first, 25)
        print("training", flush=True)
        interrupt(plan(TRAINING).requests[0].task, 100)
        print("failing", flush=True)
        done = chain.cli("submit", file(FAILING), "--wait", timeout=900)
        print(done.code, done.err[-300:])
        print("cancelled", flush=True)
        from rsctl.cluster.local.requests import own_queue
        from rsctl.store.attempts import State

        queue = own_queue(chain.store)
        for request in plan(CANCELLED).requests:
            queue.add(request)
            queue.end(request.task.key, State.CANCELLED, "cancelled")
        for request in plan(WAITING).requests:
            queue.add(request)
        print("logs", flush=True)
        logs = root / "logs" / "cohen" / "cifar10" / "resnet110" / "noise_0.25" / "test"
        logs.mkdir(parents=True)
        rows = [
            f"{20 * i}\t{i % 10}\t{i % 10 if i % 4 else -1}\t{(0.05 * i if i % 4 else 0.0):.3}\t{int(i % 4 > 0)}\t0:00:14.5"
            for i in range(16)
        ]
        (logs / "sigma_0.25").write_text(
            "\n".join(["idx\tlabel\tpredict\tradius\tcorrect\ttime", *rows]) + "\n"
        )
        for sweep in ("main", "public"):
            done = chain.cli(
                "import", root / "logs", "--name", sweep, "--n", "100000", "--n0", "100", "--alpha", "0.001"
            )
            assert done.code == 0, done.err
        print("submission", flush=True)
        from rsctl.cluster.slurm.submissions import Submission, list_tasks

        run = next(
            run
            for run in chain.store.runs("counts")
            if run.id.startswith("gaussian-digits-s0.25") and run.count_spec.n == 300
        )
        folder_of = chain.store.root / "submissions" / "0123456789abcdef0123456789abcdef"
        folder_of.mkdir(parents=True)
        record = Submission(
            folder_of.name,
            "gpu",
            "site",
            os.getuid(),
            time.time(),
            str(folder_of),
            {0: 0, 1: 1},
            True,
            "4711",
        )
        record.write(run)
        record.note_cancelled(run, [0, 1])
        list_tasks(folder_of, [f"counts/{run.id}/0", f"counts/{run.id}/1"])
        print(chain.cli("status").out)
        end_processes(chain.store)
        pack(root, ARCHIVE)
        print(ARCHIVE.stat().st_size, socket.gethostname())


if __name__ == "__main__":
    {"run-ids": run_ids, "store": store, "outputs": outputs, "pickle": pickle}[sys.argv[1]]()
