"""What other packages add, by entry points: listed by name, and imported when it is asked for, not before."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from assay.errors import ConfigurationError


def plugin_names(group: str) -> list[str]:
    """The names that installed packages offer in a group; nothing is imported."""
    return sorted({point.name for point in entry_points(group=group)})


def load_plugin(group: str, name: str) -> Any | None:
    """What an installed package offers under a name; None where none does.

    Args:
        group: Such as "assay.lookups".
        name: The name of the entry point.

    Raises:
        ConfigurationError: it cannot be imported, or two packages offer it; names the packages.
    """
    points = list(entry_points(group=group, name=name))
    if not points:
        return None
    where = f"entry point {name} of {group}"
    packages = sorted({point.dist.name if point.dist is not None else point.value for point in points})
    if len(packages) > 1:
        some = ", ".join(packages)
        raise ConfigurationError(f"offered by several packages: {some}; uninstall all but one", where=where)
    try:
        return points[0].load()
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise ConfigurationError(
            f"{points[0].value} of the package {packages[0]} cannot be imported ({reason}); mend or uninstall it",
            where=where,
        ) from error
