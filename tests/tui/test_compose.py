"""The compose mode: the form, its checks at the field, files and submission."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import tomli
from dashboard_store import Synthetic
from piloting import on_screen, until
from test_app import type_at_once
from textual.widgets import Input, OptionList

from rsctl.config.sweep import expand
from rsctl.config.templates import all_templates
from rsctl.config.toml_text import to_toml
from rsctl.errors import InputError
from rsctl.tui.app import Dashboard
from rsctl.tui.compose import sweep_files
from rsctl.tui.compose.draft import START, Draft
from rsctl.tui.compose.fields import Field
from rsctl.tui.compose.form import compose
from rsctl.tui.compose.rows import help_text
from rsctl.tui.dialogs.confirm import ConfirmScreen
from rsctl.tui.dialogs.prompt import ChooseScreen, PromptScreen
from rsctl.tui.widgets.grid import Grid


@pytest.mark.parametrize(
    ("source", "told"), [("default", "Default 90."), ("the paper, page 3", "Default 90 (the paper, page 3).")]
)
def test_a_default_names_its_source_where_it_has_one(source: str, told: str) -> None:
    field = Field(
        "training.epochs", "epochs", "Passes.", "90", False, "90", source, (), lambda text: (text, False)
    )
    assert help_text(field).plain.splitlines()[-1] == told


@pytest.mark.parametrize("name", [template.name for template in all_templates()])
def test_a_template_survives_the_form(name: str) -> None:
    """The file that the form writes has the same points as the one it was given."""
    raw = tomli.loads(next(one.text for one in all_templates() if one.name == name))
    again = tomli.loads(Draft(raw).toml())
    assert [values for values, _ in expand(again, name)] == [values for values, _ in expand(raw, name)]


@pytest.mark.parametrize(
    "raw",
    [
        {"name": 'quo"te\\', "description": "tab\tand del\x7f and é"},
        {"a": {"b": {"c": 1}}, "list": [[1, 2], [3]], "flag": True, "x": 1e-9},
        {"method": [{"name": "m", "training": {"lr": 0.1}}, {"name": "k", "grid": {"epsilon": [1, 2]}}]},
        {"grid": {"training.lr": [0.1], "sigma": [0.5]}},
    ],
)
def test_toml_is_read_back(raw: dict[str, Any]) -> None:
    assert tomli.loads(to_toml(raw)) == raw


def fields_of(draft: Draft) -> dict[str, Field]:
    return {field.key: field for section in compose(draft).sections for field in section.fields}


def test_every_field_refuses_what_is_wrong_or_shows_it(synthetic: Synthetic) -> None:
    """Either its own check says what is allowed, or the sweep's check says so at that field."""
    fields = fields_of(Draft(START))
    assert len(fields) > 50
    for key, field in fields.items():
        if key in ("description", "cluster"):
            continue
        wrong = "no such value" if field.options or key == "name" else "-17"
        try:
            value, grid = field.parse(wrong)
        except InputError:
            continue
        draft = Draft(START)
        draft.put(key, value, grid=grid)
        again = fields_of(draft)
        assert again[key].problem, f"{key} = {value!r} was taken"


def test_several_values_make_a_grid_and_one_takes_it_back() -> None:
    draft = Draft(START)
    fields = fields_of(draft)
    value, grid = fields["training.lr"].parse("0.1, 0.01")
    draft.put("training.lr", value, grid=grid)
    assert tomli.loads(draft.toml())["grid"] == {"sigma": [0.25, 0.5], "training.lr": [0.1, 0.01]}
    assert len(list(expand(draft.plain(), "x"))) == 4
    value, grid = fields["training.lr"].parse("0.05")
    draft.put("training.lr", value, grid=grid)
    assert tomli.loads(draft.toml())["grid"] == {"sigma": [0.25, 0.5]}
    assert draft.raw["training"] == {"lr": 0.05}
    draft.drop("training.lr")
    assert "training" not in draft.raw


def test_defaults_name_their_source() -> None:
    fields = fields_of(Draft(START))
    assert fields["training.momentum"].source == "Cohen 2019, authors' code: experiments.MD"
    assert fields["training.lr"].default == "0.05"
    assert fields["certification.n0"].default == "100"
    assert fields["certification.n0"].help.startswith("Draws per image that select")


def test_problems_are_at_their_fields() -> None:
    draft = Draft(START)
    draft.put("sigma", [0.25, -0.5], grid=True)
    draft.put("dataset.name", "digit", grid=False)
    found = compose(draft)
    fields = {field.key: field for section in found.sections for field in section.fields}
    assert "greater than" in fields["sigma"].problem
    draft.put("sigma", 0.25, grid=False)
    found = compose(draft)
    fields = {field.key: field for section in found.sections for field in section.fields}
    assert "Did you mean 'digits'" in fields["dataset.name"].problem
    assert not found.plan
    draft.put("dataset.name", "digits", grid=False)
    draft.tables("attack").extend({"attack": "ddn"} for _ in range(2))
    fields = {field.key: field for section in compose(draft).sections for field in section.fields}
    assert "equals the first" in fields["attack.1.attack"].problem


def form(app) -> Grid:
    return app.mode_screen.query_one("#compose-form", Grid)


async def open_form(app, pilot) -> None:
    await pilot.press("3")
    await until(
        pilot,
        lambda: app.current_mode == "compose" and form(app).rows and app.focused is form(app),
        "the form",
    )


async def checked(app, pilot) -> None:
    screen = app.mode_screen
    await until(
        pilot, lambda: screen.composed and screen.composed.draft.raw == screen.work.draft.raw, "the check"
    )


async def answered_with(app, pilot, text: str) -> None:
    await until(pilot, lambda: isinstance(app.screen, PromptScreen), "a prompt")
    app.screen.query_one(Input).value = text
    await pilot.press("enter")


def shown(app, widget: str) -> str:
    return str(app.mode_screen.query_one(widget).render())


def test_a_field_is_set_with_its_help_and_errors_beside_it(synthetic: Synthetic, drive) -> None:
    async def steps(app, pilot):
        await open_form(app, pilot)
        form(app).move_to("Certification certification.n")
        await pilot.press("enter")
        assert isinstance(app.screen, PromptScreen)
        assert "Estimation draws" in str(app.screen.query_one("#ask-help").render())
        app.screen.query_one(Input).value = "0"
        await pilot.press("enter")
        assert "greater than or equal to 1" in str(app.screen.query_one("#ask-problem").render())
        app.screen.query_one(Input).value = "500"
        await pilot.press("enter")
        await checked(app, pilot)
        assert "n = 500" in shown(app, "#compose-toml")
        assert "valid. 2 points" in shown(app, "#compose-plan")
        await pilot.press("delete")
        await checked(app, pilot)
        assert "n = 500" not in shown(app, "#compose-toml")

    drive(steps)


def test_choices_methods_and_folding(synthetic: Synthetic, drive) -> None:
    async def steps(app, pilot):
        await open_form(app, pilot)
        form(app).move_to("Model model.name")
        await pilot.press("space")
        assert isinstance(app.screen, ChooseScreen)
        names = [name for name, _ in app.screen._options]
        app.screen.query_one(OptionList).highlighted = names.index("resnet20")
        await pilot.press("enter")
        await checked(app, pilot)
        assert 'model = "resnet20"' in shown(app, "#compose-toml")
        await pilot.press("plus", "enter")
        await checked(app, pilot)
        await until(
            pilot, lambda: any(row.key.startswith("Method 2") for row in form(app).rows), "second method"
        )
        assert "[[method]]" in shown(app, "#compose-toml")
        await pilot.press("minus")
        assert len(app.mode_screen.work.draft.methods) == 2
        form(app).move_to("Method 2 method.1.name")
        await pilot.press("minus")
        await checked(app, pilot)
        assert len(app.mode_screen.work.draft.methods) == 1
        await until(pilot, lambda: any(row.key == "Method" for row in form(app).rows), "one method")
        form(app).move_to("Method method.0.name")
        await pilot.press("minus")
        assert len(app.mode_screen.work.draft.methods) == 1
        form(app).move_to("Training")
        rows = len(form(app).rows)
        await pilot.press("enter")
        assert len(form(app).rows) < rows

    drive(steps)


def test_a_choice_explains_the_name_under_the_cursor(synthetic: Synthetic, drive) -> None:
    def about(app):
        return str(app.screen.query_one("#ask-about").render())

    async def steps(app, pilot):
        await open_form(app, pilot)
        form(app).move_to("Method method.0.name")
        await pilot.press("enter")
        await pilot.press(*"macer")
        await until(pilot, lambda: "no attack" in about(app), "what MACER is")
        await pilot.press("escape")
        form(app).move_to("Certification certification.certificates")
        await pilot.press("enter")
        app.screen.query_one(Input).value = "cohen, l-bound"
        await until(pilot, lambda: "exact averages" in about(app), "what the L-bound is")
        assert "CERTIFY" not in about(app)

    drive(steps)


def test_verifiers_and_attacks_are_tables_of_the_form(synthetic: Synthetic, drive) -> None:
    async def steps(app, pilot):
        await open_form(app, pilot)
        for key, name, title in (("V", "ibp", "Verification"), ("A", "ddn", "Attack")):
            await pilot.press(key)
            await until(pilot, lambda: isinstance(app.screen, ChooseScreen), "the choice")
            names = [found for found, _ in app.screen._options]
            app.screen.query_one(OptionList).highlighted = names.index(name)
            await pilot.press("enter")
            await checked(app, pilot)
            await until(pilot, lambda t=title: any(row.key == t for row in form(app).rows), title)
        text = shown(app, "#compose-toml")
        assert 'verifier = "ibp"' in text
        assert 'attack = "ddn"' in text
        form(app).move_to("Verification verification.0.radii")
        await pilot.press("enter")
        app.screen.query_one(Input).value = "2/255, 0.1"
        await pilot.press("enter")
        await checked(app, pilot)
        assert "2/255" in shown(app, "#compose-toml")
        assert "verify" in shown(app, "#compose-plan")
        form(app).move_to("Attack attack.0.steps")
        await pilot.press("enter")
        app.screen.query_one(Input).value = "10, 20"
        await pilot.press("enter")
        assert app.screen.query_one(Input), "two values are refused: these tables have no grid"
        await pilot.press("escape")
        form(app).move_to("Attack attack.0.attack")
        await pilot.press("minus")
        await checked(app, pilot)
        assert app.mode_screen.work.draft.tables("attack") == []
        assert "attack =" not in shown(app, "#compose-toml")

    drive(steps)


def asked(app) -> str:
    """What the dialogue says is wrong."""
    return "".join(str(found.render()) for found in app.screen.query("#ask-problem"))


def test_save_open_and_template(synthetic: Synthetic, drive, tmp_path) -> None:
    file = tmp_path / "mine.toml"

    async def steps(app, pilot):
        await open_form(app, pilot)
        await pilot.press("T")
        await until(pilot, lambda: isinstance(app.screen, ChooseScreen), "templates")
        names = [name for name, _ in app.screen._options]
        app.screen.query_one(OptionList).highlighted = names.index("quickstart")
        await pilot.press("enter")
        await until(pilot, lambda: 'name = "quickstart"' in shown(app, "#compose-toml"), "the template")
        await pilot.press("w")
        await answered_with(app, pilot, str(file))
        await until(pilot, lambda: app.mode_screen.work.file == file, "word that it is written")
        assert tomli.loads(file.read_text())["name"] == "quickstart"
        app.mode_screen.work.draft.put("seed", 5, grid=False)
        await pilot.press("w")
        await pilot.press("enter")
        await until(pilot, lambda: tomli.loads(file.read_text()).get("seed") == 5, "the file replaced")
        # The dialog is open until the result of the background job arrives.
        await until(pilot, lambda: app.screen is app.mode_screen, "end of the dialog")
        (tmp_path / "other.toml").write_text('name = "other"\n')
        await pilot.press("w")
        await answered_with(app, pilot, str(tmp_path / "other.toml"))
        await until(pilot, lambda: "already exists" in asked(app), "refusal")
        await pilot.press("escape", "o")
        await answered_with(app, pilot, str(tmp_path / "none.toml"))
        await until(pilot, lambda: "no such file" in asked(app), "word of it")
        await pilot.press("escape", "o")
        await answered_with(app, pilot, str(tmp_path / "other.toml"))
        await until(pilot, lambda: 'name = "other"' in shown(app, "#compose-toml"), "the other file")
        await checked(app, pilot)
        await pilot.press("u")
        assert not isinstance(app.screen, ConfirmScreen)

    drive(steps)


def test_a_value_is_shown_before_it_is_checked(synthetic: Synthetic, drive, monkeypatch) -> None:
    ready = threading.Event()
    ready.set()
    made = sweep_files.compose

    def slowly(draft):
        ready.wait(20)
        return made(draft)

    monkeypatch.setattr(sweep_files, "compose", slowly)

    async def steps(app, pilot):
        await open_form(app, pilot)
        app.screen.grid.move_to("Noise and repetition sigma")
        ready.clear()
        await pilot.press("enter", "ctrl+u", "1", "full_stop", "5", "enter")
        assert any("sigma" in line and "1.5" in line for line in on_screen(app))
        await until(pilot, lambda: "checking" in shown(app, "#compose-plan"), "word that the plan is old")
        await pilot.press("delete")
        assert not any("sigma" in line and "1.5" in line for line in on_screen(app))
        ready.set()
        await checked(app, pilot)

    drive(steps)


def test_a_field_is_looked_for_when_there_are_any_and_the_sweep_file_is_copied(
    synthetic: Synthetic, drive, monkeypatch
) -> None:
    """Before the declarations are read, a list of fields would be empty, and stay so."""
    wait, copied = threading.Event(), []
    real = sweep_files.compose
    monkeypatch.setattr(sweep_files, "compose", lambda draft: (wait.wait(20), real(draft))[1])
    monkeypatch.setattr(Dashboard, "copy_to_clipboard", lambda _app, text: copied.append(text))

    async def steps(app, pilot):
        await pilot.press("3", "slash")
        assert not isinstance(app.screen, ChooseScreen)
        assert any("still loading" in note.message for note in app._notifications)
        wait.set()
        await until(pilot, lambda: app.mode_screen.grid.rows, "the form")
        await pilot.press("slash", *"epochs", "enter", "y")
        assert [name for name, _ in app.screen._options] == ["field", "sweep file"]
        await pilot.press("down", "enter")
        assert copied == [Draft(START).toml()]

    drive(steps)


def test_what_is_typed_right_after_t_is_for_the_templates(synthetic: Synthetic, drive) -> None:
    async def steps(app, pilot):
        await open_form(app, pilot)
        # In the form x would add an attack.
        type_at_once(app, "T", "x", "enter")
        await until(
            pilot, lambda: app.mode_screen.work.draft.raw["name"] == "quickstart", "the first template"
        )
        await until(pilot, lambda: len(app.screen_stack) == 1, "the form")
        await checked(app, pilot)
        type_at_once(app, "T", "down", "enter", "u")
        await pilot.pause()
        asked = "".join(str(widget.render()) for widget in app.screen.query("#confirm-text"))
        assert "quickstart: valid" not in asked, "it asked about the sweep before"

    drive(steps)


def test_many_templates_are_narrowed_by_typing(synthetic: Synthetic, drive) -> None:
    async def steps(app, pilot):
        await open_form(app, pilot)
        type_at_once(app, "T", *"smoothmix2021", "space", *"mnist", "enter")
        await until(
            pilot, lambda: app.mode_screen.work.draft.raw["name"] == "smoothmix2021-mnist", "the template"
        )
        await until(pilot, lambda: len(app.screen_stack) == 1, "the form")
        await pilot.press("T", *"imagenet")
        await until(pilot, lambda: app.screen._left != app.screen._options, "fewer")
        assert all("imagenet" in " ".join(option).lower() for option in app.screen._left)
        second = app.screen._left[1][0]
        type_at_once(app, "down", "enter")
        await until(pilot, lambda: len(app.screen_stack) == 1, "the form")
        assert app.mode_screen.work.draft.raw["name"] == second
        await pilot.press("T", *"nothing", "enter")
        assert isinstance(app.screen, ChooseScreen)
        await pilot.press("escape")
        assert len(app.screen_stack) == 1

    drive(steps, (80, 24))


@pytest.mark.parametrize("size", [(80, 24), (60, 15)])
def test_a_long_plan_begins_at_its_first_line_with_the_answers_in_sight(
    synthetic: Synthetic, drive, size: tuple[int, int]
) -> None:
    async def steps(app, pilot):
        await open_form(app, pilot)
        app.mode_screen.work.draft.put("seed", list(range(20)), grid=True)
        app.mode_screen.check()
        await checked(app, pilot)
        await pilot.press("u")
        await until(
            pilot,
            lambda: any("my-sweep: valid. 40 points" in line for line in on_screen(app)),
            "its beginning",
        )
        assert any("cost" in line for line in on_screen(app))
        assert any("No (n)" in line and "Submit (y)" in line for line in on_screen(app))
        before = on_screen(app)
        await pilot.press("pagedown")
        assert on_screen(app) != before

    drive(steps, size)


def test_submit_states_the_plan_and_asks(synthetic: Synthetic, drive, monkeypatch) -> None:
    monkeypatch.setattr("rsctl.cluster.local.backend.start_detached", lambda *_: None)

    async def steps(app, pilot):
        await open_form(app, pilot)
        await checked(app, pilot)
        await pilot.press("u")
        assert isinstance(app.screen, ConfirmScreen)
        said = str(app.screen.query_one("#confirm-text").render())
        assert "cost" in said
        assert "2 models" in said
        await pilot.press("n")
        assert "my-sweep" not in synthetic.store.sweep_names()
        await pilot.press("u", "y")
        await until(pilot, lambda: "my-sweep" in synthetic.store.sweep_names(), "the sweep")
        await until(pilot, lambda: any("submitted" in n.message for n in app._notifications), "word of it")
        await pilot.press("1")
        await until(pilot, lambda: app.screen.sweep_name() == "my-sweep", "the sweep under the cursor")
        assert app.screen.grid.rows[app.screen.grid.cursor].open
        await pilot.press("3")
        app.mode_screen.work.draft.put("seed", 3, grid=False)
        app.mode_screen.check()
        await checked(app, pilot)
        await until(pilot, lambda: app.mode_screen.composed.replaces, "word that it changes a sweep")
        await pilot.press("u")
        said = str(app.screen.query_one("#confirm-text").render())
        assert "this changes its runs (results are kept)" in said
        assert "adds gaussian-digits-s0.25-" in said
        assert "drops gaussian-digits-s0.25-" in said

    drive(steps)


def test_special_keys_and_names_are_marked(synthetic: Synthetic, drive) -> None:
    """They are folded with the advanced keys, and come last in a list of names."""
    sections = {section.title: section for section in compose(Draft(START)).sections}
    certification, model = sections["Certification"], sections["Model"]
    special = {field.label for field in certification.fields if field.special}
    assert special == {"gradient", "transfer", "compile"}
    assert special <= {field.label for field in certification.expert}
    assert model.fields[0].options[-1] == ("linf-distance", "special: ℓ∞-distance network: 1-Lipschitz in ℓ∞")
    certificates = next(field.options for field in certification.fields if field.label == "certificates")
    assert {name for name, title in certificates if title.startswith("special: ")} == {
        name for name, _ in certificates if name.startswith(("second-order", "transfer"))
    }

    async def steps(app, pilot):
        await open_form(app, pilot)
        keys = [row.key for row in form(app).rows]
        assert "Certification certification.compile" not in keys
        form(app).move_to("Certification expert")
        await pilot.press("right")
        assert form(app).move_to("Certification certification.compile")
        assert form(app).rows[form(app).cursor].cells[0] == "compile (special)"
        await until(pilot, lambda: "few sweeps need it" in shown(app, "#compose-help"), "its help")

    drive(steps)
