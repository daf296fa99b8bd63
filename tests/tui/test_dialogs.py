"""Dialogues: lists that filter by typing, what a q does, and what was typed when something is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from dashboard_store import Synthetic
from piloting import on_screen, settled, until
from test_app import type_at_once
from test_compose import answered_with, asked, checked, form, open_form, shown
from textual.widgets import Input, OptionList

from rsctl.tui.dialogs.prompt import ChooseScreen, PromptScreen


def names_left(app) -> list[str]:
    listed = app.screen.query_one(OptionList)
    return [str(listed.get_option_at_index(i).prompt).split()[0] for i in range(listed.option_count)]


def test_the_method_picker_filters_by_typing(synthetic: Synthetic, drive) -> None:
    async def steps(app, pilot):
        await open_form(app, pilot)
        await checked(app, pilot)
        type_at_once(app, "plus", *"consis", "enter")
        await until(pilot, lambda: len(app.mode_screen.work.draft.methods) == 2, "a second method")
        assert app.mode_screen.work.draft.methods[1] == {"name": "consistency"}
        await pilot.press("plus", *"consis")
        assert names_left(app)[0] == "consistency"
        await pilot.press("x")
        assert names_left(app) == []
        assert any("No match for 'consisx'" in line for line in on_screen(app))
        await pilot.press("enter")
        assert isinstance(app.screen, ChooseScreen), "nothing is chosen"
        await pilot.press("backspace")
        assert names_left(app)[0] == "consistency"
        assert not any("No match" in line for line in on_screen(app))

    drive(steps)


@pytest.mark.parametrize(
    ("field", "typed", "left"),
    [
        ("Training training.schedule", "cos", ["cosine"]),
        ("Model model.name", "resnet1", ["resnet18", "resnet110"]),
        ("Certification certification.split", "v", ["val"]),
    ],
)
def test_so_do_the_choices_of_every_field(
    synthetic: Synthetic, drive, field: str, typed: str, left: list[str]
) -> None:
    async def steps(app, pilot):
        await open_form(app, pilot)
        assert form(app).move_to(field)
        await pilot.press("enter", *typed)
        assert set(left) <= set(names_left(app))
        assert names_left(app)[0].startswith(typed)
        await pilot.press("escape")

    drive(steps)


def test_other_modes_lists_filter_too(synthetic: Synthetic, drive) -> None:
    async def steps(app, pilot):
        await pilot.press("2")
        await until(pilot, lambda: app.mode_screen.certificates, "the certificates")
        for action, typed, name in (
            ("sweep", "fin", "finished"), ("certificate", "coh", "cohen"), ("export", "csv", "csv"),
        ):  # fmt: skip
            await app.mode_screen.run_action(f"part('controls', '{action}')")
            await until(pilot, lambda: isinstance(app.screen, ChooseScreen), "the list")
            await pilot.press(*typed)
            assert names_left(app)[0] == name
            await pilot.press("escape")

    drive(steps)


def test_a_q_closes_a_list_and_another_does_not_leave_rsctl(synthetic: Synthetic, drive) -> None:
    async def steps(app, pilot):
        await open_form(app, pilot)
        await checked(app, pilot)
        for key in ("plus", "u", "question_mark"):
            await pilot.press(key)
            assert len(app.screen_stack) == 2, (key, [n.message for n in app._notifications], app.focused)
            type_at_once(app, "q", "q")
            await settled(app)
            assert len(app.screen_stack) == 1
            assert app._exit is False
        await pilot.press("j", "q")
        assert app._exit is True, "a q of its own leaves"

    drive(steps)


def test_a_q_is_a_letter_of_a_name(synthetic: Synthetic, drive) -> None:
    async def steps(app, pilot):
        await open_form(app, pilot)
        await pilot.press("plus", "s", "q")
        assert app.screen.query_one(Input).value == "sq"
        await pilot.press("escape", "T", *"quick")
        assert names_left(app)[0] == "quickstart"
        await pilot.press("escape")

    drive(steps)


def test_a_refused_save_keeps_the_dialogue_and_what_was_typed(
    synthetic: Synthetic, drive, tmp_path: Path
) -> None:
    (tmp_path / "other.toml").write_text("not mine")

    async def steps(app, pilot):
        await open_form(app, pilot)
        for refused, why in (
            (tmp_path / "other.toml", "already exists"),
            (tmp_path / "other.toml" / "below.toml", "a part of the path is a file"),
        ):
            await pilot.press("w")
            await answered_with(app, pilot, str(refused))
            await until(pilot, lambda w=why: w in asked(app), "the refusal")
            assert app.screen.query_one(Input).value == str(refused)
            await pilot.press("escape")
        await pilot.press("w")
        await answered_with(app, pilot, str(tmp_path / "other.toml"))
        await until(pilot, lambda: "already exists" in asked(app), "the refusal")
        field = app.screen.query_one(Input)
        field.cursor_position = len(field.value) - len(".toml")
        await pilot.press("2", "enter")
        await until(pilot, lambda: len(app.screen_stack) == 1, "the form")
        assert (tmp_path / "other2.toml").read_text().startswith('name = "my-sweep"')
        assert (tmp_path / "other.toml").read_text() == "not mine"

    drive(steps)


def test_so_do_a_refused_export_and_a_file_that_can_not_be_opened(
    synthetic: Synthetic, drive, tmp_path: Path
) -> None:
    (tmp_path / "table.md").write_text("not mine")

    async def steps(app, pilot):
        await open_form(app, pilot)
        await pilot.press("o")
        await answered_with(app, pilot, str(tmp_path / "none.toml"))
        await until(pilot, lambda: "no such file" in asked(app), "word of it")
        assert app.screen.query_one(Input).value == str(tmp_path / "none.toml")
        await pilot.press("escape")
        assert "my-sweep" in shown(app, "#compose-toml")
        await pilot.press("2")
        await until(pilot, lambda: app.mode_screen.grid.rows, "the results")
        await app.mode_screen.run_action("part('controls', 'export')")
        await until(pilot, lambda: isinstance(app.screen, ChooseScreen), "the formats")
        await pilot.press(*"md", "enter")
        await until(pilot, lambda: isinstance(app.screen, PromptScreen), "the question")
        await answered_with(app, pilot, str(tmp_path / "table.md"))
        await until(pilot, lambda: "wasn't written by rsctl" in asked(app), "the refusal")
        assert app.screen.query_one(Input).value == str(tmp_path / "table.md")
        assert (tmp_path / "table.md").read_text() == "not mine"

    drive(steps)
