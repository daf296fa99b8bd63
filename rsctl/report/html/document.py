"""The whole report as one HTML file without any reference to another one."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any
from xml.etree.ElementTree import Element

from rsctl import __version__
from rsctl.catalog import known_datasets, known_methods, known_models, known_verifiers
from rsctl.certificates import certificates
from rsctl.plain import printable
from rsctl.report.figures.series import panels_of
from rsctl.report.html.charts import ChartView, chart, chart_values
from rsctl.report.html.curves import accuracy_views, training_views
from rsctl.report.html.elements import data, element, markup
from rsctl.report.html.images import image_sets, image_values
from rsctl.report.html.origin import origin
from rsctl.report.html.private import Private, own_names
from rsctl.report.html.tables import tables
from rsctl.report.tables.formats import to_csv, to_json
from rsctl.report.tables.legend import MEANINGS
from rsctl.results.contradictions import describe_contradictions
from rsctl.results.sweep import Results, sweep_results
from rsctl.store.imports import find_sweep
from rsctl.store.layout import Store
from rsctl.text import counted

SCRIPTS = ("tables.js", "charts.js", "images.js")
EXPLAINED = (
    "Randomized smoothing replaces a network f by the classifier g that returns the class that f gives most often under noise. Certified "
    "accuracy at a radius is the share of images that g classifies correctly, with a certified radius at least as large. Each table names its "
    "certificate, the classifier that it is about, and its failure probability; accuracies are rounded down."
)


def html_report(
    store: Store,
    sweep: str,
    data_root: Path,
    *,
    pictures: bool = True,
    options: Sequence[str] = (),
    **choice: Any,
) -> tuple[bytes, Results]:
    """The page, and the results that it shows.

    `choice` as for `sweep_results`; `options` are the same as words of a command line, for the commands that make the page again.
    """
    results = sweep_results(store, sweep, **choice)
    clean = Private([store.root, data_root, Path.cwd(), Path.home()], _private_names())
    plan, _ = find_sweep(store, sweep)
    sets, about_images = image_values(store, image_sets(results), results, data_root, clean, draw=pictures)
    curves, training = (
        accuracy_views(panels_of(results)),
        training_views(store, results.measurements),
    )
    parts: list[Element | None] = [
        _header(results, clean),
        _alerts(results, clean),
        _tables(results, clean),
        _charts("curves", "Certified accuracy by radius", curves),
        _charts("training", "Training", training),
        _images(sets, about_images),
        element("section", element("h2", "Make it again"), *origin(store, results, plan, options, clean), id="origin"),
    ]  # fmt: skip
    shown = [part for part in parts if part is not None]
    main = element("main", _contents(shown), *shown, id="content")
    values = {"charts": [chart_values(view) for view in [*curves, *training]], "images": sets}
    return _page(clean(results.sweep), [_cleaned(main, clean), data("report-data", values)]), results


def _private_names() -> list[str]:
    """Names of this user and host, but for those that a method or a data set has too."""
    public = {*known_methods(), *known_datasets(), *known_models(), *known_verifiers(), *certificates()}
    return [name for name in own_names() if name not in public]


def _page(title: str, body: Sequence[Element]) -> bytes:
    style = _file("page.css")
    script = "\n".join(_file(name) for name in SCRIPTS)
    text = Template(_file("page.html")).substitute(
        title=html.escape(printable(f"{title}: certified accuracy")), version=html.escape(__version__), body=markup(*body),
        style=style, script=script, style_hash=_hash(style), script_hash=_hash(script),
    )  # fmt: skip
    return text.encode()


def _file(name: str) -> str:
    return files("rsctl.report.html").joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _cleaned(root: Element, clean: Private) -> Element:
    """The same elements, with every text and attribute free of paths and names of users and hosts."""
    for one in root.iter():
        downloaded = one.tag == "a"
        one.text, one.tail = clean(one.text) if one.text else None, clean(one.tail) if one.tail else None
        for key, value in one.attrib.items():
            if not (downloaded and key == "href") and key not in ("d", "viewBox"):
                one.set(key, clean(value))
    return root


def _header(results: Results, clean: Private) -> Element:
    every = results.measurements
    networks = {one.table_spec.model_run for row in every for one in row.levels or [row] if one.own}
    unfinished = sum(not row.complete for row in every)
    facts = [
        counted(len(networks), "network") if networks else "",
        counted(len(results.logged), "imported log") if results.logged else "",
        ", ".join(dict.fromkeys(f"{row.dataset} {row.split}" for row in every)),
        f"{unfinished} of {counted(len(every), 'row')} unfinished" if unfinished else "",
    ]
    csv, values = clean(to_csv(results)), clean(to_json(results))
    return element(
        "header",
        element("h1", results.sweep),
        element("p", results.description, class_="lead") if results.description else None,
        element("p", " · ".join(filter(None, facts)), class_="muted"),
        element("p", EXPLAINED),
        element(
            "p",
            _download(csv, "text/csv", f"{results.sweep}.csv", "CSV"), " ",
            _download(values, "application/json", f"{results.sweep}.json", "JSON"),
            " All numbers at full precision, as rsctl export writes them.",
            class_="downloads",
        ),
    )  # fmt: skip


def _download(text: str, kind: str, name: str, label: str) -> Element:
    encoded = base64.b64encode(text.encode()).decode()
    return element("a", label, href=f"data:{kind};base64,{encoded}", download=name, class_="button")


def _alerts(results: Results, clean: Private) -> Element | None:
    """Contradicted certificates and networks that learned nothing first, then the notes."""
    broken = describe_contradictions(results.broken)
    failed = [note for note in results.notes if "LEARNED NOTHING" in note]
    others = [note for note in results.notes if note not in broken and note not in failed]
    blocks: list[Element | None] = [
        element("div", element("h3", title), element("ul", *(element("li", clean(note)) for note in notes)), class_="alert", role="note")
        if notes else None
        for title, notes in (("✗ Broken certificates", broken), ("⚠ Networks that learned nothing", failed))
    ]  # fmt: skip
    if not results.broken and results.attacked:
        blocks.append(element("p", "✓ No attack of this store contradicts a certificate.", class_="fine"))
    if others:
        blocks.append(
            element("div", element("h3", "Notes"), element("ul", *(element("li", clean(note)) for note in others)), class_="notes")
        )  # fmt: skip
    if not any(one is not None for one in blocks):
        return None
    return element("section", element("h2", "Read this first"), *blocks, id="notes")


def _tables(results: Results, clean: Private) -> Element:
    found = tables(results)
    if not found:
        found = [element("p", "No result is in yet.")]
    meanings = [
        part for head, text in MEANINGS.items() for part in (element("dt", head), element("dd", text))
    ]
    return element(
        "section", element("h2", "Tables"), *found,
        element("details", element("summary", "Meaning of the columns"), element("dl", *meanings, class_="facts")),
        id="tables",
    )  # fmt: skip


def _charts(key: str, title: str, views: Sequence[ChartView]) -> Element | None:
    return element("section", element("h2", title), *map(chart, views), id=key) if views else None


def _images(sets: Sequence[dict[str, Any]], notes: Sequence[str]) -> Element | None:
    """The place of the image browser, which the page's script fills."""
    if not sets:
        return None
    return element(
        "section",
        element("h2", "Images"),
        element("div", element("p", "The image browser needs JavaScript, which is off.", class_="note"), id="browser"),
        *(element("p", note, class_="note") for note in notes),
        id="images",
    )  # fmt: skip


def _contents(sections: Sequence[Element]) -> Element:
    links = []
    for one in sections:
        heading = one.find("h2")
        if heading is not None:
            links.append(element("a", heading.text or "", href=f"#{one.get('id')}"))
    return element("nav", *links, aria_label="Contents")
