"""Which metrics reports there are: the Hub's when it answers, those that travel with the app otherwise.

Nothing here waits for the Hub unless it is asked to: a thread fetches, when somebody looks and what is
known has become old, and the page shows what there is.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from bonefx.consensus import CONSENSUS, Consensus
from bonefx.detectors import ModelSpec
from bonefx.errors import BoneFXError, MetricsError
from bonefx.evaluation import report
from bonefx.evaluation.report import Report
from bonefx.evaluation.store import METRICS, PREDICTIONS, Store
from bonefx.inference import CHOICES
from bonefx.results import Identity, Outcome
from bonefx.settings import Settings, packaged
from bonefx.sources.hub import fetch_metrics

_log = logging.getLogger(__name__)

REFRESH_SECONDS = 300.0
"""How old the Hub's answer may become while somebody looks."""

HOME, ELSEWHERE = "", "FracAtlasUpper"
"""Folders of reports: on the first data set, and on hospital pictures."""

FIRST_ANSWER_SECONDS = 20.0
"""How long the API waits for the Hub's first answer; the Hub's own deadlines are shorter."""


@dataclass(frozen=True, eq=False)
class KnownReport:
    """A report of one model or of the consensus, and where it came from.

    Attributes:
        model: its id, of `bonefx.inference.CHOICES`.
        report: as `bonefx.evaluation.report` reads it.
        source: `hub` or `packaged`.
        file: the file's name.
        folder: `HOME` or `ELSEWHERE`.
        repo, revision: Hub repository and full commit SHA; None for a packaged file.
        fetched: when the Hub confirmed it, on the store's clock; None where it did not.
        note: why it is not the Hub's newest, in sentences; empty where it is, or the Hub was not asked yet.
    """

    model: str
    report: Report
    source: Literal["hub", "packaged"]
    file: str
    folder: str = HOME
    repo: str | None = None
    revision: str | None = None
    fetched: float | None = None
    note: str = ""

    def applies_to(self, used: Sequence[Identity]) -> bool:
        """Whether the figures are those of the weights in use: of one model, or of all members."""
        method = CONSENSUS.method if self.model == CONSENSUS.id else None
        return report.applies_to(self.report, used, method)


class MetricsStore:
    """The reports of all models, the consensus counted as one of them.

    One for the process, made when the app is built; safe to use from threads.

    Args:
        settings: where the Hub's files are.
        folder: of the packaged files; None is that of the app.
        refresh_seconds: how old the Hub's answer may become.
        clock: seconds, never going back.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        folder: Path | None = None,
        refresh_seconds: float = REFRESH_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._folder = folder or packaged(METRICS)
        self._refresh_seconds = refresh_seconds
        self._clock = clock
        self._lock = threading.Lock()
        # What these hold is replaced, never changed, so that reading it takes no lock.
        self._packaged: tuple[KnownReport, ...] | None = None
        self._problems: tuple[str, ...] = ()
        # By folder and model: its entry, or why there is none.
        self._hub: dict[tuple[str, str], KnownReport | str] = {}
        self._checked: float | None = None
        self._idle = threading.Event()
        self._idle.set()

    def current(self, folder: str = HOME) -> dict[str, KnownReport]:
        """By model id, the report to show: the Hub's, else the packaged. A model without any is left out.

        Never waits for the Hub, but has it asked in the background when its last answer is old.
        """
        return {model_id: entries[0] for model_id in CHOICES if (entries := self._of(model_id, folder))}

    def packaged(self, kind: str, folder: str = HOME) -> dict[str, KnownReport]:
        """By model id, the packaged report that is `measured` or `reported`. Who has none is left out."""
        found: dict[str, KnownReport] = {}
        for entry in self._read_packaged():
            if (entry.report["kind"], entry.folder) == (kind, folder):
                found.setdefault(entry.model, entry)
        return found

    def problems(self) -> tuple[str, ...]:
        """What is wrong with packaged files, in sentences."""
        self._read_packaged()
        return self._problems

    def find(self, model_id: str, used: Sequence[Identity], folder: str = HOME) -> KnownReport | None:
        """The report, of any source, of these weights when they are run this way.

        Args:
            model_id: the model, or the consensus.
            used: one for the model, or one for each member of the consensus.
            folder: `HOME` or `ELSEWHERE`.
        """
        return next((entry for entry in self._of(model_id, folder) if entry.applies_to(used)), None)

    def elsewhere(self, entry: KnownReport) -> KnownReport | None:
        """The report on hospital pictures of the very weights that a report is about."""
        used = report.identities(entry.report)
        return self.find(entry.model, used, ELSEWHERE) if used else None

    def report_for(self, outcome: Outcome, wait: float = 0.0, folder: str = HOME) -> Report | None:
        """The report that belongs to an outcome's weights, NMS mode and image size; None without one.

        Where none is known but the Hub is being asked, it waits for that up to `wait` seconds.
        """
        used = outcome.identities
        if used is None:
            return None
        entry = self.find(outcome.model, used, folder)
        if entry is None and wait and self.settled(wait):
            entry = self.find(outcome.model, used, folder)
        return entry.report if entry else None

    def to_records(self, folder: str = HOME) -> list[dict[str, Any]]:
        """The reports that are shown, with where each came from, as plain values for the API.

        Waits for the Hub once, when it has never been asked before.
        """
        if self._checked is None:
            self.refresh(FIRST_ANSWER_SECONDS)
        return [
            {
                "model": entry.model,
                "source": entry.source,
                "repo": entry.repo,
                "revision": entry.revision,
                "file": entry.file,
                "where": self.where(entry),
                "note": entry.note,
                "report": entry.report,
            }
            for entry in self.current(folder).values()
        ]

    def place(self, entry: KnownReport) -> str:
        """Where a report came from, as a part of a sentence."""
        if entry.source == "packaged":
            return "packaged with the app"
        kind = "" if self._settings.metrics_repo_type == "model" else f"{self._settings.metrics_repo_type} "
        return f"from the Hub {kind}repo {entry.repo}, commit {str(entry.revision)[:7]}"

    def where(self, entry: KnownReport) -> str:
        """Where a report came from and when, as a part of a sentence. Its note is another sentence."""
        if entry.fetched is None:
            cached = entry.source == "hub"
            return f"{self.place(entry)}{', by the copy on this machine' if cached else ''}"
        return f"{self.place(entry)}, fetched {_ago(self._clock() - entry.fetched)}"

    def refresh(self, wait: float = 0.0) -> bool:
        """Ask the Hub now, or join in when it is being asked; wait for it up to `wait` seconds.

        Returns:
            Whether its answer is there.
        """
        with self._lock:
            if self._idle.is_set():
                self._idle.clear()
                threading.Thread(target=self._ask_hub, name="metrics", daemon=True).start()
        return self.settled(wait)

    def settled(self, wait: float = 0.0) -> bool:
        """Whether nobody is asking the Hub, at the latest after `wait` seconds."""
        return self._idle.wait(wait)

    @property
    def predictions(self) -> Store | None:
        """The packaged ground truth and predictions; None where no ground truth travels with the app."""
        kept = Store(self._folder / PREDICTIONS)
        return kept if kept.ground_truth.is_file() else None

    def _of(self, model_id: str, folder: str) -> list[KnownReport]:
        """All of a model: the Hub's, then the packaged, what was measured before what was reported."""
        if self._checked is None or self._clock() - self._checked >= self._refresh_seconds:
            self.refresh()
        hub = self._hub.get((folder, model_id), "")
        own = [e for e in self._read_packaged() if (e.model, e.folder) == (model_id, folder)]
        if isinstance(hub, KnownReport):
            return [hub, *own]
        return [replace(entry, note=hub) for entry in own]

    def _read_packaged(self) -> tuple[KnownReport, ...]:
        with self._lock:
            return self._packaged if self._packaged is not None else self._load_packaged()

    def _load_packaged(self) -> tuple[KnownReport, ...]:
        entries, problems = [], []
        for folder, spec in product((HOME, ELSEWHERE), CHOICES.values()):
            for name in self._names(spec):
                path = self._folder / folder / name
                if not path.is_file():
                    continue
                try:
                    found = report.read(path, spec.id, spec.name)
                except MetricsError as error:
                    problems.append(f"The packaged {PurePosixPath(folder, name)} is not used. {error}")
                else:
                    entries.append(KnownReport(spec.id, found, "packaged", name, folder))
        self._packaged, self._problems = tuple(entries), tuple(problems)
        return self._packaged

    def _names(self, spec: ModelSpec | Consensus) -> list[str]:
        """The packaged files of a model: under the name that is fetched, the default's, and as reported."""
        default = spec.metrics_file(Settings())
        names = (spec.metrics_file(self._settings), default, default.replace("metrics_", "reported_"))
        return list(dict.fromkeys(names))

    def _ask_hub(self) -> None:
        try:
            for folder, spec in product((HOME, ELSEWHERE), CHOICES.values()):
                try:
                    answer: KnownReport | str = self._fetch(spec, folder)
                except BoneFXError as error:
                    answer = str(error)
                except Exception as error:  # the file is others', and the next models' must be asked for
                    _log.error("metrics of %s could not be read", spec.name, exc_info=error)
                    answer = f"The Hub's file cannot be read ({type(error).__name__}); the log has details."
                self._hub = {**self._hub, (folder, spec.id): answer}
            self._load_packaged()  # whoever evaluates beside a running app sees the new figures too
        finally:
            self._checked = self._clock()
            self._idle.set()

    def _fetch(self, spec: ModelSpec | Consensus, folder: str) -> KnownReport:
        """The Hub's report of a model.

        Raises:
            SourceError: the Hub does not give it.
            MetricsError: it gives a file that is no report of this model.
        """
        name = PurePosixPath(folder, spec.metrics_file(self._settings))
        file = fetch_metrics(self._settings, str(name))
        place = f"{file.file} of {file.repo}, commit {file.revision[:7]}, is not used"
        try:
            found = report.read(file.path, spec.id, spec.name)
        except MetricsError as error:
            raise MetricsError(f"{place}. {error}") from None
        about = found["detector"]
        if about["id"] != spec.id and about["id"] in CHOICES:
            raise MetricsError(f"{place}: it is about {about['name']}, not about {spec.name}.")
        return KnownReport(
            spec.id,
            found,
            "hub",
            file.file,
            folder,
            file.repo,
            file.revision,
            None if file.note else self._clock(),
            file.note or "",
        )


def _ago(seconds: float) -> str:
    minutes = int(seconds // 60)
    if minutes < 1:
        return "just now"
    return "1 minute ago" if minutes == 1 else f"{minutes} minutes ago"
