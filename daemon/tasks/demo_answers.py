"""What the models of `factd demo` say about each changed fact, before and after.

Each fact is asked in the wordings that it is written with, in the unseen wordings of its relation,
and, if the model has a chat template, as a user would ask. The models are loaded from their files,
as any server does, and answer greedily.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from factd.daemon.prompts.edits import PromptSettings
from factd.daemon.prompts.probes import FactContext, statement_probes
from factd.store.model.facts import Fact

FORMS = ("edit", "unseen", "chat")
KIND_OF = {"edit": "edit", "paraphrase": "unseen"}  # kind of probe -> form


@dataclass(frozen=True, kw_only=True)
class DemoQuestion:
    """One question about a changed fact."""

    fact: str  # id
    form: str  # of FORMS
    language: str
    text: str  # what the model completes, or what a user asks
    accepted: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DemoAnswer:
    """The answers to one question before and after an edit."""

    question: DemoQuestion
    before: str
    after: str
    right_before: bool
    right: bool  # after

    def as_json(self) -> dict[str, Any]:
        """The question and its answers, as JSON."""
        return asdict(self)


def questions_about(
    facts: Iterable[Fact], prompts: PromptSettings, chat: Mapping[str, str]
) -> tuple[DemoQuestion, ...]:
    """The questions about some facts, in all forms. chat: relation -> question with "{}"."""
    asked: list[DemoQuestion] = []
    for fact in facts:
        context = FactContext(new=(fact,))
        for language in prompts.write:
            accepted = fact.object.names(language)
            more: dict[str, Any] = {"fact": fact.id, "language": language, "accepted": accepted}
            asked += [
                DemoQuestion(form=KIND_OF[probe.kind], text=probe.prompt, **more)
                for probe in statement_probes(fact, context, language, prompts)
            ]
            if fact.relation in chat:
                question = chat[fact.relation].format(fact.subject.labels[language])
                asked.append(DemoQuestion(form="chat", text=question, **more))
    return tuple(asked)


def said_by(model: Path, questions: Sequence[DemoQuestion]) -> tuple[tuple[str, bool], ...]:
    """The greedy answer of a checkpoint to each question, and whether it is right.

    A model without a chat template is asked a chat question in its own words, like a completion.
    """
    from factd.editor.models.model import load_model  # needs torch
    from factd.editor.scoring import chat
    from factd.editor.scoring.judge import is_right
    from factd.editor.scoring.score import greedy_answers

    loaded = load_model(model, dtype=None)
    chats = chat.has_chat_form(loaded.tokenizer)
    texts = [
        chat.chat_prompt(loaded.tokenizer, q.text) if q.form == "chat" and chats else q.text
        for q in questions
    ]
    judges = {"chat": chat.is_right_in_chat}
    return tuple(
        (answer, judges.get(question.form, is_right)(answer, question.accepted))
        for question, answer in zip(questions, greedy_answers(loaded, texts), strict=True)
    )


def compared(
    before: Path, after: Path, questions: Sequence[DemoQuestion]
) -> tuple[DemoAnswer, ...]:
    """The answers of two checkpoints to the same questions."""
    return tuple(
        DemoAnswer(question=q, before=old, after=new, right_before=was_right, right=is_right)
        for q, (old, was_right), (new, is_right) in zip(
            questions, said_by(before, questions), said_by(after, questions), strict=True
        )
    )


def totals(answers: Iterable[DemoAnswer]) -> dict[str, dict[str, int]]:
    """Per form, the number of questions and of right answers before and after."""
    counted: dict[str, dict[str, int]] = {}
    for answer in answers:
        row = counted.setdefault(answer.question.form, {"asked": 0, "before": 0, "after": 0})
        row["asked"] += 1
        row["before"] += answer.right_before
        row["after"] += answer.right
    return counted
