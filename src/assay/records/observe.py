"""What records look like: the order of their keys and the kinds of their values, from a sample.

An observation decides how records are cut, never whether they are right: a record that looks otherwise is judged by
the reference.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal

import orjson

Kind = Literal["null", "bool", "number", "text", "object", "array"]
#: So deep is looked into a value.
_DEPTH: Final = 50
#: So many keys may an object have, in all records together: patterns grow with them.
_WIDTH: Final = 1_000


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

    def note(self, value: Any, depth: int = 0) -> None:
        """See one more value, which is so deep in its record."""
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
                self._note_keys(value, depth + 1)
            case list():
                self.kinds.add("array")
                for item in value if depth < _DEPTH else ():
                    self.items = self.items or Observed()
                    self.items.note(item, depth + 1)

    def note_json(self, text: str) -> None:
        """See one more JSON text; what is none is passed over."""
        try:
            self.note(orjson.loads(text))
        except orjson.JSONDecodeError:
            return

    def _note_keys(self, members: dict[str, Any], depth: int) -> None:
        """A key that is new goes behind the one that it follows."""
        if depth > _DEPTH or len(self.keys.keys() | members.keys()) > _WIDTH:
            return
        order = list(self.keys)
        place = 0
        for key, value in members.items():
            if key in self.keys:
                place = order.index(key) + 1
            else:
                order.insert(place, key)
                place += 1
                self.keys[key] = Observed()
            self.keys[key].note(value, depth)
        self.keys = {key: self.keys[key] for key in order}
