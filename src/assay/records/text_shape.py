"""Columns of texts, as XML and CSV have them: by the claims on JSON strings, since that is how they are judged."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import polars as pl

from assay.records.assemble import Leaf, Presence, Referred
from assay.records.claims import Node, NotCompiled, Site, claim_for
from assay.records.field_reference import FieldReference, stands_alone
from assay.records.schema import NotCompiledModel, Schema, undefaulted

_BLANKS = " \t\r\n"


def text_column(
    schema: Schema,
    node: Node,
    site: Site,
    presence: Presence,
    slot: int,
    *,
    trimmed: bool,
    alone: list[str],
    empty_as_null: bool = False,
) -> Leaf | Referred:
    """The column of the texts of one field.

    Args:
        schema: That of the model.
        node: The field's core schema.
        site: Where it is met.
        presence: What it is where it is not written.
        slot: Where its text is found.
        trimmed: Whether blanks around it are layout.
        empty_as_null: Whether blanks alone may be null: nothing is claimed of them then.
        alone: Takes the reason where the field is judged by the reference, alone.

    Raises:
        NotCompiledModel: the reference must judge whole records.
    """
    try:
        leaf = _compiled(schema, node, site, presence, slot, trimmed=trimmed)
        return replace(leaf, never_empty=trimmed and empty_as_null)
    except NotCompiledModel:
        raise
    except NotCompiled as error:
        inner = undefaulted(node)
        why_not = stands_alone(inner, schema.definitions, schema.see_model)
        if why_not:
            raise NotCompiledModel(f"{error}, with {why_not}") from None
        alone.append(str(error))
        column = schema.columns.column_of(inner, "")
        if column.dtype != site.dtype:
            raise NotCompiledModel(f"{error}, in a column that depends on where it is") from None
        reference = FieldReference(inner, schema.definitions, site.config, column)
        presence = replace(presence, nullable=inner["type"] == "nullable")
        refer = _of_texts(reference, trimmed=trimmed, never_empty=trimmed and empty_as_null)
        return Referred(slot, site.dtype, presence, refer, quotes=False)


def _compiled(schema: Schema, node: Node, site: Site, presence: Presence, slot: int, *, trimmed: bool) -> Leaf:
    schema.see_keys(node)
    kind = node["type"]
    if kind == "default":
        return _compiled(schema, node["schema"], site, presence, slot, trimmed=trimmed)
    if kind == "nullable":
        if node.get("strict") is not None:
            raise NotCompiled("strict on an optional")
        return _compiled(schema, node["schema"], site, replace(presence, nullable=True), slot, trimmed=trimmed)
    if kind in ("definitions", "definition-ref", "json-or-python"):
        with schema.inside(node) as inner:
            return _compiled(schema, inner, site, presence, slot, trimmed=trimmed)
    claim = claim_for(node, site)
    if claim.quoted is None:
        raise NotCompiled(f"{kind} of a text is judged by the reference")
    return Leaf(slot, site.dtype, presence, claim, trimmed)


def _of_texts(reference: FieldReference, *, trimmed: bool, never_empty: bool) -> Callable[[pl.Series], pl.Series]:
    def refer(texts: pl.Series) -> pl.Series:
        given = texts.str.strip_chars(_BLANKS) if trimmed else texts
        judged = reference(pl.Series([json.dumps(text) for text in given], dtype=pl.String))
        return (
            pl.select(pl.when(given != "").then(judged)).to_series() if never_empty and (given == "").any() else judged
        )

    return refer
