"""`serve`: a folder of embedded slides in TissUUmaps."""

from __future__ import annotations

import argparse
import os
import sys
import threading
from pathlib import Path

from tissuumaps_sic.commands.options import pick_given

HELP = "serve a folder of embedded slides, to annotate them in the browser"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="the folder of embedded slides (h5ad)")
    add_address(parser)


def add_address(parser: argparse.ArgumentParser) -> None:
    """Add where, and to whom, a folder is served."""
    parser.add_argument(
        "--host", help="the address to listen on; 0.0.0.0 lets other machines in (default: 127.0.0.1)"
    )
    parser.add_argument("--port", type=_port, help="the port; 0 takes any free one (default: 5100)")
    parser.add_argument(
        "--public",
        action="store_true",
        help="let other machines in without a password, if the folder has no file auth",
    )
    parser.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        dest="names",
        metavar="NAME",
        help="another name by which browsers know this server, such as a proxy's; repeat it for more",
    )
    parser.add_argument(
        "--sub-path",
        default="",
        metavar="/PATH",
        help="the path below which a proxy shows this server, if the proxy leaves it in the addresses",
    )
    parser.add_argument(
        "--behind-proxy",
        action="append",
        default=[],
        dest="proxies",
        metavar="ADDRESS",
        help="the address of a reverse proxy whose X-Forwarded-* headers are believed, such as 127.0.0.1; "
        "repeat it for more",
    )
    parser.add_argument(
        "--read-only", action="store_true", help="show the slides, and save no seeds, labels or projects"
    )
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser")


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port; give 0 to 65535")
    return int(text)


def run(options: argparse.Namespace) -> int:
    """Serve the folder until interrupted."""
    return serve_folder(options.folder, options)


def serve_folder(folder: Path, options: argparse.Namespace, *, first: str | None = None) -> int:
    """Serve a folder as the options of `add_address` say, the slide named `first` first."""
    from tissuumaps_sic.viewer.entrance import clean_path
    from tissuumaps_sic.viewer.serve import serve

    def announce(addresses: list[str]) -> None:
        print("Open in a browser (stop with Ctrl-C):", flush=True)
        for address in addresses:
            print(f"  {address}", flush=True)
        if len(addresses) > 1:
            base = "/".join(addresses[0].split("/")[:3]) + clean_path(options.sub_path)
            print(f"All slides, with pictures: {base}/", flush=True)

    serve(
        folder,
        **pick_given(options, "host", "port"),
        browser=not options.no_browser,
        first=first,
        public=options.public,
        names=options.names,
        sub_path=options.sub_path,
        proxies=options.proxies,
        read_only=options.read_only,
        announce=announce,
    )
    end_in_spite_of_requests()
    return 0


def end_in_spite_of_requests() -> None:
    """End this process where requests are under way still, for which the server has waited its time.

    Python ends their threads where they are; and it waits for ever for the lock of HDF5 that one may hold.
    """
    if any(thread.name.startswith("waitress-") for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
