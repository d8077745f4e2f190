"""What a run gives back."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from assay.errors import RunFailed
from assay.runs import Run, RunStore, Status


@dataclass(frozen=True)
class Result:
    """The outcome of one run.

    Attributes:
        id: The run's id.
        pipeline: Name of the pipeline.
        status: "published", "failed", "rejected" (over the budget), "running" or "interrupted".
        counts: Records read, written, filtered, rejected.
        money: By currency, the sums `list`, `discounts`, `net`, `tax`, `gross`, `set_aside` as decimal strings.
        outputs: By name: where it went, how many rows, in which mode.
        seconds: How long the whole run took.
        ledger: All figures, as the run store keeps them.
        error: Of a run that failed: type and message; else None.
        dry_run: Whether all went well and publishing alone was left out, on request.
        started: When it began, in UTC as ISO 8601 has it.
        params: Its parameters.
        known_at: As far as prices and rates were known then it has priced, if it was told so; in UTC, in ISO 8601.
        parent: Of a replay, the run whose rejects it has read.
        project: The project folder that keeps its history.
        repeats: Whether this is the result of an earlier run, which has published the same already: nothing was done.
        finished: Ids of earlier runs that had died while they published, and that were finished first.
    """

    id: str
    pipeline: str
    status: Status
    counts: dict[str, int]
    money: dict[str, dict[str, str]]
    outputs: dict[str, dict[str, Any]]
    seconds: float
    ledger: dict[str, Any] = field(repr=False)
    error: dict[str, Any] | None = None
    dry_run: bool = False
    started: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    known_at: str | None = None
    parent: str | None = None
    project: str = ""
    repeats: bool = False
    finished: tuple[str, ...] = ()
    store_url: str = field(default="", repr=False)

    @property
    def verdicts(self) -> dict[str, int]:
        """How many records were judged by compiled checks, and how many by the reference (Pydantic itself)."""
        files = self.ledger.get("files", [])
        referred = sum(file.get("referred", 0) for file in files)
        return {"compiled": sum(file["read"] for file in files) - referred, "reference": referred}

    @property
    def lookups(self) -> dict[str, dict[str, int | float]]:
        """What each lookup did: rows, distinct, hits, calls, retries, missing, errors, slowest_seconds."""
        return {name: dict(figures) for name, figures in self.ledger.get("lookups", {}).items()}

    @property
    def booked(self) -> dict[str, dict[str, Any]]:
        """What was booked to each ledger: new, corrected, unchanged, reversed, beyond the horizon, absent.

        `difference` is what reversals and corrections add up to, by currency and amount, as decimal strings; `forgone`
        what they would have added up to beyond the horizon.
        """
        return {name: dict(figures) for name, figures in self.ledger.get("booked", {}).items()}

    @property
    def warnings(self) -> list[str]:
        """What may well be not as it was meant, such as a large share of rejects."""
        return list(self.ledger.get("warnings", []))

    @property
    def notes(self) -> list[str]:
        """What the pipeline tells of its data."""
        return list(self.ledger.get("notes", []))

    @property
    def rejects(self) -> pl.DataFrame:
        """The rejected records of this run: source, record, line, offset, stage, errors, raw.

        Of a replay: those of its run that are still open.
        """
        store = RunStore(self.store_url)
        try:
            parent = store.get(self.id).parent
            return store.rejects_frame(self.id) if parent is None else store.rejects_frame(parent, state="open")
        finally:
            store.close()

    def raise_for_status(self) -> Result:
        """Give the result back if the run was published.

        Raises:
            RunFailed: it was not.
        """
        if self.status != "published":
            message = (self.error or {}).get("message", self.status)
            raise RunFailed(f"run {self.id} of {self.pipeline}: {self.status}: {message}", run=self.id)
        return self

    def as_json(self) -> dict[str, Any]:
        """As `assay run --json` prints it."""
        made: dict[str, Any] = {
            "schema": 1,
            "id": self.id,
            "pipeline": self.pipeline,
            "status": self.status,
            "started": self.started,
            "params": self.params,
            "parent": self.parent,
            "project": self.project,
            "counts": self.counts,
            "money": self.money,
            "outputs": self.outputs,
            "rejects": dict(self.ledger.get("reasons", {})),
            "verdicts": self.verdicts,
            "lookups": self.lookups,
            "seconds": round(self.seconds, 3),
        }
        if self.known_at is not None:
            made["known_at"] = self.known_at
        if self.booked:
            made["booked"] = self.booked
        if self.notes:
            made["notes"] = self.notes
        if self.warnings:
            made["warnings"] = self.warnings
        if self.repeats:
            made["repeats"] = True
        if self.finished:
            made["finished"] = list(self.finished)
        if self.dry_run:
            made["dry_run"] = True
        elif self.error is not None:
            made["error"] = self.error
        return made

    def _repr_html_(self) -> str:
        rows = [("records", " · ".join(f"{name} {count:,}" for name, count in self.counts.items()))]
        rows += [
            (currency, " · ".join(f"{name} {amount}" for name, amount in sums.items()))
            for currency, sums in self.money.items()
        ]
        rows += [("project", self.project)] if self.project else []
        rows += [(f"output {name}", f"{o['rows']:,} rows → {o['target']}") for name, o in self.outputs.items()]
        rows += [(f"booked {name}", _figures(_counts(figures))) for name, figures in self.booked.items()]
        rows += [(f"lookup {name}", _figures(figures)) for name, figures in self.lookups.items()]
        rows += [("note", note) for note in self.notes]
        rows += [("warning", warning) for warning in self.warnings]
        if self.error:
            rows.append(("error", str(self.error.get("message"))))
        cells = "".join(f"<tr><td>{html.escape(a)}</td><td>{html.escape(b)}</td></tr>" for a, b in rows)
        head = f"{html.escape(self.pipeline)} · {self.status.upper()} · run {self.id} · {self.seconds:.1f} s"
        return f"<b>{head}</b><table>{cells}</table>"


def _counts(booked: Mapping[str, Any]) -> dict[str, int]:
    return {name: count for name, count in booked.items() if isinstance(count, int)}


def _figures(figures: Mapping[str, int | float]) -> str:
    return " · ".join(f"{name.replace('_', ' ')} {figure:,}" for name, figure in figures.items())


def result_of(run: Run, store_url: str) -> Result:
    """The result of a run that is in the store."""
    ledger: Mapping[str, Any] = run.ledger or {}
    return Result(
        id=run.id,
        pipeline=run.pipeline,
        status=run.status,
        counts=dict(ledger.get("counts", {"read": 0, "written": 0, "filtered": 0, "rejected": 0})),
        money=dict(ledger.get("money", {})),
        outputs=dict(run.outputs or {}),
        seconds=run.seconds or 0.0,
        ledger=dict(ledger),
        error=run.error,
        dry_run=(run.error or {}).get("type") == "DryRun",
        started=run.started,
        params=dict(run.definition.get("params", {})),
        known_at=run.definition.get("known_at"),
        parent=run.parent,
        project=run.definition.get("project", ""),
        store_url=store_url,
    )
