"""What is typed into a field, and what is said of it."""

from __future__ import annotations

from typing import Any

import pytest

from rsctl.config.sections import Certification
from rsctl.errors import InputError
from rsctl.tui.compose.form_text import parser


@pytest.mark.parametrize(("text", "value"), [("auto", ("auto", False)), ("1000", (1000, False))])
def test_a_field_of_several_types_takes_each(text: str, value: Any) -> None:
    assert parser(Certification.model_fields["tile"], False, False)(text) == value


@pytest.mark.parametrize(
    ("key", "text", "says"),
    [
        ("tile", "big", "big: input should be a valid integer or 'auto'."),
        ("tile", "0", "0: input should be greater than or equal to 1 or 'auto'."),
        ("alpha", "2", "2: input should be less than 1."),
        ("arithmetic", "exakt", "exakt: input should be 'float' or 'exact'."),
    ],
)
def test_what_is_allowed_is_said_of_every_type(key: str, text: str, says: str) -> None:
    with pytest.raises(InputError) as refused:
        parser(Certification.model_fields[key], False, False)(text)
    assert str(refused.value) == says
