"""Fetching one published file over HTTPS."""

from __future__ import annotations

import hashlib
import http.client
import urllib.request
from collections.abc import Collection
from urllib.error import HTTPError, URLError

from edgedet.errors import EdgedetError
from edgedet.files import MEBIBYTE

_BLOCK = 1 << 16


def fetch(
    url: str,
    *,
    sha256_prefix: str,
    limit: int,
    fix: str,
    timeout: float = 20.0,
    schemes: Collection[str] = ("https",),
) -> bytes:
    """The bytes at `url`.

    Args:
        url: of the file; redirects are followed inside `schemes` only.
        sha256_prefix: hex digits that the SHA-256 of the bytes has to begin with.
        limit: the most bytes that are taken.
        fix: what to tell a person to do where it fails.
        timeout: seconds that the server may stay silent.
        schemes: the URL schemes that are spoken.

    Raises:
        EdgedetError: no network, an HTTP error, silence, a truncated or too large answer, another hash.
    """
    try:
        with _opener(schemes).open(url, timeout=timeout) as response:
            data = _read(response, limit)
            announced = response.headers.get("Content-Length")
    except HTTPError as error:
        error.close()
        raise EdgedetError(f"cannot download (HTTP {error.code} {error.reason})", where=url, fix=fix) from error
    except URLError as error:
        raise EdgedetError(f"cannot download ({error.reason})", where=url, fix=fix) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise EdgedetError(f"cannot download ({error or type(error).__name__})", where=url, fix=fix) from error
    if len(data) > limit:
        raise EdgedetError(f"larger than {limit / MEBIBYTE:.0f} MiB, the most that is taken", where=url, fix=fix)
    if announced is not None and announced != str(len(data)):
        raise EdgedetError(f"the download broke off at {len(data)} of {announced} bytes", where=url, fix=fix)
    digest = hashlib.sha256(data).hexdigest()
    if not digest.startswith(sha256_prefix):
        what = f"the downloaded file is not the published one (SHA-256 {digest}, not {sha256_prefix}...)"
        raise EdgedetError(what, where=url, fix=fix)
    return data


def _opener(schemes: Collection[str]) -> urllib.request.OpenerDirector:
    """Like urllib's own, but a redirect leads to nothing outside `schemes`: no file, no ftp, no plain HTTP."""
    opener = urllib.request.OpenerDirector()
    handlers: list[urllib.request.BaseHandler] = [
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
    ]
    if "https" in schemes:
        handlers.append(urllib.request.HTTPSHandler())
    if "http" in schemes:
        handlers.append(urllib.request.HTTPHandler())
    for handler in handlers:
        opener.add_handler(handler)
    return opener


def _read(response: http.client.HTTPResponse, limit: int) -> bytes:
    """At most one byte more than `limit`."""
    data = bytearray()
    while len(data) <= limit and (block := response.read(min(_BLOCK, limit + 1 - len(data)))):
        data += block
    return bytes(data)
