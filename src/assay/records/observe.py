"""What records look like: the order of their keys and the kinds of their values, from a sample.

An observation decides how records are cut, never whether they are right: a record that looks otherwise is judged by
the reference.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

Kind = Literal["null", "bool", "number", "text", "object", "array"]


@dataclass
class Observed:
    """A value as it was seen.

    Attributes:
        kinds: Of what kinds it was.
        keys: Of an object: its members, in the order in which they come.
        items: Of an array: all of its items together.
    """

    kinds: set[Kind] = field(default_factory=set)
    keys: dict[str, Observed] = field(default_factory=dict)
    items: Observed | None = None

    def note(self, value: Any) -> None:
        """See one more value."""
        match value:
            case None:
                self.kinds.add("null")
            case bool():
                self.kinds.add("bool")
            case int() | float():
                self.kinds.add("number")
            case str():
                self.kinds.add("text")
            case dict():
                self.kinds.add("object")
                self._note_keys(value)
            case list():
                self.kinds.add("array")
                for item in value:
                    self.items = self.items or Observed()
                    self.items.note(item)

    def note_json(self, text: str) -> None:
        """See one more JSON text; what is none is passed over."""
        try:
            self.note(orjson.loads(text))
        except orjson.JSONDecodeError:
            return

    def _note_keys(self, members: dict[str, Any]) -> None:
        """A key that is new goes behind the one that it follows."""
        order = list(self.keys)
        place = 0
        for key, value in members.items():
            if key in self.keys:
                place = order.index(key) + 1
            else:
                order.insert(place, key)
                place += 1
                self.keys[key] = Observed()
            self.keys[key].note(value)
        self.keys = {key: self.keys[key] for key in order}
