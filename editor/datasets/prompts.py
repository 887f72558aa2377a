"""From the sentences of a benchmark to prompts: where the subject is, and how a question is put.

A question does not end where its answer starts: a base model goes on with another question. So a
text that ends with a question mark is put as two lines, `Question: … ?` and `Answer:`, in its own
language. docs/how-to/facts/benchmarks.md has the measurement behind that.
"""

import unicodedata
from collections.abc import Iterator

from factd.editor.errors import BadEdit

QUESTION_MARKS = ("?", "？", "؟")
NQ = "nq question:"  # before unrelated questions, which are from Natural Questions
WORDS = {  # language -> the words before a question and before its answer
    "en": ("Question:", "Answer:"),
    "es": ("Pregunta:", "Respuesta:"),
    "ca": ("Pregunta:", "Resposta:"),
    "fr": ("Question :", "Réponse :"),
    "de": ("Frage:", "Antwort:"),
    "it": ("Domanda:", "Risposta:"),
    "pt": ("Pergunta:", "Resposta:"),
}


def answerable(text: str, language: str, *, is_question: bool = False) -> str:
    """A text that ends where its answer starts: a question gets a line for the answer.

    is_question: treat the text as a question although it has no question mark. The questions of
    Natural Questions have none; their mark is taken off.
    """
    text = text.strip()
    if is_unrelated(text):
        text, is_question = text[len(NQ) :].strip(), True
    if not is_question and not text.endswith(QUESTION_MARKS):
        return text
    asks, answers = WORDS.get(language.partition("-")[0], ("Q:", "A:"))
    return f"{asks} {text}\n{answers}"


def is_unrelated(text: str) -> bool:
    """Whether a text is marked as a question of Natural Questions, which is about other things."""
    return text.strip().casefold().startswith(NQ)


def split_at_subject(prompt: str, subject: str) -> tuple[str, str]:
    """The prompt with `{}` where its subject is, and the subject as the prompt spells it.

    Letter case, accents and the form of apostrophes may differ. If the prompt names the subject
    twice, `{}` stands for the first place, and the second one stays as text.

    Raises: BadEdit: the prompt does not name the subject, or only inside a longer word.
    """
    folded, at = _folded(prompt)
    wanted = _folded(subject.strip())[0]
    spans = [(at[a], at[b - 1] + 1) for a, b in _places(folded, wanted)]
    whole = [(a, b) for a, b in spans if not _is_inside_word(prompt, a, b)]
    exact = [(a, b) for a, b in whole if prompt[a:b] == subject.strip()]
    if not whole:
        raise BadEdit(f"the prompt does not name its subject {subject!r}: {prompt!r}")
    start, end = (exact or whole)[0]
    return prompt[:start] + "{}" + prompt[end:], prompt[start:end]


def _folded(text: str) -> tuple[str, list[int]]:
    """A text without case and accents, and for each of its letters the place in the text."""
    letters: list[str] = []
    at: list[int] = []
    for place, letter in enumerate(text):
        plain = unicodedata.normalize("NFKD", letter.replace("’", "'")).casefold()
        kept = [c for c in plain if not unicodedata.combining(c)]
        letters += kept
        at += [place] * len(kept)
    return "".join(letters), at


def _places(text: str, wanted: str) -> Iterator[tuple[int, int]]:
    """Where a text holds another: (start, end), in order."""
    start = text.find(wanted) if wanted else -1
    while start >= 0:
        yield start, start + len(wanted)
        start = text.find(wanted, start + 1)


def _is_inside_word(text: str, start: int, end: int) -> bool:
    """Whether the letters around a place continue its word. Scripts without case have no spaces."""
    return _is_joined(text[start - 1 : start + 1]) or _is_joined(text[end - 1 : end + 1])


def _is_joined(pair: str) -> bool:
    """Whether two neighbouring characters belong to one word."""
    return len(pair) == 2 and all(c.isdigit() or c.lower() != c.upper() for c in pair)
