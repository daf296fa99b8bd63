"""The draft of the form: nothing that somebody set is lost, and its fields are found."""

from __future__ import annotations

from pathlib import Path

import pytest
from dashboard_store import Synthetic
from piloting import on_screen, settled, until
from test_compose import answered_with, checked, form, open_form, shown
from textual.widgets import Input

from rsctl.tui.compose import drafts
from rsctl.tui.dialogs.confirm import ConfirmScreen
from rsctl.tui.dialogs.prompt import ChooseScreen, PromptScreen


async def set_seed(app, pilot, value: str) -> None:
    assert form(app).move_to("Noise and repetition seed")
    await pilot.press("enter")
    await answered_with(app, pilot, value)
    await checked(app, pilot)


def question(app) -> str:
    return "".join(str(found.render()) for found in app.screen.query("#confirm-text"))


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
def test_leaving_with_unsaved_changes_asks_and_offers_them_next_time(
    synthetic: Synthetic, drive, key: str
) -> None:
    async def first(app, pilot):
        await open_form(app, pilot)
        await set_seed(app, pilot, "7")
        await pilot.press("1", key)
        assert isinstance(app.screen, ConfirmScreen)
        assert "'my-sweep' has unsaved changes" in question(app)
        await pilot.press("n")
        assert app._exit is False
        await pilot.press(key, "y")
        assert app._exit is True

    async def second(app, pilot):
        await pilot.press("3")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen), "the offer")
        assert "'my-sweep' was left with unsaved changes just now" in question(app)
        await pilot.press("y")
        await checked(app, pilot)
        assert app.mode_screen.work.draft.raw["seed"] == 7
        await pilot.press("ctrl+z")
        assert "seed" not in app.mode_screen.work.draft.raw
        await pilot.press("ctrl+z")
        await checked(app, pilot)
        assert app.mode_screen.work.draft.raw["seed"] == 7

    drive(first)
    drive(second)


def test_a_kill_loses_nothing_and_what_is_saved_is_not_offered(
    synthetic: Synthetic, drive, tmp_path: Path
) -> None:
    async def killed(app, pilot):
        await open_form(app, pilot)
        await set_seed(app, pilot, "7")
        await until(pilot, lambda: drafts.place().exists(), "the draft on disk")

    async def saved(app, pilot):
        await pilot.press("3")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen), "the offer")
        await pilot.press("y", "w")
        await answered_with(app, pilot, str(tmp_path / "mine.toml"))
        await until(pilot, lambda: app.mode_screen.work.file, "word of it")
        await until(pilot, lambda: not drafts.place().exists(), "no draft")
        await pilot.press("q")
        assert app._exit is True, "nothing is unsaved"

    async def nothing(app, pilot):
        await open_form(app, pilot)
        await checked(app, pilot)
        assert len(app.screen_stack) == 1

    drive(killed)
    drive(saved)
    assert "seed = 7" in (tmp_path / "mine.toml").read_text()
    drive(nothing)


DAMAGED = [
    'file = 3\n[draft]\nmethod = "x"\ndataset = 5',
    *(pytest.param(text, marks=pytest.mark.long) for text in ("no toml", "draft = 5", "")),
]


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_draft_is_named_and_does_no_harm(synthetic: Synthetic, drive, text: str) -> None:
    drafts.place().parent.mkdir(parents=True)
    drafts.place().write_text(text)

    async def steps(app, pilot):
        await pilot.press("3")
        await until(
            pilot,
            lambda: (
                isinstance(app.screen, ConfirmScreen) or any("draft" in n.message for n in app._notifications)
            ),
            "word of it",
        )
        assert app.is_running

    drive(steps)


def test_another_file_over_unsaved_changes_asks_and_undo_brings_them_back(
    synthetic: Synthetic, drive
) -> None:
    async def steps(app, pilot):
        await open_form(app, pilot)
        await set_seed(app, pilot, "7")
        await pilot.press("T")
        assert "unsaved changes" in question(app)
        await pilot.press("n")
        await settled(app)
        await pilot.press("T", "y")
        await until(pilot, lambda: isinstance(app.screen, ChooseScreen), "the templates")
        await pilot.press(*"quick", "enter")
        await checked(app, pilot)
        assert app.mode_screen.work.draft.raw["name"] == "quickstart"
        await pilot.press("ctrl+z")
        await checked(app, pilot)
        assert (app.mode_screen.work.draft.raw["name"], app.mode_screen.work.draft.raw["seed"]) == (
            "my-sweep",
            7,
        )
        assert app.mode_screen.work.unsaved == "my-sweep"

    drive(steps)


def test_one_step_back_of_each_kind_of_change(synthetic: Synthetic, drive) -> None:
    async def steps(app, pilot):
        await open_form(app, pilot)
        await checked(app, pilot)
        await pilot.press("ctrl+z")
        assert any("Nothing to undo" in n.message for n in app._notifications)
        draft = app.mode_screen.work.draft.copy().raw
        for keys in (["plus", *"heat", "enter"], ["V", "enter"], ["A", "enter"]):
            await pilot.press(*keys)
            assert app.mode_screen.work.draft.raw != draft
            await pilot.press("ctrl+z")
            assert app.mode_screen.work.draft.raw == draft
        form(app).move_to("Certification certification.n")
        await pilot.press("delete", "ctrl+z")
        assert app.mode_screen.work.draft.raw == draft

    drive(steps)


def test_fields_for_experts_are_folded_apart_and_found_by_name(synthetic: Synthetic, drive) -> None:
    async def steps(app, pilot):
        await open_form(app, pilot)
        await checked(app, pilot)
        assert form(app).move_to("Certification certification.n")
        assert not form(app).move_to("Certification certification.block")
        assert form(app).move_to("Certification expert")
        await pilot.press("right")
        assert form(app).move_to("Certification certification.block")
        assert not form(app).move_to("Training training.crop_padding")
        await pilot.press("slash", *"crop", "enter")
        assert form(app).key == "Training training.crop_padding"
        await pilot.press("enter")
        await answered_with(app, pilot, "2")
        await checked(app, pilot)
        assert "crop_padding = 2" in shown(app, "#compose-toml")
        await pilot.press("delete")
        await checked(app, pilot)
        assert form(app).key == "Training training.crop_padding", "it stays in sight"
        await pilot.press("slash", *"resources.attack.minutes", "enter")
        assert form(app).key == "Resources for attack resources.attack.minutes"

    drive(steps, (80, 24))


def test_what_a_file_sets_or_has_wrong_is_in_sight(synthetic: Synthetic, drive) -> None:
    async def steps(app, pilot):
        await open_form(app, pilot)
        app.mode_screen.work.draft.put("certification.block", 7, grid=False)
        app.mode_screen.check()
        await checked(app, pilot)
        await pilot.pause()
        assert form(app).move_to("Certification certification.block")

    drive(steps)


def test_prompts_complete_names_and_files(synthetic: Synthetic, drive, tmp_path: Path) -> None:
    folder = tmp_path / "sweeps of mine"
    folder.mkdir()
    for name in ("alpha.toml", "alphabet.toml", "beta.toml"):
        (folder / name).write_text(f'name = "{name.removesuffix(".toml")}"\n')

    async def steps(app, pilot):
        await open_form(app, pilot)
        await checked(app, pilot)
        await pilot.press("o")
        field = app.screen.query_one(Input)
        field.value = f"{folder}/al"
        await pilot.press("tab")
        await until(pilot, lambda: field.value == f"{folder}/alpha", "as much as is alike")
        await until(pilot, lambda: any("alphabet.toml" in line for line in on_screen(app)), "both names")
        await pilot.press(".", "tab")
        await until(pilot, lambda: field.value == f"{folder}/alpha.toml", "the file")
        await pilot.press("enter")
        await until(pilot, lambda: app.mode_screen.work.draft.raw.get("name") == "alpha", "the file")
        await until(pilot, lambda: len(app.screen_stack) == 1, "the form")
        assert form(app).move_to("Certification certification.certificates")
        await pilot.press("enter")
        assert isinstance(app.screen, PromptScreen)
        field = app.screen.query_one(Input)
        field.value = "runner-up, seq"
        await pilot.press("tab")
        await until(pilot, lambda: field.value == "runner-up, sequential", "the certificate")
        await pilot.press("escape")

    drive(steps, (80, 24))
