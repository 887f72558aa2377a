"""The base model, loaded when it is first needed, with the configured method and the answers it gave."""

import atexit
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factd.daemon.config.tables import MethodTable, ModelTable
from factd.editor import plugins
from factd.editor.settings import settings_from

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
    loaded: "EditableModel | None" = None
    memory: "AnswerCache | None" = None

    def model(self) -> "EditableModel":
        """The base model, with its workers where some are configured. They end with this process."""
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
        """The frozen settings of the configured method. Raises: BadSettings."""
        method = plugins.load("factd.editor.methods", self.method.name)
        return settings_from(method.Settings, self.method.settings())

    @property
    def terminator(self) -> str:
        """The text that the method writes behind every target."""
        return str(getattr(self.method_settings(), "terminator", ""))
