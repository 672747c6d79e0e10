"""The options of every command, as ``docs/cli.md`` shows them, read from the command line itself."""

from __future__ import annotations

from typing import Any

from typer.main import get_command

from curvae.cli import app


def commands() -> str:
    """A section for each command: what it does, how it is called, its arguments and options."""
    return "\n\n".join(_section(name, command) for name, command in get_command(app).commands.items())


def names() -> list[str]:
    """The commands, in the order of ``curvae --help``."""
    return list(get_command(app).commands)


def _section(name: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    usage = " ".join([f"curvae {name}", *(_placeholder(p) for p in arguments), "[OPTIONS]"])
    rows = [_row(p) for p in command.params if not getattr(p, "hidden", False)]
    head = ["| | | default |", "|---|---|---|"]
    return "\n".join([f"## {name}", "", command.help.strip(), "", "```sh", usage, "```", "", *head, *rows])


def _placeholder(argument: Any) -> str:
    word = argument.metavar or argument.name.upper()
    word = word if argument.nargs == 1 else f"{word.rstrip('.')}..."
    return word if argument.required else f"[{word}]"


def _row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        name = f"`{_placeholder(parameter)}`"
    else:
        metavar = f" {parameter.metavar}" if parameter.metavar else ""
        name = ", ".join(f"`{option}{metavar}`" for option in [*parameter.opts, *parameter.secondary_opts])
    help_text = (parameter.help or "").replace("|", "\\|")
    return f"| {name} | {help_text} | {_default(parameter)} |"


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    shown = parameter.show_default  # a text where the signature has None and the configuration decides
    if isinstance(shown, str):
        return f"`{shown}`"
    absent = parameter.default is None or parameter.default is False  # 0 is a default
    return "" if absent else f"`{parameter.default}`"
