"""The page, compressed on its way: Gradio's own middleware passes over addresses without a file's ending."""

from __future__ import annotations

from typing import Any

from gradio.brotli_middleware import BrotliMiddleware
from starlette.middleware import Middleware

_PAGES = ("/", "/config")


class PageCompression(BrotliMiddleware):
    """Compresses the page itself and its configuration. What Gradio's own compresses it leaves alone."""

    def _is_compressible_file_type(self, scope: Any) -> bool:
        return scope.get("path") in _PAGES


def compression() -> list[Middleware]:
    """For `launch(app_kwargs={"middleware": ...})`."""
    return [Middleware(PageCompression, quality=5)]
