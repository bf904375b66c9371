"""The process that makes a graph in the background; `bonefx.detectors.conversion.background` starts it.

It runs with one thread and, if told so, only while the processor has nothing else to do. The first argument
says `idle` or `now`. Standard input holds the request as one line of JSON; when it ends, so does the process.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading

from bonefx.detectors.conversion.background import Request
from bonefx.settings import Settings


def main() -> None:
    """Make the graph and keep it in the cache."""
    request = Request.from_json(sys.stdin.readline())
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    if sys.argv[1] == "idle":
        _step_back()
    from bonefx.detectors import loading
    from bonefx.detectors.conversion import make

    model = importlib.import_module(request.module)
    make.into_cache(model, request.weights, request.cache)
    # OpenVINO's own cache is filled on the way.
    loading.from_graph(model, request.weights, Settings(cache_dir=request.cache, precision=request.precision))


def _step_back() -> None:
    """Leave the processor to everything else, as far as the system offers that."""
    with contextlib.suppress(AttributeError, OSError):
        os.setpriority(os.PRIO_PROCESS, 0, 19)
    with contextlib.suppress(AttributeError, OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _end_with_the_parent() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
