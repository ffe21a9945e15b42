"""Downloads: several addresses in turn, a checksum, limits of time and size; a broken transfer is resumed."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from seefar.errors import DataError
from seefar.progress import SILENT, Progress

CHUNK_BYTES = 1 << 18
TIMEOUT_SECONDS = 3.05, 30.0
"""For the connection, and for each wait for more bytes. A machine without a network learns it in 3 seconds."""
MOST_BYTES = 1 << 30
"""Of a file whose length is not known."""


def user_cache() -> Path:
    """The folder for seefar in the user's cache folder; it may not exist yet."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tqdm's, which pooch imports, in notebooks without widgets
        import pooch

        return Path(pooch.os_cache("seefar"))


def download(urls: tuple[str, ...], path: Path, md5: str, size: int = MOST_BYTES, progress: Progress = SILENT) -> None:
    """Fetch `path` from the first address that has the right file; nothing happens if it exists already.

    A transfer that breaks off leaves `<path>.part`, and the next try (of any address, in this process or a later
    one) fetches only the rest. The file gets its name when its checksum is right.

    Args:
        urls: addresses of byte-identical copies, best first.
        path: where the file is saved.
        md5: checksum of the file.
        size: its length in bytes; no more are fetched.
        progress: see `seefar.progress`; counts MB.

    Raises:
        DataError: no address has the file; the message lists the answer of each, and whether `path` is a damaged file.
    """
    import pooch

    damaged = ""
    if path.exists():
        found = pooch.file_hash(str(path), alg="md5")
        if found == md5:
            return
        damaged = f"The file there is damaged or a different one: its MD5 is {found}.\n"
    progress.line(f"fetching {path.name} into {path.parent}")
    part = path.with_name(f"{path.name}.part")
    failures = []
    for url in urls:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            transfer(url, part, size, progress)
            found = pooch.file_hash(str(part), alg="md5")
            if found == md5:
                os.replace(part, path)
                return
            part.unlink()  # the next address starts from nothing
            failures.append(f"{url}: a different file (its MD5 is {found})")
        except OSError as error:
            failures.append(f"{url}: {failure(error)}")
    tried = "\n  ".join(failures)
    raise DataError(
        f"{path} could not be fetched (its MD5 must be {md5}):\n  {tried}\n{damaged}"
        f"Try again to resume, or put the file at {path} by hand."
    )


def transfer(url: str, part: Path, most: int, progress: Progress = SILENT) -> None:
    """Complete the file `part` by an HTTP range, or fetch it from the beginning if the host knows no ranges.

    Args:
        url: the address.
        part: the file; it may hold the first bytes already.
        most: after so many bytes nothing more is read: the checksum will refuse the file.
        progress: counts MB.

    Raises:
        OSError: the host cannot be reached, has no such file, or ended the connection early. All errors of requests
            are of this type.
    """
    import requests

    if part.is_symlink():  # whoever can write into a shared data folder could make it name any file
        part.unlink()
    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            return  # it is complete; the checksum decides
        response.raise_for_status()
        if response.status_code != requests.codes.partial_content:
            have = 0  # the host sends the file from its beginning
        length = "" if "Content-Encoding" in response.headers else response.headers.get("Content-Length", "")
        total = have + int(length) if length.isdecimal() else None
        with part.open("ab" if have else "wb") as file:
            for chunk in response.iter_content(CHUNK_BYTES):
                have += file.write(chunk)
                if have > most:
                    return
                if total:
                    progress.update("fetching", have // 10**6, total // 10**6, "MB")
    if total and have < total:
        raise OSError(f"the connection ended after {have:,} of {total:,} bytes")


def failure(error: OSError) -> str:
    """The reason in a few words: requests describes a lost connection by a paragraph of class names."""
    import requests

    return "no connection" if isinstance(error, requests.ConnectionError) else str(error)
