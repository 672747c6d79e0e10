"""A run's options in a YAML file: ``--config`` reads them, ``--print-config`` writes them.

Values are texts, read like those of the command line: ``lr: 1e-3`` is a number and ``precision: 32`` a name, whatever
YAML's own types would make of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from curvae._checks import nearest, shown
from curvae._extras import require
from curvae.errors import InputError
from curvae.files import open_regular

# of what a person writes; more is another file
_LARGEST = 1_000_000
_KINDS = {"bool": bool, "int": int, "float": float}
_NOTHING = ("", "null", "~")
# called by the names of their options
_OUT, _SET = "out", "set"
# options that are no fields of a configuration: these become part of one, those are said anew each time
_JOINED = {"batch_fraction": "str", "shared": "bool"}
_SPOKEN = ("config", "resume", "trust", "print_config", "json")
# a field that no option gives: it follows from the data
_FOUND = "condition_size"


def read_settings(path: Path) -> dict[str, Any]:
    """The options that a file gives, by the names of :class:`~curvae.runs.RunConfig`'s fields, and ``"out"``.

    Raises:
        InputError: the file cannot be read, is not a mapping of names to values, or has a name that is not an option
            or a value that its option does not take.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "run.yaml"
        >>> _ = path.write_text("data: toy.npy\\nlr: 1e-3\\nset: {depth: 3}\\n")
        >>> read_settings(path)
        {'data': 'toy.npy', 'lr': 0.001, 'model_set': {'depth': '3'}}
    """
    from curvae.runs import RunConfig

    kinds = {field.name: str(field.type) for field in dataclasses.fields(RunConfig) if field.name != _FOUND}
    kinds = {_SET if name == "model_set" else name: kind for name, kind in kinds.items()} | _JOINED | {_OUT: "str"}
    found = {}
    for name, value in _mapping(path).items():
        if (spoken := name.replace("-", "_").strip("_")) in _SPOKEN:
            option = "--" + spoken.replace("_", "-")
            raise InputError(f"{path} has {shown(name)}; say {option} on the command line and take it out of the file")
        if name not in kinds:
            hint = nearest(name.replace("-", "_"), kinds) or f"; they are {', '.join(kinds)}"
            raise InputError(f"{path} has {shown(name)}, which is not an option{hint}")
        try:
            if name == _SET:
                found["model_set"] = _settings(value)
            elif (read := _value(name, value, kinds[name])) is not None:
                found[name] = read
        except InputError as error:
            raise InputError(f"in {path}, {error}") from error
    return found


def write_settings(values: Mapping[str, Any]) -> str:
    """The YAML text that :func:`read_settings` reads back.

    Example:
        >>> print(write_settings({"data": "toy.npy", "size": None, "lr": 0.001, "model_set": {"depth": "3"}}), end="")
        data: toy.npy
        size: null
        lr: 0.001
        set:
          depth: '3'
    """
    require("--print-config needs", "yaml")
    import yaml

    named = {_SET if name == "model_set" else name: value for name, value in values.items()}
    return yaml.safe_dump(named, sort_keys=False, allow_unicode=True)


def _mapping(path: Path) -> dict[str, Any]:
    require("--config needs", "yaml")
    import yaml

    class Loader(yaml.BaseLoader):  # type: ignore[misc]
        """Texts, lists and mappings of them, in which no name comes twice."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise InputError(f"{path} has {shown(twice)} twice; keep one of them")
            return super().construct_mapping(node, deep)

    try:
        with open_regular(path) as file:
            text = file.read(_LARGEST + 1)
        if len(text) > _LARGEST:
            raise InputError(f"{path} is not a file of options: it has more than {_LARGEST} bytes")
        content = yaml.load(text, Loader)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror or error}; expected a YAML file of options"
        ) from error
    except RecursionError:
        raise InputError(f"{path} is nested too deeply; expected lines such as: beta: 0.2") from None
    except (yaml.YAMLError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark is not None else ""
        what = getattr(error, "problem", None) or "not text in UTF-8"
        raise InputError(f"{path} is not valid YAML{where}: {what}; expected lines such as: beta: 0.2") from error
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise InputError(f"{path} is not a mapping of options to values; expected lines such as: beta: 0.2")
    return content


def _value(name: str, value: Any, kind: str) -> Any:
    """One option; None where the file leaves it open."""
    from curvae.runs.settings import plain

    if not isinstance(value, str):
        raise InputError(f"{name} is a {'list' if isinstance(value, list) else 'mapping'}; expected one value")
    if value.lower() in _NOTHING:
        return None
    return plain(name, value, _KINDS.get(kind.removesuffix(" | None"), str))


def _settings(value: Any) -> dict[str, str]:
    """Of a model; a list is written with commas, as on the command line."""
    if isinstance(value, str) and value.lower() in _NOTHING:
        return {}
    if not isinstance(value, dict):
        raise InputError(f"{_SET} is {shown(value)}; expected names with a value each, for example {{depth: 3}}")
    texts = {}
    for name, entry in value.items():
        if isinstance(entry, list) and all(isinstance(one, str) for one in entry):
            texts[name] = ",".join(entry)
        elif isinstance(entry, str):
            texts[name] = entry
        else:
            raise InputError(
                f"{_SET} has {shown(name)} with something that is not a value; expected text, a number or a list"
            )
    return texts
