"""Faults: what a place raises, told in one line with what to do about it, and whether it may pass."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lesionforge.generators.types import UserError


class StoreError(UserError):
    """A storage fault, in one line: which object, what went wrong, what to do about it."""


#: (S3 error codes, exception names and errno names) -> what to do. The first that fits is shown.
_SERVER: Sequence[tuple[tuple[str, ...], str]] = (
    (("NoSuchBucket",), "create bucket {bucket} (aws s3 mb s3://{bucket}) or correct the URL"),
    (("NoCredentialsError", "PartialCredentialsError"), "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    (
        ("ExpiredToken", "RequestTimeTooSkewed"),
        "the credentials are out of date, or this machine's clock is: renew them",
    ),
    (("400",), "the server does not say why; most often the credentials are out of date: renew them"),  # of a HEAD
    (
        ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "AuthorizationHeaderMalformed"),
        "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and AWS_REGION",
    ),
    (
        ("AccessDenied", "403", "401"),
        "wrong keys, or keys that lack s3:PutObject, GetObject, ListBucket or DeleteObject on {bucket}",
    ),
    (
        ("SSLError", "SSLCertVerificationError", "ClientSSLError"),
        "the server is not trusted, or speaks no TLS: check http:// against https://, and AWS_CA_BUNDLE",
    ),
    (("PermanentRedirect", "301", "307", "308"), "{bucket} lies elsewhere: set AWS_REGION or AWS_ENDPOINT_URL to it"),
    (("ParamValidationError", "InvalidBucketName", "InvalidURL"), "correct the URL, such as s3://bucket/prefix"),
    (
        (
            "EndpointConnectionError",
            "ConnectTimeoutError",
            "ConnectionClosedError",
            "ReadTimeoutError",
            "FSTimeoutError",
            "ClientConnectionError",
            "ConnectionError",
            "TimeoutError",
            "gaierror",
        ),
        "the endpoint is unreachable: check AWS_ENDPOINT_URL and the network",
    ),
    (("NotImplemented", "501"), "this server knows no conditional PUT (If-None-Match: *): use AWS S3, Ceph or MinIO"),
    (("EntityTooLarge",), "make shards smaller"),
)
#: The same, of a disk that is written to.
_DISK: Sequence[tuple[tuple[str, ...], str]] = (
    (("ENOSPC", "EDQUOT", "QuotaExceeded"), "the disk or quota is full: free space or choose another place"),
    (("EROFS",), "the file system is read-only: choose another place"),
    (("EACCES", "EPERM"), "permission denied: choose a folder this user may write to"),
    (("ENOTDIR", "EEXIST", "ENOENT"), "no folder can be made there: choose another path"),
    (("ImportError", "ModuleNotFoundError"), "install the package that serves this protocol"),
)


def explain(error: Exception, options: Mapping[str, Any], bucket: str) -> str:
    """What happened and the fix, in one line without secrets.

    Args:
        error: what a place raised.
        options: what its file system was given: no secret among them is shown, nor one of the environment.
        bucket: its bucket, if it has one.
    """
    text = " ".join(str(error).split())
    if text in ("", "None"):  # Ceph sends no message
        text = code(error) or type(error).__name__
    for value in _secrets({**options, "environment": dict(os.environ)}):
        text = text.replace(value, "***")
    text = re.sub(r"://[^/@\s]+@", "://", text)  # an endpoint's or a proxy's user and password
    return "; ".join(filter(None, [text, remedy(error, bucket) or _fix(error, _DISK)]))


def remedy(error: BaseException, bucket: str) -> str:
    """What to do about the fault of a server or of the way to it; empty where nobody knows."""
    link: BaseException | None = error
    while link is not None:
        if fix := _fix(link, _SERVER):
            return fix.format(bucket=bucket)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return ""


def _fix(error: BaseException, known: Sequence[tuple[tuple[str, ...], str]]) -> str:
    names = {code(error), errno.errorcode.get(getattr(error, "errno", None) or 0, ""), *_names(error)}
    return next((fix for causes, fix in known if names & set(causes)), "")


def _names(error: BaseException) -> set[str]:
    """Of an exception's classes, and a web server's answer."""
    return {kind.__name__ for kind in type(error).__mro__} | {str(getattr(error, "status", ""))}


#: What a server says (with 400) of a body that did not arrive whole.
_CUT_OFF = ("RequestTimeout", "IncompleteBody", "BadDigest")


def code(error: BaseException | None) -> str:
    """The S3 error code of an exception or of what caused it, else ''."""
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
        error = error.__cause__
    return ""


def passing(error: BaseException | None) -> bool:
    """Whether a fault may be gone on the next try."""
    from aiohttp import ClientError as HttpError
    from botocore.exceptions import (  # type: ignore[import-untyped]
        ConnectionError,
        HTTPClientError,
        IncompleteReadError,
    )

    passing = (ConnectionError, HTTPClientError, HttpError, IncompleteReadError, TimeoutError, ConnectionResetError)
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            return code(error) in _CUT_OFF or status in (408, 409, 429, 500, 502, 503, 504)
        if isinstance(error, passing):
            return True
        error = error.__cause__
    return False


def _secrets(options: Mapping[str, Any]) -> Iterator[str]:
    """The values that must not be shown, at any depth."""
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from _secrets(value)
        elif (
            isinstance(value, str) and len(value) > 7 and re.search("secret|session_token|^token$|password", name, re.I)
        ):
            yield value
