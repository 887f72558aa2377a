"""The base model, the configured method and cached answers of the model.

The model is loaded when it is first needed.
"""

import atexit
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factd.daemon.config.tables import MethodTable, ModelTable
from factd.editor import plugins
from factd.editor.errors import BadSettings
from factd.editor.files.checksum_cache import ChecksumCache
from factd.editor.settings import required_settings, settings_from
from factd.editor.tuning.kept import KeptTuning, KeptTunings

if TYPE_CHECKING:
    from factd.editor.exams.exam import AnswerCache, Exam, ExamResults
    from factd.editor.models.model import EditableModel
    from factd.editor.scoring.score import Answer, Probe


@dataclass
class Workbench:
    """The base model on demand. Each question is put to it once, also across processes."""

    table: ModelTable
    method: MethodTable
    workspace: Path  # values, second moments and answers, kept between edits
    base_number: int = 0  # the base that table.path leads to; 0 is the original model
    original_path: Path | None = None  # that [model] path names; None: that of the table
    loaded: "EditableModel | None" = None
    memory: "AnswerCache | None" = None

    def model(self) -> "EditableModel":
        """The base model, with its workers if any are configured. Workers end with this process."""
        if self.loaded is None:
            from factd.editor.models.model import load_model  # needs torch

            table = self.table
            self.loaded = load_model(table.path, device=table.device, dtype=table.dtype)
            if table.workers:
                from factd.editor.models.ray_workers import ray_workers  # needs Ray

                stack = ExitStack()
                atexit.register(stack.close)
                shared = ray_workers(self.loaded, table.workers, address=table.ray_address or None)
                self.loaded = stack.enter_context(shared)
        return self.loaded

    def base(self, exam: "Exam") -> "ExamResults":
        """The base model's results on an exam. Answers are kept on disk and not asked for again."""
        from factd.editor.exams.exam import AnswerCache, take_exam  # needs torch

        model = self.model()
        if self.memory is None:
            self.memory = AnswerCache.load(self.workspace / "answers" / f"{model.fingerprint}.json")
        return take_exam(model, exam, terminator=self.terminator, cache=self.memory)

    def base_answers(self, probes: "Sequence[Probe]") -> "tuple[Answer, ...]":
        """The base model's answers to some probes, in their order."""
        from factd.editor.exams.exam import Exam  # needs torch

        return self.base(Exam(probes=tuple(probes))).answers

    def method_settings(self) -> Any:
        """The frozen settings of the configured method: those of the file over the pinned ones.

        Raises: BadSettings: one is wrong, or some are neither in the file nor pinned yet.
        """
        cls = self._settings_class
        if self.lacks_settings() and self.pinned_settings() is None:
            missing = sorted(required_settings(cls) - set(self.method.settings()))
            raise BadSettings(
                f"[method.{self.method.name}] gives no {' and no '.join(missing)}; `factd edit` "
                "finds the missing settings and keeps them, or write them into the table"
            )
        return settings_from(cls, self._table())

    def lacks_settings(self) -> bool:
        """Whether the configuration leaves out settings of the method that have no default."""
        return bool(required_settings(self._settings_class) - set(self.method.settings()))

    @property
    def pinned(self) -> KeptTunings:
        """Settings that were found for the configured model once, and stay."""
        return KeptTunings(self.workspace / "tunings")

    def pinned_settings(self) -> KeptTuning | None:
        """The pinned settings of the configured method and original model.

        Raises: BadSettings: they are damaged. They are not set aside and found anew: the weights
        of the next release would change.
        """
        fingerprint = self.original_fingerprint()
        path = self.pinned.path(fingerprint, self.method.name)
        try:
            return self.pinned.read(fingerprint, self.method.name)
        except (ValueError, KeyError, OSError) as error:
            raise BadSettings(
                f"{path} cannot be read ({error}); restore it from a backup, or delete it, and "
                "`factd edit` takes the settings of the live release"
            ) from error

    @property
    def original(self) -> Path:
        """The folder of the model that [model] path names, whatever base is in effect."""
        return self.original_path or self.table.path

    def original_fingerprint(self) -> str:
        """The fingerprint of the model that [model] path names. Raises: ModelNotFound."""
        from factd.editor.models.model import fingerprint  # needs torch

        sums = ChecksumCache(self.workspace / "checksums.json")
        found = fingerprint(self.original, sums.sha256)
        sums.save()
        return found

    @property
    def terminator(self) -> str:
        """The text that the method writes behind every target."""
        default = {f.name: f.default for f in fields(self._settings_class)}.get("terminator", "")
        return str(self._table().get("terminator", default))

    @property
    def _settings_class(self) -> Any:
        return plugins.load("factd.editor.methods", self.method.name).Settings

    def _table(self) -> dict[str, Any]:
        """The settings of the file over the pinned ones, if the file leaves any out."""
        pinned = self.pinned_settings() if self.lacks_settings() else None
        return {**(pinned.settings if pinned else {}), **self.method.settings()}
