"""One measured piece of work in a process of its own, so that its peak memory is its own.

python -m benchmarks.child way jsonl "assay.scan" lines.jsonl
python -m benchmarks.child run REPORT orders --output DIR       # `assay run`, with its peak written into REPORT
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Final

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


def _way(fmt: str, name: str, path: Path) -> None:
    sys.path.insert(0, str(ROOT))
    from benchmarks.ways import WAYS  # noqa: PLC0415

    import assay  # noqa: PLC0415 - a run is to load no more than `assay run` does

    frame, rejected = WAYS[fmt][name](path, assay.load("orders").source.model)
    report = {"accepted": frame.height, "rejected": rejected, "peak": peak_bytes()}
    sys.stdout.write(json.dumps(report))


def _run(report: Path, arguments: list[str]) -> None:
    from assay.cli import main  # noqa: PLC0415 - as above

    sys.argv = ["assay", "run", "--json", *arguments]
    try:
        main()
    finally:
        report.write_text(json.dumps({"peak": peak_bytes()}))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["way", fmt, name, path]:
            _way(fmt, name, Path(path))
        case ["run", report, *arguments]:
            _run(Path(report), arguments)
        case _:
            sys.exit(__doc__)
