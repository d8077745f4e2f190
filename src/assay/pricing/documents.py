"""Whole documents of a lazy frame, a part at a time: what concerns a document needs all of its lines at once.

Small frames are one part. Of larger ones the rows are spooled to disk while it is seen whether the lines of each
document stand together. Where they do, the spool is cut between documents; where not, it is dealt into buckets by
document first, and the parts' rows are put back into their order afterwards. Memory stays at some parts either way.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
from polars.io.plugins import register_io_source

PART_ROWS = 50_000
"""Rows of a part, more or less: documents are not cut."""

_ROW = "__assay_price_row"

Apply = Callable[[pl.DataFrame, int], pl.DataFrame]
"""Works on whole documents; is told the number of rows before the part (-1 where rows come in another order)."""


def as_lazy(parts: Callable[[], Iterable[pl.DataFrame]], schema: pl.Schema) -> pl.LazyFrame:
    """A lazy frame of what a generator gives, in order; it is run anew by each collect."""

    def source(
        with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        left = n_rows
        for part in parts():
            rows = part if left is None else part.head(left)
            if left is not None:
                left -= rows.height
            if predicate is not None:
                rows = rows.filter(predicate)
            yield rows if with_columns is None else rows.select(with_columns)
            if left == 0:
                return

    return register_io_source(source, schema=schema, explain_name="assay pricing")


def by_document(
    frame: pl.LazyFrame,
    document: str,
    apply: Apply,
    *,
    one_row_each: bool = True,
    part_rows: int = PART_ROWS,
    spool: Path | None = None,
) -> Iterator[pl.DataFrame]:
    """Apply a function to all rows, whole documents at a time; documents of one part at a time in memory.

    Args:
        frame: The rows.
        document: The column that names the document; its nulls are one document.
        apply: Makes a row of each row, in order, or (`one_row_each` false) rows of each document.
        one_row_each: Whether the order of rows must be that of the frame; else it is the order of documents.
        part_rows: Rows of a part.
        spool: The folder in which a temporary one is made; the system's where None.
    """
    batches = frame.collect_batches(chunk_size=max(1, part_rows // 4), maintain_order=True)
    start: list[pl.DataFrame] = []
    rows = 0
    for batch in batches:
        start.append(batch)
        rows += batch.height
        if rows > part_rows:
            break
    else:
        whole = pl.concat(start) if start else frame.collect_schema().to_frame()
        yield apply(whole.rechunk(), 0)
        return
    with tempfile.TemporaryDirectory(prefix="assay-documents-", dir=spool) as folder:
        spooled = _Spool(Path(folder), document)
        for batch in start:
            spooled.add(batch)
        start.clear()
        for batch in batches:
            spooled.add(batch)
        if spooled.contiguous():
            yield from _contiguous(spooled, apply, part_rows)
        else:
            yield from _bucketed(spooled, apply, part_rows, one_row_each=one_row_each)


class _Spool:
    """Rows on disk, a file a batch, and what is needed to know whether documents stand together."""

    def __init__(self, folder: Path, document: str) -> None:
        self.folder, self.document = folder, document
        self.files: list[Path] = []
        self.rows = 0
        self._starts: list[np.ndarray] = []
        self._last: int | None = None

    def add(self, batch: pl.DataFrame) -> None:
        if not batch.height:
            return
        path = self.folder / f"{len(self.files):06}.arrow"
        batch.write_ipc(path, compression="lz4")
        self.files.append(path)
        self.rows += batch.height
        hashes = batch[self.document].hash().to_numpy()
        starts = np.flatnonzero(np.diff(hashes)) + 1
        first = [] if self._last == int(hashes[0]) else [0]
        self._starts.append(hashes[np.concatenate((np.array(first, dtype=np.intp), starts))])
        self._last = int(hashes[-1])

    def contiguous(self) -> bool:
        """Whether no document comes again after another (two of one hash look like that, too: only slower)."""
        starts = np.concatenate(self._starts)
        return len(np.unique(starts)) == len(starts)

    def batches(self) -> Iterator[pl.DataFrame]:
        for path in self.files:
            yield pl.read_ipc(path)
            path.unlink()


def _contiguous(spool: _Spool, apply: Apply, part_rows: int) -> Iterator[pl.DataFrame]:
    held: list[pl.DataFrame] = []
    done = 0
    for batch in spool.batches():
        held.append(batch)
        if sum(frame.height for frame in held) < part_rows:
            continue
        rows = pl.concat(held, rechunk=True)
        key = rows[spool.document]
        # The last document may go on in the next batch.
        last = key.ne_missing(key[-1]).arg_true()
        cut = int(last[-1]) + 1 if len(last) else 0
        held = [rows.slice(cut)]
        if cut:
            yield apply(rows.head(cut), done)
            done += cut
    if held:
        yield apply(pl.concat(held, rechunk=True), done)


def _bucketed(spool: _Spool, apply: Apply, part_rows: int, *, one_row_each: bool) -> Iterator[pl.DataFrame]:
    buckets = max(2, -(-spool.rows // part_rows) * 2)
    folders = [spool.folder / f"bucket-{number:05}" for number in range(buckets)]
    for folder in folders:
        folder.mkdir()
    row = 0
    for number, batch in enumerate(spool.batches()):
        numbered = batch.with_row_index(_ROW, offset=row)
        row += batch.height
        bucket = (pl.col(spool.document).hash(seed=7) % buckets).alias("__assay_price_bucket")
        for (which,), part in numbered.group_by(bucket, maintain_order=True):
            part.write_ipc(folders[int(which)] / f"{number:06}.arrow", compression="lz4")
    made: list[Path] = []
    for folder in folders:
        files = sorted(folder.glob("*.arrow"))
        if not files:
            continue
        rows = pl.concat([pl.read_ipc(file) for file in files], rechunk=True)
        for file in files:
            file.unlink()
        result = apply(rows.drop(_ROW), -1)
        if one_row_each:
            result = result.with_columns(rows[_ROW])
            made.append(folder / "made.arrow")
            result.write_ipc(made[-1], compression="uncompressed")
        else:
            yield result
    if one_row_each:
        yield from _in_order(made, spool.rows, part_rows)


def _in_order(files: list[Path], rows: int, part_rows: int) -> Iterator[pl.DataFrame]:
    """The rows of files that are in order each, in order together."""
    scans = [pl.scan_ipc(file) for file in files]
    wanted = pl.col(_ROW)
    for start in range(0, rows, part_rows):
        window = wanted.is_between(start, start + part_rows - 1)
        parts = pl.collect_all([scan.filter(window) for scan in scans])
        yield pl.concat(parts).sort(_ROW).drop(_ROW)
