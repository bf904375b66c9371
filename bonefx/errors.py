"""Everything that can go wrong and be explained to a person.

A message says what was wrong and what to do about it, in words for somebody at a browser. Code that
meets a person (page, API, command line) catches `BoneFXError` and shows its message as it is.
"""

from __future__ import annotations

import logging
import traceback

QUOTED = 200
"""Characters at most that a message repeats of what was sent."""


def quoted(value: object) -> str:
    """What was sent, as a message repeats it: its `repr`, or the beginning of that."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of very many digits, a list in very many lists
        text = f"a very long {type(value).__name__}"
    return shortened(text)


def shortened(text: str) -> str:
    """A text, or its beginning and its end: the end of a path tells more than its beginning."""
    if len(text) <= QUOTED:
        return text
    half = QUOTED // 2 - 1
    return f"{text[:half]}…{text[-half:]}"


UNEXPECTED = "Something unexpected went wrong; the server's log has the details."


def log_frames(log: logging.Logger, error: BaseException) -> None:
    """Log where an error came from and of what type it is, but not its words: they may be a visitor's."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    log.error("%s\n%s", type(error).__name__, frames)


class BoneFXError(Exception):
    """Base of every error whose message is meant to be read by the person who asked."""


class SettingsError(BoneFXError, ValueError):
    """An environment variable has a value that it does not offer."""


class ImageError(BoneFXError):
    """A file is not an image that can be read here: damaged, too large, or of an unknown kind."""


class RequestError(BoneFXError):
    """An argument is outside of what is offered: an unknown model, a threshold of 2."""


class SourceError(BoneFXError):
    """A source (folder, Hub) did not give the file that was asked for."""


class WeightsError(BoneFXError):
    """A weight file is not a checkpoint of the network that was asked for."""


class EngineError(BoneFXError):
    """An engine failed on an image, on which another one may well succeed."""


class DatasetError(BoneFXError):
    """A data set folder or a predictions file breaks its format."""


class MetricsError(BoneFXError):
    """A metrics file breaks the schema of `bonefx.evaluation.report`."""
