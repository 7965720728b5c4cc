"""Errors that a person can act on."""

from __future__ import annotations


class InputError(ValueError):
    """A bad input: what it is called in the editor, what is wrong with it, and what to do about it."""

    def __init__(self, name: str, cause: str, mend: str) -> None:
        self.name, self.cause, self.mend = name, cause, mend
        super().__init__(f"{name}: {cause} {mend}")
