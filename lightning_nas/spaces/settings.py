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


def _value(key: str, text: str) -> Setting:
    if key == "operations":
        return tuple(text.split(","))
    if text in ("true", "false"):
        return text == "true"
    return int(text) if text.isdigit() else text


def parse_space_name(name: str) -> tuple[str, dict[str, Setting]]:
    """Split a name into its base and its settings.

    Example:
        >>> parse_space_name("darts?nodes=5&distinct_inputs=false")
        ('darts', {'nodes': 5, 'distinct_inputs': False})
    """
    base, _, query = name.partition("?")
    return base, {key: _value(key, text) for key, text in parse_qsl(query, keep_blank_values=True)}
