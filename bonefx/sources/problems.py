"""What the errors of `huggingface_hub` and its HTTP client mean, in words for a person."""

from __future__ import annotations

import errno
import socket
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bonefx.errors import SourceError, quoted, shortened

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError


class MissingError(SourceError):
    """The Hub answered that there is no such file, so a cached one is not what was asked for."""


@dataclass(frozen=True)
class Request:
    """What was asked of the Hub, as far as an explanation needs it.

    Attributes:
        filename: in the repository.
        action: "read" or "write to", what a token must allow.
        late: what is said where the Hub has been silent for too long.
    """

    endpoint: str
    token: str | None = field(repr=False)
    repo_id: str
    revision: str
    filename: str
    action: str
    late: str


def explain(error: BaseException, request: Request) -> SourceError:
    """An error as one that can be shown."""
    import httpx2
    from huggingface_hub import errors

    match error:
        case SourceError():
            return error
        case errors.HfHubHTTPError():
            return _of_an_answer(error, request)
        case TimeoutError() | httpx2.TimeoutException():
            text = request.late
        case errors.HFValidationError():
            text = f"{quoted(request.repo_id)} is no repository id of the Hub: it must be OWNER/NAME."
        case errors.OfflineModeIsEnabled():
            text = "huggingface_hub is in offline mode: unset HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE."
        case errors.FileMetadataError():
            text = f"What answered at {request.endpoint} is no Hub: check HF_ENDPOINT and the network."
        case httpx2.UnsupportedProtocol() | httpx2.InvalidURL():
            text = f"{quoted(request.endpoint)} is no address of a Hub: check HF_ENDPOINT."
        case UnicodeDecodeError():  # of a file of the cache's own; a token would be encoded
            text = "The Hub's cache on this machine cannot be used: it is damaged."
        case httpx2.LocalProtocolError() | UnicodeError():
            # Never with the error's own words: they quote the token.
            text = "The token has characters that no token has: check HF_TOKEN."
        case httpx2.TooManyRedirects():
            text = "The Hub redirects without end."
        case httpx2.ConnectError() | httpx2.ProxyError():
            text = _of_a_connection(error, request)
        case httpx2.TransportError():
            text = "The connection to the Hub broke off."
        case EOFError():
            text = f"The Hub sent only a part of {request.filename}."
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            text = f"There is no room left on the disk for {request.filename}."
        case OSError():
            text = f"The Hub's cache on this machine cannot be used: {error.strerror or error}."
        case _:
            text = f"The Hub could not be used ({type(error).__name__}: {shortened(str(error))})."
    return SourceError(text)


def _of_an_answer(error: HfHubHTTPError, request: Request) -> SourceError:
    from huggingface_hub import errors

    repo, status = request.repo_id, error.response.status_code
    token_hint = f"set HF_TOKEN to a token that may {request.action} it"
    match error:
        case errors.GatedRepoError():
            text = f"{repo} is gated: accept its conditions on the Hub, and {token_hint}."
        case errors.RepositoryNotFoundError():
            text = f"{repo} was not found on the Hub, or is private: check the name, or {token_hint}."
        case errors.RevisionNotFoundError():
            return MissingError(f"{repo} has no revision {request.revision}: check BONEFX_REVISION.")
        case _ if status == 404:
            return MissingError(f"{repo} has no file {request.filename}.")
        case _ if status == 401 and request.token:
            text = "The Hub does not accept the token (401): check HF_TOKEN."
        case _ if status in (401, 403):
            text = f"The Hub does not allow to {request.action} {repo} ({status}): {token_hint}."
        case _ if status == 429:
            text = "The Hub has had too many requests from here (429)."
        case _ if status >= 500:
            text = f"The Hub has a fault of its own ({status})."
        case _:
            text = f"The Hub answered with status {status}."
    return SourceError(text)


def _of_a_connection(error: BaseException, request: Request) -> str:
    causes = []
    cause: BaseException | None = error
    while cause is not None:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return f"The host of {request.endpoint} was not found: check the network and HF_ENDPOINT."
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return f"{request.endpoint} has no certificate that this machine trusts."
    return f"No connection to {request.endpoint}: check the network."
