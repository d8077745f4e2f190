"""One measured piece of work in a process of its own, so that its peak memory is its own.

python -m benchmarks.child way "assay.scan" lines.jsonl         # one way to a frame
python -m benchmarks.child batches lines.jsonl                  # `assay.scan` in batches, none of which is kept
python -m benchmarks.child sink lines.jsonl out.parquet         # `assay.scan` into a file
python -m benchmarks.child price lines.parquet out.parquet      # a book of documents over a file
python -m benchmarks.child stage Jsonl DIR 1000000              # so many rows through a sink
python -m benchmarks.child book DIR 1000000 1                   # so many lines to a ledger, so much dearer
python -m benchmarks.child run REPORT orders --output DIR       # `assay run`, with its peak written into REPORT
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent


def peak_bytes() -> int:
    """The most memory this process has held at once.

    Linux hands `ru_maxrss` of a parent down through exec, so that a small child of a large process seems large; the
    high-water mark of the address space is the child's own.
    """
    status = Path("/proc/self/status")
    if status.exists():
        marks = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(marks[0].split()[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def start(*arguments: str | Path, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run this module with these arguments, in a folder; it must succeed."""
    script = str(Path(__file__).resolve())
    command = [sys.executable, script, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done


def measured(*arguments: str | Path) -> dict[str, Any]:
    """What the module reports of this work: `peak` in bytes; of `batches` also the seconds to the `first`."""
    return json.loads(start(*arguments).stdout)  # type: ignore[no-any-return]


def _way(name: str, path: Path) -> dict[str, Any]:
    from benchmarks.ways import WAYS  # noqa: PLC0415 - a run is to load no more than `assay run` does

    return {"records": WAYS[name](path).height}


def _batches(path: Path) -> dict[str, Any]:
    from benchmarks.lineitem import LineItem  # noqa: PLC0415

    import assay  # noqa: PLC0415 - as above

    began = time.perf_counter()
    batches = iter(assay.scan(path, LineItem).collect_batches())
    records = next(batches).height
    first = time.perf_counter() - began
    return {"records": records + sum(batch.height for batch in batches), "first": first}


def _sink(path: Path, into: Path) -> dict[str, Any]:
    from benchmarks.lineitem import LineItem  # noqa: PLC0415

    import assay  # noqa: PLC0415 - as above

    assay.scan(path, LineItem).sink_parquet(into)
    return {}


def _price(path: Path, into: Path) -> dict[str, Any]:
    import polars as pl  # noqa: PLC0415 - as above
    from benchmarks.books import DOCUMENTS  # noqa: PLC0415

    DOCUMENTS.price(pl.scan_parquet(path)).sink_parquet(into)
    return {}


def _stage(kind: str, folder: Path, count: int) -> dict[str, Any]:
    from benchmarks.sinks import BATCH, SINKS, rows, write  # noqa: PLC0415 - as above

    folder.mkdir()
    sizes = ((first, min(BATCH, count - first)) for first in range(0, count, BATCH))
    write(SINKS[kind], folder, (rows(size, first) for first, size in sizes))
    return {}


def _book(folder: Path, count: int, dearer: int) -> dict[str, Any]:
    from benchmarks.booking import book, lines  # noqa: PLC0415 - as above

    booking = book(folder, lines(count, dearer=dearer))
    return {"new": booking.new, "corrected": booking.corrected}


def _run(report: Path, arguments: list[str]) -> None:
    from assay.cli import main  # noqa: PLC0415 - as above

    sys.argv = ["assay", "run", "--json", *arguments]
    try:
        main()
    finally:
        report.write_text(json.dumps({"peak": peak_bytes()}))


def _measure(what: str, *arguments: str) -> None:
    sys.path.insert(0, str(ROOT))
    match what, *arguments:
        case "way", name, path:
            found = _way(name, Path(path))
        case "batches", path:
            found = _batches(Path(path))
        case "sink", path, into:
            found = _sink(Path(path), Path(into))
        case "price", path, into:
            found = _price(Path(path), Path(into))
        case "stage", kind, folder, count:
            found = _stage(kind, Path(folder), int(count))
        case "book", folder, count, dearer:
            found = _book(Path(folder), int(count), int(dearer))
        case _:
            sys.exit(__doc__)
    sys.stdout.write(json.dumps(found | {"peak": peak_bytes()}))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["run", report, *arguments]:
            _run(Path(report), arguments)
        case arguments:
            _measure(*arguments)
