"""`make demo-http`: run orders with its customers from a real HTTP service on this machine."""

import json
import os
from pathlib import Path

from demo import assay
from serve import serving


def main() -> None:
    """Run the demo."""
    os.chdir(Path(__file__).parent.parent)
    with serving() as url:
        print(f"customers are served at {url}/customers/C-0001")
        assay("run", "orders", "--set", f"customers={url}")
    manifests = sorted(Path(".assay/runs").glob("*/manifest.json"), key=lambda path: path.stat().st_mtime)
    print("\nWhat its lookups did:")
    print(json.dumps(json.loads(manifests[-1].read_text("utf-8"))["lookups"], indent=1))


if __name__ == "__main__":
    main()
