"""Letter form: the arguments of a dead letter, as JSON."""

import json
from typing import Any

from django import forms
from django.forms.fields import InvalidJSONInput

from bridge.nesting import TOO_DEEP, depth_exceeds
from django_app.admin.decision import Arguments


class ArgumentField(forms.JSONField):
    """Also refuses JSON that Python can't read. It shows half of a character, which no page can have, as an escape."""

    def to_python(self, value: Any) -> Any:
        try:
            found = super().to_python(value)
        except (ValueError, RecursionError) as error:
            raise forms.ValidationError("The JSON has a number that is too long, or is nested too deeply.") from error
        if depth_exceeds(found):
            raise forms.ValidationError(f"The JSON can't be sent: {TOO_DEEP}.")
        return found

    def bound_data(self, data: Any, initial: Any) -> Any:
        try:
            return super().bound_data(data, initial)
        except (ValueError, RecursionError):
            return InvalidJSONInput(data)

    def prepare_value(self, value: Any) -> str:
        return str(super().prepare_value(value)).encode("utf-8", "backslashreplace").decode()


class ArgumentsForm(forms.Form):
    args = ArgumentField(
        label="Arguments",
        required=False,
        help_text="A JSON array: the positional arguments.",
        widget=forms.Textarea(attrs={"rows": 6, "cols": 80, "class": "vLargeTextField", "spellcheck": "false"}),
    )
    kwargs = ArgumentField(
        label="Keyword arguments",
        required=False,
        help_text="A JSON object: the names and values of further arguments.",
        widget=forms.Textarea(attrs={"rows": 4, "cols": 80, "class": "vLargeTextField", "spellcheck": "false"}),
    )

    @classmethod
    def of(cls, call: Arguments) -> "ArgumentsForm":
        return cls(initial={"args": call.args, "kwargs": call.kwargs})

    def clean_args(self) -> list[Any]:
        value = self.cleaned_data["args"]
        if value in (None, ""):
            return []
        if not isinstance(value, list):
            raise forms.ValidationError("The arguments must be a JSON array, such as [42].")
        _check(value)
        return value

    def clean_kwargs(self) -> dict[str, Any]:
        value = self.cleaned_data["kwargs"]
        if value in (None, ""):
            return {}
        if not isinstance(value, dict):
            raise forms.ValidationError('The keyword arguments must be a JSON object, such as {"force": true}.')
        _check(value)
        return value


def _check(value: Any) -> None:
    """Refuses what PostgreSQL's jsonb does not take."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        text.encode()
    except UnicodeError as error:
        raise forms.ValidationError("A text contains half of a character, which the database can't store.") from error
    except ValueError as error:
        raise forms.ValidationError("A number is not a JSON number (NaN or Infinity).") from error
    if "\\u0000" in text.replace("\\\\", ""):
        raise forms.ValidationError("A text contains the character NUL, which the database can't store.")
