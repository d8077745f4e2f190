"""Which documents do not add up, and why, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import polars as pl

#: Findings of one document, and documents, that are told one by one.
_MOST_FINDINGS: Final = 3
_MOST_DOCUMENTS: Final = 50


def describe(documents: pl.LazyFrame, findings: pl.LazyFrame) -> Iterator[str]:
    """Say which documents do not add up: by which rule, what they state and what it comes to.

    Args:
        documents: Rows with `adds_up` and `adds_up_officially`.
        findings: Rows with `file`, `invoice_id` and the fields of `CHECK`, those of one document together.
    """
    counts = documents.select(
        pl.len().alias("all"),
        (~pl.col("adds_up")).sum().alias("exact"),
        (~pl.col("adds_up_officially")).sum().alias("official"),
    )
    of = counts.collect(engine="streaming").row(0, named=True)
    if not of["exact"] and not of["official"]:
        if of["all"]:
            yield f"all {of['all']:,} documents add up to the cent"
        return
    yield (
        f"{of['exact']:,} of {of['all']:,} documents do not add up to the cent; "
        f"{of['official']:,} fail the official tests of EN 16931"
    )
    by_document = ["file", "invoice_id"]
    told = (
        findings.group_by(by_document, maintain_order=True)
        .agg(pl.struct("rule", "where", "stated", "computed", "difference", "official").alias("found"))
        .head(_MOST_DOCUMENTS + 1)
        .collect(engine="streaming")
    )
    for row in told.head(_MOST_DOCUMENTS).iter_rows(named=True):
        yield f"{row['file']} ({row['invoice_id']})"
        for one in row["found"][:_MOST_FINDINGS]:
            yield f"  {_words(one)}"
        if len(row["found"]) > _MOST_FINDINGS:
            yield f"  and {len(row['found']) - _MOST_FINDINGS} more"
    if told.height > _MOST_DOCUMENTS:
        yield "and more: see the findings"


def _words(finding: dict[str, Any]) -> str:
    place = f" at {finding['where']}" if finding["where"] else ""
    official = {"success": "official test: passed", "error": "official test: failed", None: "no official test"}
    if finding["stated"] is None and finding["computed"] is None:
        return f"{finding['rule']}{place}: missing; {official[finding['official']]}"
    stated = "nothing" if finding["stated"] is None else finding["stated"]
    computed = "nothing" if finding["computed"] is None else finding["computed"]
    off = f" ({finding['difference']:+})" if finding["difference"] is not None else ""
    return f"{finding['rule']}{place}: stated {stated}, computed {computed}{off}; {official[finding['official']]}"
