"""Downloads: several addresses in turn, a checksum, and a broken transfer goes on where it stopped."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from seefar.errors import DataError
from seefar.progress import SILENT, Progress

CHUNK_BYTES = 1 << 18
TIMEOUT_SECONDS = 30


def user_cache() -> Path:
    """The folder for seefar in the user's cache folder; it may not be there yet."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tqdm's, which pooch imports, in notebooks without widgets
        import pooch

        return Path(pooch.os_cache("seefar"))


def download(urls: tuple[str, ...], path: Path, md5: str, progress: Progress = SILENT) -> None:
    """Fetch `path` from the first address that gives it whole; nothing happens if it is there already.

    A transfer that breaks off leaves `<path>.part`, and the next try (of any address, in this process or a later
    one) fetches only the rest. What has come takes its place when its checksum is right.

    Args:
        urls: addresses of byte-identical copies, best first.
        path: where the file is to lie.
        md5: checksum of the whole file.
        progress: see `seefar.progress`; counts MB.

    Raises:
        DataError: no address gave the file; the message holds what each of them answered, and whether a damaged one
            is there.
    """
    import pooch
    import requests

    damaged = ""
    if path.exists():
        there = pooch.file_hash(str(path), alg="md5")
        if there == md5:
            return
        damaged = f"The file there is damaged or another one: MD5 {there} was found.\n"
    progress.line(f"fetching {path.name} into {path.parent}")
    part = path.with_name(f"{path.name}.part")
    failures = []
    for url in urls:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _fetch_rest(url, part, progress)
            found = pooch.file_hash(str(part), alg="md5")
            if found == md5:
                os.replace(part, path)
                return
            part.unlink()  # the next try starts from nothing
            failures.append(f"{url}: not the file that was wanted (its MD5 is {found})")
        except requests.ConnectionError:
            failures.append(f"{url}: no connection")
        except (requests.RequestException, OSError) as error:
            failures.append(f"{url}: {error}")
    tried = "\n  ".join(failures)
    raise DataError(
        f"{path} could not be fetched (MD5 {md5} was wanted):\n  {tried}\n{damaged}"
        f"Try again to go on from there, or put the file at {path} by hand."
    )


def _fetch_rest(url: str, part: Path, progress: Progress) -> None:
    """Continue `part` by an HTTP range, or fetch it from the beginning where the host knows no ranges."""
    import requests

    have = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            return  # all of it has come; the checksum decides
        response.raise_for_status()
        if response.status_code != requests.codes.partial_content:
            have = 0  # the host sends the whole file again
        total = have + int(response.headers.get("Content-Length", 0)) or None
        with part.open("ab" if have else "wb") as file:
            for chunk in response.iter_content(CHUNK_BYTES):
                have += file.write(chunk)
                if total:
                    progress.update("fetching", have // 10**6, total // 10**6, "MB")
    if total and have < total:
        raise OSError(f"the connection ended after {have:,} of {total:,} bytes")
