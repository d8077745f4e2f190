"""`make demo-http`: run orders with its customers from a real HTTP service on this machine."""

import os
from pathlib import Path

from sample_data.demo import assay
from sample_data.serve import serving


def main() -> None:
    """Run the demo."""
    os.chdir(Path(__file__).parent.parent)
    with serving() as url:
        print(f"customers are served at {url}/customers/C-0001")
        assay("run", "orders", "--set", f"customers={url}")


if __name__ == "__main__":
    main()
