"""The command line. A command is a few lines that call a room below; rooms are imported when they are needed."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rsctl.cli_checkpoint import attack, certify, predict
from rsctl.cli_prune import prune
from rsctl.cli_submit import loudly, submit_sweep
from rsctl.errors import InputError, UnavailableError, UserError, unknown

if TYPE_CHECKING:
    from rsctl.plan.tasks import Task

app = typer.Typer(
    name="rsctl", help="Randomized smoothing from the terminal: train, certify, watch, tabulate.",
    add_completion=True, no_args_is_help=False, pretty_exceptions_enable=False, rich_markup_mode=None,
)  # fmt: skip
data_app = typer.Typer(
    help="Data sets: which exist, and downloading them (an explicit act).", rich_markup_mode=None
)
app.add_typer(data_app, name="data")

SweepFile = Annotated[Path, typer.Argument(metavar="SWEEP.toml", help="The sweep file.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


def run(arguments: Sequence[str]) -> int:
    """Run a command; returns the exit code: 0 done, 1 a run failed, 2 wrong input, 3 not possible here and now."""
    try:
        app(list(arguments), prog_name="rsctl")
    except SystemExit as leaving:
        if isinstance(leaving.__context__, BrokenPipeError):
            return 0  # the reader of our output left, as 'head' does: nobody is there to be told
        return leaving.code if isinstance(leaving.code, int) else 0
    except UserError as error:
        print(f"rsctl: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        # What no room below foresaw: a disk that fails, a folder that may not be read.
        where = f"{error.filename}: " if error.filename else ""
        print(f"rsctl: {where}{error.strerror or error}", file=sys.stderr)
        return 3
    return 0


def leave(code: int) -> None:
    """End the command with this exit code."""
    if code:
        raise typer.Exit(code)


@app.callback(invoke_without_command=True)
def dashboard(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    """Without a command: the dashboard."""
    if version:
        from rsctl import __version__

        print(__version__)
        raise typer.Exit(0)
    if context.invoked_subcommand is None:
        if not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
            raise UnavailableError(
                "the dashboard needs a terminal. 'rsctl --help' lists what works without one."
            )
        from rsctl.tui.app import make_app

        make_app().run()


@app.command()
def templates() -> None:
    """List the sweep files to start from."""
    from rsctl.spec.templates import all_templates

    for template in all_templates():
        print(f"{template.name:32} {template.summary}")


@app.command()
def new(
    template: Annotated[str, typer.Argument(metavar="TEMPLATE", help="Its name, from 'rsctl templates'.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Where to write it; by default TEMPLATE.toml here.")
    ] = None,
) -> None:
    """Write a template as a sweep file of your own. Never overwrites."""
    from rsctl.spec.templates import find_template
    from rsctl.store.files import publish

    file = output or Path(f"{template}.toml")
    if not publish(file, find_template(template).text.encode()):
        raise InputError(f"{file}: exists already. Choose another name with -o.")
    print(f"{file}: edit it, then 'rsctl check {file}' and 'rsctl submit {file}'.")


@app.command()
def check(file: SweepFile, as_json: AsJson = False) -> None:
    """Validate a sweep file and show its plan; nothing is written."""
    from rsctl.cluster.control import plan_file
    from rsctl.plan.describe import describe
    from rsctl.spec.settings import load_settings

    described = describe(plan_file(file, load_settings()), load_settings())
    print(json.dumps(described.values, indent=1) if as_json else described.text)


@app.command()
def submit(
    file: SweepFile,
    cluster: Annotated[
        str, typer.Option("--cluster", help="Profile of rsctl.toml; by default the sweep's own.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and stop.")] = False,
    update: Annotated[
        bool, typer.Option("--update", help="Let this file change the sweep of the same name.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Stay until everything has ended; print the table.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Start a sweep, or go on with what is left of it. Safe to repeat."""
    if dry_run:
        check(file, as_json)
        return
    leave(submit_sweep(file, cluster, update=update, wait=wait, as_json=as_json))


@app.command()
def status(
    sweep: Annotated[str, typer.Argument(metavar="[SWEEP]", help="Only this sweep.")] = "",
    as_json: AsJson = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Again every 2 s until you leave with Ctrl+C.")
    ] = False,
) -> None:
    """How far the sweeps are."""
    from rsctl.cluster.status import status_text, status_values
    from rsctl.spec.settings import load_settings

    place = load_settings()
    while True:
        values = status_values(place, sweep)
        if watch and sys.stdout.isatty():
            print("\x1b[H\x1b[2J", end="")
        print(json.dumps(values, indent=1) if as_json else status_text(values), flush=True)
        if not watch:
            _broken_of(place, sweep)
        if not watch:
            return
        time.sleep(2)


def _broken_of(place: Any, sweep: str) -> None:
    """Say which certificates an attack broke, in this sweep or in all."""
    from rsctl.store.layout import Store

    store = Store(place.store)
    if not any(any(store.runs(folder)) for folder in ("attacks", "verifications")):
        return  # nothing is compared, and status answers at once
    from rsctl.report.broken import find_breaks

    names = [name for name in store.sweep_names() if sweep in ("", name)]
    entries = [entry for name in names for entry in store.sweep(name)["entries"]]
    loudly(find_breaks(store, entries))


@app.command()
def logs(
    run_name: Annotated[
        str, typer.Argument(metavar="RUN", help="A run's id, the beginning of it, or its path.")
    ],
    task: Annotated[int, typer.Argument(metavar="[N]", help="Number of the task.")] = 0,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on as it grows, until the task ends.")
    ] = False,
) -> None:
    """Print the log of a task, all attempts in one."""
    from rsctl.cluster import control
    from rsctl.cluster.everywhere import Everywhere
    from rsctl.plan.tasks import Task
    from rsctl.spec.settings import load_settings
    from rsctl.store.attempts import State
    from rsctl.store.layout import Store

    place = load_settings()
    run = Store(place.store).find_run(run_name)
    if task not in run.task_numbers():
        raise InputError(
            f"{run.id}: has no task {task}. It has: {', '.join(map(str, run.task_numbers())) or '(none)'}."
        )

    def going() -> bool:
        time.sleep(0.5)
        one = Task(run, task)
        found = control.statuses([one], Everywhere(place))[one.key]
        return found.state in (State.WAITING, State.QUEUED, State.RUNNING, State.UNKNOWN)

    def write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    control.tail(run, task, write, follow=going if follow else None)


@app.command()
def cancel(
    names: Annotated[
        list[str], typer.Argument(metavar="SWEEP|RUN…", help="What to stop; RUN/N is one task.")
    ],
) -> None:
    """Stop sweeps, runs or single tasks. What is trained and sampled stays; submit again to go on."""
    from rsctl.cluster import control
    from rsctl.spec.settings import load_settings

    _name_tasks("cancelled", control.cancel(load_settings(), names))


@app.command()
def retry(
    sweep: Annotated[str, typer.Argument(metavar="SWEEP", help="Its name.")],
    minutes: Annotated[
        int | None, typer.Option("--minutes", min=1, help="A new time limit, after a TIMEOUT.")
    ] = None,
    memory_gb: Annotated[
        float | None, typer.Option("--memory-gb", min=0.1, help="More memory, after an OUT_OF_MEMORY.")
    ] = None,
) -> None:
    """Start again what failed, was lost or cancelled; leave the rest alone."""
    from rsctl.cluster import again
    from rsctl.spec.settings import load_settings

    tasks, note = again.retry(load_settings(), sweep, minutes=minutes, memory_gb=memory_gb)
    _name_tasks("started again", tasks)
    if note:
        print(note, file=sys.stderr)


def _name_tasks(what: str, tasks: list[Task]) -> None:
    for task in tasks:
        print(f"{what}: {task.run.id} task {task.number}")
    if not tasks:
        print(f"nothing to be {what}")


@app.command()
def export(
    sweep: Annotated[str, typer.Argument(metavar="SWEEP", help="Its name.")],
    form: Annotated[
        str, typer.Option("--format", help="md, csv, latex, json; or tsv: one log per run, in the folder -o.")
    ] = "md",
    certificate: Annotated[
        str, typer.Option("--certificate", help="Another certificate, from the same counts.")
    ] = "",
    alpha: Annotated[
        float | None, typer.Option("--alpha", help="Another failure probability, from the same counts.")
    ] = None,
    radii: Annotated[str, typer.Option("--radii", help="Columns, such as 0,0.25,2/255.")] = "",
    intervals: Annotated[
        bool,
        typer.Option("--intervals", help="95 % intervals in every printed cell (csv and json have them)."),
    ] = False,
    every_seed: Annotated[
        bool, typer.Option("--every-seed", help="A line per training seed instead of mean ± deviation.")
    ] = False,
    baselines: Annotated[
        bool, typer.Option("--baselines", help="Published numbers on the same data beside one's own.")
    ] = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="A file instead of stdout.")] = None,
) -> None:
    """The certified-accuracy table, from stored counts; works while shards are still being written."""
    from rsctl.report.formats import FORMATS, render
    from rsctl.report.published import matching
    from rsctl.report.rows import sweep_results
    from rsctl.spec.settings import load_settings
    from rsctl.store.files import replace
    from rsctl.store.layout import Store

    if form not in (*FORMATS, "tsv"):
        raise InputError(f"--format: {unknown('format', form, (*FORMATS, 'tsv'))}")
    store = Store(load_settings().store)
    choice: dict[str, Any] = {
        "certificate": certificate or None, "alpha": alpha, "radii": parse_radii(radii) if radii else None,
    }  # fmt: skip
    if form == "tsv":
        _export_logs(store, sweep, output, choice)
        return
    results = sweep_results(store, sweep, **choice)
    beside = matching(results.every) if baselines else []
    text = render(results, form, intervals=intervals, merge_seeds=not every_seed, baselines=beside)
    if output is None:
        print(text, end="")
    else:
        replace(output, text.encode())
        print(f"{output}: {form} of {sweep}", file=sys.stderr)
    if form == "csv":
        _tell(results.notes)
    leave(loudly(results.broken))


def _export_logs(store: Any, sweep: str, folder: Path | None, choice: dict[str, Any]) -> None:
    from rsctl.report.export_logs import export_logs

    if folder is None:
        raise InputError("--format tsv writes one log per run: name a folder for them with -o.")
    written, results = export_logs(store, sweep, folder, **choice)
    for row in results.every:
        _tell([f"{row.run}: n = {row.n}, n0 = {row.n0}, alpha = {row.alpha}, which a log doesn't hold"])
    _tell(results.notes)
    print(f"{folder}: {len(written)} logs")


def _tell(notes: Sequence[str]) -> None:
    """Notes that the output has no place for, on stderr."""
    from rsctl.report.text import printable

    for note in notes:
        print(f"note: {printable(note)}", file=sys.stderr)


@app.command("import")
def import_(
    logs: Annotated[list[Path], typer.Argument(metavar="LOG…", help="Log files, or folders full of them.")],
    name: Annotated[
        str, typer.Option("--name", help="The sweep to show them beside; made if there is none.")
    ],
    sigma: Annotated[
        float | None, typer.Option("--sigma", help="Noise level; by default from the path, as in sigma_0.25.")
    ] = None,
    method: Annotated[str, typer.Option("--method", help="By default what is left of the path.")] = "",
    dataset: Annotated[str, typer.Option("--dataset", help="By default from the path.")] = "",
    model: Annotated[str, typer.Option("--model", help="By default from the path.")] = "",
    seed: Annotated[int | None, typer.Option("--seed", help="Training seed, where it is known.")] = None,
    split: Annotated[str, typer.Option("--split", help="Which images the positions speak of.")] = "test",
    certificate: Annotated[str, typer.Option("--certificate", help="What computed the radii.")] = "cohen",
    n: Annotated[int | None, typer.Option("--n", help="Estimation draws, as stated by the authors.")] = None,
    n0: Annotated[int | None, typer.Option("--n0", help="Selection draws, likewise.")] = None,
    alpha: Annotated[float | None, typer.Option("--alpha", help="Failure probability, likewise.")] = None,
    as_json: AsJson = False,
) -> None:
    """Take per-image logs of Cohen's format into the store: radii known, counts unknown. Safe to repeat."""
    from rsctl.report.import_logs import Said, describe, import_logs
    from rsctl.spec.settings import load_settings
    from rsctl.store.layout import Store

    said = Said(sigma, method or None, dataset or None, model or None, seed, split, certificate, n, n0, alpha)
    found = import_logs(Store(load_settings().store), name, logs, said)
    print(json.dumps([one.__dict__ for one in found], indent=1) if as_json else describe(found))


def parse_radii(text: str) -> list[float]:
    """`0,0.25,2/255` as numbers."""
    radii = []
    for part in text.split(","):
        above, _, below = part.strip().partition("/")
        try:
            value = float(above) / (float(below) if below else 1.0)
        except (ValueError, ZeroDivisionError) as error:
            raise InputError(f"--radii: '{part}' is not a number such as 0.25 or 2/255.") from error
        if not 0 <= value < float("inf"):
            raise InputError(f"--radii: '{part}' is not a radius: it must be 0 or more, and finite.")
        radii.append(value)
    return radii


@app.command()
def compare(
    first: Annotated[
        str, typer.Argument(metavar="RUN", help="A run or an import: its id, or the beginning of it.")
    ],
    second: Annotated[str, typer.Argument(metavar="RUN", help="Another on the same images.")],
    certificate: Annotated[str, typer.Option("--certificate", help="By default the runs' own.")] = "",
    alpha: Annotated[float | None, typer.Option("--alpha", help="By default the runs' own.")] = None,
    radii: Annotated[str, typer.Option("--radii", help="Where to test, such as 0,0.25,2/255.")] = "",
    as_json: AsJson = False,
) -> None:
    """Is the difference between two runs real? McNemar at each radius, and the ACR by bootstrap."""
    from rsctl.report.compare import compare, comparison_json, comparison_text
    from rsctl.report.subjects import open_subject
    from rsctl.spec.settings import load_settings
    from rsctl.store.layout import Store

    store = Store(load_settings().store)
    a, b = (open_subject(store, name, certificate or None, alpha) for name in (first, second))
    found = compare(store, a, b, parse_radii(radii) if radii else None)
    print(comparison_json(found) if as_json else comparison_text(found))


@app.command()
def reproduce(
    table: Annotated[
        str, typer.Argument(metavar="TABLE", help="A published table; a wrong name lists them.")
    ],
    sweep: Annotated[str, typer.Argument(metavar="SWEEP", help="Your sweep.")],
    certificate: Annotated[str, typer.Option("--certificate", help="By default the published one.")] = "",
    as_json: AsJson = False,
) -> None:
    """Your sweep beside a published table, cell by cell, with intervals and every setting that differs."""
    from rsctl.report.published import find_published
    from rsctl.report.reproduce import reproduce, reproduction_json, reproduction_text
    from rsctl.spec.settings import load_settings
    from rsctl.store.layout import Store

    found = reproduce(Store(load_settings().store), find_published(table), sweep, certificate or None)
    print(reproduction_json(found) if as_json else reproduction_text(found))


@app.command()
def plot(
    sweep: Annotated[str, typer.Argument(metavar="SWEEP", help="Its name.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="FIGURE.pdf, .svg or .png.")],
    kind: Annotated[
        str,
        typer.Option(
            "--kind", help="curve, envelope, ecdf, hours, classes or families; a wrong one explains them."
        ),
    ] = "curve",
    certificate: Annotated[str, typer.Option("--certificate", help="From the same counts.")] = "",
    alpha: Annotated[float | None, typer.Option("--alpha", help="From the same counts.")] = None,
    radius: Annotated[
        float, typer.Option("--radius", min=0, help="For hours and classes: at which radius.")
    ] = 0.0,
    width: Annotated[
        float, typer.Option("--width", min=1, help="Inches; 3.25 is one column of a paper.")
    ] = 5.5,
) -> None:
    """A figure of a sweep, from stored counts; works while shards are still being written."""
    from rsctl.report.figures import plot as draw
    from rsctl.spec.settings import load_settings
    from rsctl.store.layout import Store

    notes = draw(
        Store(load_settings().store), sweep, output, kind=kind, certificate=certificate or None, alpha=alpha,
        radius=radius, width=width,
    )  # fmt: skip
    _tell(notes)
    print(f"{output}: {kind} of {sweep}")


@app.command()
def bench(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A trained run, or an architecture.")],
    dataset: Annotated[str, typer.Option("--dataset", help="For an architecture: whose images.")] = "cifar10",
    threads: Annotated[int, typer.Option("--threads", min=1, help="CPU threads.")] = 2,
    sigma: Annotated[float, typer.Option("--sigma", min=0, help="Noise for the agreement.")] = 0.5,
    compile_mode: Annotated[
        str,
        typer.Option(
            "--compile", help="Also as certification.compile would run it: default, or graphs on a GPU."
        ),
    ] = "off",
    as_json: AsJson = False,
) -> None:
    """How many samples per second a model gives here, in each precision; feeds the hours that 'check' shows."""
    from rsctl.cluster.bench import bench, bench_text
    from rsctl.spec.settings import load_settings

    figures = bench(load_settings(), model, dataset, threads, sigma, compile_mode)
    print(json.dumps(figures) if as_json else bench_text(figures))


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Look for what would go wrong: store, data, packages, the queue."""
    from rsctl.cluster.doctor import examine
    from rsctl.spec.settings import load_settings

    findings = examine(load_settings())
    if as_json:
        print(json.dumps([finding.__dict__ for finding in findings], indent=1))
    else:
        for finding in findings:
            print(f"{'ok     ' if finding.ok else 'PROBLEM'}  {finding.what}: {finding.text}")
    leave(0 if all(finding.ok for finding in findings) else 3)


@app.command()
def task(
    run_name: Annotated[str, typer.Argument(metavar="RUN", help="A run's id or path.")],
    number: Annotated[int, typer.Argument(metavar="N", help="Number of the task.")],
) -> None:
    """Run one task here and now: on an interactive node, in a debugger. What every backend starts."""
    from rsctl.cluster.task import run_task
    from rsctl.spec.settings import load_settings
    from rsctl.store.attempts import latest_attempt
    from rsctl.store.layout import Store

    run = Store(load_settings().store).find_run(run_name)
    attempt = latest_attempt(run, number)
    if run.model_file.exists() if run.kind == "models" else attempt and attempt.ended == "done":
        print(f"task {number} of {run.id} is done: nothing is left to do")
    else:
        leave(run_task(run, number))


for command in (certify, predict, attack, prune):
    app.command()(command)


@data_app.command("list")
def data_list() -> None:
    """The data sets, and whether they are here."""
    from rsctl.catalog.presence import presence
    from rsctl.spec.settings import load_settings

    place = load_settings()
    print(f"data root: {place.data}")
    for name, text in presence(place.data):
        print(f"{name:16} {text}")


@data_app.command("fetch")
def data_fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A data set from 'rsctl data list'.")],
) -> None:
    """Download a data set into the data root. Compute nodes have no internet: do it where there is."""
    import subprocess

    from rsctl.catalog import find, known_datasets
    from rsctl.spec.settings import load_settings

    place = load_settings()
    find("data set", name, known_datasets())
    # torchvision does the work, and torch is loaded in a process of its own.
    leave(subprocess.run([sys.executable, "-m", "jobs.data.fetch", name, str(place.data)]).returncode)
