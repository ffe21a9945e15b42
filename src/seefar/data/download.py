"""Fetch one large file: several addresses in turn, a progress bar, and a broken transfer goes on where it stopped."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

from seefar.errors import DataError

CHUNK_BYTES = 1 << 18
TIMEOUT_SECONDS = 30


def download(urls: tuple[str, ...], path: Path, md5: str) -> None:
    """Fetch `path` from the first address that gives it whole; nothing happens if it is there already.

    A transfer that breaks off leaves `<path>.part`, and the next try (of any address, in this process or a later
    one) asks only for the rest. pooch checks the result and moves it into place.

    Args:
        urls: addresses of byte-identical copies, best first.
        path: where the file is to lie.
        md5: checksum of the whole file.

    Raises:
        DataError: no address gave the file; the message says what each of them answered.
    """
    import pooch
    import requests

    if path.exists() and pooch.file_hash(str(path), alg="md5") == md5:
        return
    pooch.get_logger().setLevel("WARNING")  # the progress bar says it
    print(f"fetching {path.name} into {path.parent}", file=sys.stderr)
    failures = []
    for url in urls:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            fetch = partial(_fetch_rest, path.with_name(f"{path.name}.part"))
            pooch.retrieve(url, f"md5:{md5}", fname=path.name, path=path.parent, downloader=fetch)
            return
        except ValueError as error:  # the checksum: pooch has dropped what came, the next try starts from nothing
            failures.append(f"{url}: not the file that was wanted ({str(error).splitlines()[0]})")
        except requests.ConnectionError:
            failures.append(f"{url}: no connection")
        except (requests.RequestException, OSError) as error:
            failures.append(f"{url}: {error}")
    raise DataError(
        f"{path} could not be fetched (MD5 {md5} was wanted):\n  "
        + "\n  ".join(failures)
        + f"\nRun the command again to go on, or put the file at {path} by hand and run it again."
    )


def _fetch_rest(part: Path, url: str, output_file: str, _pooch: object) -> None:
    """A pooch downloader that keeps what has come in `part` and continues it by an HTTP range."""
    import requests
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    have = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            os.replace(part, output_file)  # all of it has come; the checksum decides
            return
        response.raise_for_status()
        if response.status_code != requests.codes.partial_content:
            have = 0  # the host sends the whole file again
        total = have + int(response.headers.get("Content-Length", 0)) or None
        columns = ("{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        with (
            Progress(*columns, console=Console(stderr=True)) as progress,
            part.open("ab" if have else "wb") as file,
        ):
            task = progress.add_task(url, total=total, completed=have)
            for chunk in response.iter_content(CHUNK_BYTES):
                progress.advance(task, file.write(chunk))
    if total and part.stat().st_size < total:
        raise OSError(f"the connection ended after {part.stat().st_size:,} of {total:,} bytes")
    os.replace(part, output_file)
