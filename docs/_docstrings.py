"""How docstrings are read: what editors and Sphinx know and Griffe does not."""

from __future__ import annotations

import re

import griffe


class Docstrings(griffe.Extension):
    """Prepare docstrings before they are parsed.

    An ``Example:`` is the section that Griffe calls ``Examples:`` (it takes the singular for an admonition, and the
    prompts in it for quotations), and a role such as :class:`~some.module.Name` is the code ``Name``.
    """

    def on_instance(self, *, obj: griffe.Object, **kwargs: object) -> None:
        """Called by Griffe for every object it has read."""
        if obj.docstring:
            text = re.sub(r"^(\s*)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE)
            text = re.sub(r":\w+:`~(?:\w+\.)*(\w+)`", r"`\1`", text)
            obj.docstring.value = re.sub(r":\w+:(`[\w.]+`)", r"\1", text)
