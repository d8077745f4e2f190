"""The outputs of one run: opened and checked, staged, and published by the decision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from assay.errors import ConfigurationError, SinkError
from assay.pipeline.booked import Booked, OpenBooked
from assay.pipeline.context import as_typed
from assay.pipeline.entries import Booking
from assay.pipeline.outputs import OpenOutput
from assay.pipeline.plan import Plan, worded_mistakes
from assay.pipeline.spool import Spool
from assay.pipeline.steps import Deduplicate
from assay.sinks import Mode, OpenSink, Staged, publish


class Publication:
    """All outputs of a run.

    Args:
        plan: The plan.
        output: A folder that takes every file output, or None.
        staging: The run's staging folder.
        amends: Whether the run adds to what another has published (a replay).
        anew: Whether all outputs are made from nothing, whatever their mode; but for ledgers, which only grow.
        later: The id of the last run that has published after the one that this adds to, or None.
        reads: Whether only what is published is read: who may not write there may do that.

    Attributes:
        rows: Rows that each output has staged.
        bookings: What each ledger among the outputs has booked; there when all is prepared.

    Raises:
        SinkError: an output cannot take these columns.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        output: Path | None,
        root: Path,
        staging: Path,
        amends: bool = False,
        anew: bool = False,
        later: str | None = None,
        reads: bool = False,
    ) -> None:
        self.rows: Counter[str] = Counter()
        self.bookings: dict[str, Booking] = {}
        self._staging = staging
        self._waiting: dict[str, Spool] = {}
        self._amends = amends
        self._anew = anew
        self._new_keys: dict[str, list[pl.DataFrame]] = {}
        self._once = {} if anew else _keys_that_come_once(plan, amends=amends, later=later)
        self._outputs = plan.outputs
        self._targets: dict[str, OpenSink] = {}
        for name, definition in plan.pipeline.outputs.items():
            sink = definition.to.under(output.resolve()) if output else definition.to
            with worded_mistakes(f"output {name}"):
                target = sink.open(
                    root,
                    staging / name,
                    name,
                    default=f"{plan.pipeline.name}.db" if output else f"out/{plan.pipeline.name}.db",
                )
            for other, taken in self._targets.items():
                if taken.location == target.location:
                    hint = "; --output puts each under its last name: give one of them another" if output else ""
                    raise ConfigurationError(f"outputs {other} and {name} are the same: {target.location}{hint}")
            if not reads:
                with worded_mistakes(f"output {name}"):
                    target.check(plan.outputs[name].schema)
            self._targets[name] = target

    @property
    def targets(self) -> dict[str, str]:
        """Where each output goes."""
        return {name: target.location for name, target in self._targets.items()}

    def take(self, rows: pl.DataFrame) -> None:
        """Give some rows to every output."""
        for name, output in self._outputs.items():
            made = output.take(rows)
            if name in self._once and made is not None:
                self._new_keys.setdefault(name, []).append(made.select(self._once[name].key))
            if made is not None and isinstance(output, OpenBooked):
                self._wait(name, output).write([made])
            else:
                self._stage(name, output, made)

    def _see_new(self, name: str) -> None:
        once = self._once[name]
        stored = self._targets[name].read()
        if stored is None:
            return
        new = pl.concat(self._new_keys[name]).lazy()
        there = stored.select(once.key).join(new, on=once.key, how="semi").collect()
        if there.height:
            first = " / ".join(map(str, there.row(0)))
            raise SinkError(
                f"{there.height:,} of these records have a key that is published already, such as {first}: {once.why}",
                sink=name,
            )

    def published(self) -> Iterator[tuple[str, pl.LazyFrame]]:
        """What each output has published now, where it has anything."""
        for name, target in self._targets.items():
            stored = target.read()
            if stored is not None:
                yield name, stored

    def prepare(self, run: str, *, whole: bool = False) -> list[Staged]:
        """Finish staging, durably; what this gives is all that publishing needs.

        Args:
            run: Id of the run.
            whole: Whether it has read its sources as a whole: a ledger then says what is gone.

        Raises:
            SinkError: rows have a key that is published already, and would count twice.
        """
        for name in self._new_keys:
            self._see_new(name)
        staged = []
        for name, output in self._outputs.items():
            if isinstance(output, OpenBooked):
                self._book(name, output, run, whole=whole)
            else:
                self._stage(name, output, output.rest())
            target = self._targets[name]
            merges = target.mode == "merge" and not self._anew
            staged.append(target.prepare(self._mode(name, output)) | ({"merges": True} if merges else {}))
        return staged

    def _wait(self, name: str, output: OpenBooked) -> Spool:
        if name not in self._waiting:
            # Beside the folder that the sink stages in: no name of an output has a dot.
            self._waiting[name] = Spool(self._staging / f"{name}.rows", output.rows)
        return self._waiting[name]

    def _book(self, name: str, output: OpenBooked, run: str, *, whole: bool) -> None:
        target, booking = self._targets[name], Booking()
        # The sink notes what is read here, and publishes nothing if there is something else when it publishes.
        waiting, folder = self._wait(name, output), self._staging / f"{name}.parts"
        for entries in output.entries(waiting, target.read(), folder, run, booking, whole=whole):
            self.rows[name] += entries.height
            target.stage(entries)
        self.bookings[name] = booking

    def _stage(self, name: str, output: OpenOutput, frame: pl.DataFrame | None) -> None:
        if frame is None:
            return
        target = self._targets[name]
        if (
            output.grouped
            and not self._anew
            and (target.mode == "merge" or (self._amends and target.mode in ("replace", "delete_missing", "upsert")))
        ):
            stored = target.read()
            if stored is not None:
                frame = output.amend(stored.collect(), frame)
        self.rows[name] += frame.height
        target.stage(frame)

    def _mode(self, name: str, output: OpenOutput) -> Mode:
        """How an output is published: merged groups replace, and a replay adds rows to what its run has replaced."""
        mode = self._targets[name].mode
        if isinstance(output, OpenBooked):
            return mode
        if mode == "merge" or self._anew:
            return "replace"
        if self._amends and mode == "delete_missing" and not output.grouped:
            return "upsert"
        return "append" if self._amends and mode == "replace" and not output.grouped else mode


@dataclass(frozen=True)
class _Once:
    """A key that may not be published already, and what is to be done where it is."""

    key: list[str]
    why: str


def _keys_that_come_once(plan: Plan, *, amends: bool, later: str | None) -> dict[str, _Once]:
    """By output of rows, the key that none of them may have that is published already."""
    pipeline = plan.pipeline
    unique = any(isinstance(step, Deduplicate) for step in pipeline.steps)
    totals = [
        name
        for name, one in pipeline.outputs.items()
        if plan.outputs[name].grouped and (amends or one.to.mode == "merge")
    ]
    found = {}
    for name, definition in pipeline.outputs.items():
        columns, sink = set(plan.outputs[name].schema), definition.to
        key = list(pipeline.source.key)
        if plan.outputs[name].grouped:
            continue
        newer = f"run {later} has published since, and what is there may be newer than the rejects; discard them"
        if isinstance(definition, Booked):
            if later is not None:
                found[name] = _Once(list(definition.key), f"{newer} (assay rejects discard)")
            continue
        if amends and unique and set(key) <= columns:
            found[name] = _Once(key, "discard them, or mend their keys (assay rejects)")
        elif pipeline.source.incremental and unique and sink.mode == "append" and set(key) <= columns:
            found[name] = _Once(key, "publish everything anew by --full, which sees the records of all files together")
        elif totals and sink.mode == "upsert" and sink.key:
            why = f"replaced here, they would still be counted in output {totals[0]}, which adds up"
            found[name] = _Once(list(sink.key), f"{why}; give it a pipeline of its own, over the rows of {name}")
        elif later is not None and sink.mode == "upsert" and sink.key:
            found[name] = _Once(list(sink.key), f"{newer} (assay rejects discard)")
    return found


def check_outputs(plan: Plan) -> None:
    """See that every output can take the columns that will come; nothing is written.

    Raises:
        SinkError: one cannot.
    """
    root = (plan.settings.output or plan.settings.project).resolve()
    Publication(plan, output=plan.settings.output, root=root, staging=root / "check")


def publish_all(run: str, decision: Iterable[Staged]) -> None:
    """Publish what a run has decided; what carries the run's token already is passed over.

    Raises:
        SinkError: an output cannot be written; the run can be resumed.
    """
    for staged in decision:
        publish(staged, run)


def outputs_of(decision: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What is told of the outputs: rows, mode and target by name."""
    return {
        one["output"]: {
            "rows": one["rows"],
            # Merged groups replace those that were merged with them.
            "mode": "merge" if one.get("merges") else one["mode"],
            "target": as_typed(one["target"]),
        }
        for one in decision
    }
