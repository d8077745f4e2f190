"""What a run tells of itself beyond its counts: what may well be not as it was meant."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

from assay.pipeline.documents import DOCUMENT_REJECTED
from assay.pipeline.entries import Booking
from assay.runs import Run, RunStore

_MANY_PERCENT = 10


def many_rejects(rejected: int, read: int, reasons: Mapping[str, int]) -> Iterator[str]:
    """That a large share was rejected, and nothing says how many may be."""
    if rejected * 100 <= read * _MANY_PERCENT:
        return
    causes = {kind: count for kind, count in reasons.items() if kind != DOCUMENT_REJECTED} or reasons
    kind, count = max(causes.items(), key=lambda reason: reason[1])
    yield (
        f"{100 * rejected / read:.0f} % of the records were rejected, most for {kind} ({count:,}); "
        "a budget would stop such a run: --max-rejects 5%, or max_rejects in the pipeline"
    )


def replays_replaced(store: RunStore, run: str, previous: Run | None) -> Iterator[str]:
    """That records which were mended after the previous run are rejected again, as their sources still have them."""
    if previous is None:
        return
    mended = {_digest(letter.raw): letter.state == "replayed" for letter in store.mended(previous.id)}
    if not mended:
        return
    found = [mended[digest] for letter in store.dead_letters(run) if (digest := _digest(letter.raw)) in mended]
    if found:
        replayed = sum(found)
        what = "replayed" if replayed == len(found) else "mended" if not replayed else "mended or replayed"
        lost = ", and this run replaces what the replay had added" if replayed else ""
        yield (
            f"{len(found):,} records that were {what} after run {previous.id} are rejected again{lost}. "
            f"To mend them as before: assay rejects edit {run} --like {previous.id}, then assay rejects replay {run}"
        )


def lines_left(bookings: Mapping[str, Booking]) -> Iterator[str]:
    """That lines which differ, or of which there is no row any more, stay booked as they are."""
    for name, booking in bookings.items():
        if booking.beyond:
            sums = [
                f"{currency} {column} {amount:+,}".strip()
                for currency, amounts in booking.forgone.items()
                for column, amount in amounts.items()
                if amount
            ]
            yield (
                f"output {name}: lines that differ and stay as they are, since they are dated before the horizon: "
                f"{booking.beyond:,}; corrections would have added up to {', '.join(sums) or '0'}"
            )
        if booking.absent:
            yield (
                f"output {name}: lines that are booked, and of which this run has no record (any more, or since it was "
                f'rejected): {booking.absent:,}; they stay as they are, unless gone="reverse"'
            )


def purged_open(purged: Mapping[str, int], days: int | None) -> Iterator[str]:
    """That records which nobody had dealt with can be replayed no more."""
    count = purged.get("open", 0)
    if count:
        yield (
            f"{count:,} open rejects of runs older than {days} days were purged (setting rejects_days): "
            "their bytes are gone, and they cannot be replayed any more"
        )


def _digest(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()
