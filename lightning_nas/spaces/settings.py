"""Names of spaces that carry their settings, as ``darts?nodes=5&concat=loose_ends``."""

from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode

Setting = int | str | bool | tuple[str, ...]


def _text(value: Setting) -> str:
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def space_name(base: str, defaults: Mapping[str, Setting], settings: Mapping[str, Setting]) -> str:
    """Return ``base``, followed by the settings that differ from the defaults.

    Example:
        >>> space_name("darts", {"nodes": 4, "concat": "all"}, {"nodes": 5, "concat": "all"})
        'darts?nodes=5'
    """
    changed = {key: _text(value) for key, value in settings.items() if value != defaults[key]}
    return f"{base}?{urlencode(changed, safe=',')}" if changed else base


def _value(key: str, text: str, default: Setting) -> Setting:
    if isinstance(default, tuple):
        return tuple(text.split(","))
    if isinstance(default, bool) and text in ("true", "false"):
        return text == "true"
    if isinstance(default, str) or (type(default) is int and text.isdigit()):
        return type(default)(text)
    raise ValueError(
        f"Expected {key!r} to be {'true or false' if isinstance(default, bool) else 'a number'} but got {text!r}"
    )


def parse_settings(query: str, defaults: Mapping[str, Setting]) -> dict[str, Setting]:
    """Read the part of a name behind its ``?``; a setting has the type of its default.

    Raises:
        ValueError: If there is no such setting, or its value is of another type.

    Example:
        >>> parse_settings("nodes=5&distinct_inputs=false", {"nodes": 4, "distinct_inputs": True})
        {'nodes': 5, 'distinct_inputs': False}
    """
    given = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := given.keys() - defaults.keys():
        raise ValueError(f"Expected settings of {sorted(defaults)} but got {sorted(unknown)}")
    return {key: _value(key, text, defaults[key]) for key, text in given.items()}
