"""Questions in the chat form of a model, and whether its answer to one is right.

A chat model repeats the question before it answers: "The currency of Croatia is the euro." So an
answer is also right if an accepted label stands behind the verb of its first sentence. The rule is
for English; in another language only an answer that begins with the label is right.
"""

import re
from collections.abc import Sequence
from typing import Any

from factd.editor.scoring.judge import folded, is_right

# The verb that the answer stands behind, and words that may stand between both.
VERB = re.compile(
    r"\b(?:is|are|uses?)\s+(?:(?:currently|now|officially|called|named|known\s+as|a\s+member\s+of)"
    r"[\s,]+)*(?:the\s+)?(?:(?:president|(?:prime\s+)?minister|chancellor|speaker|pope|king|queen"
    r"|mr|ms|mrs|dr|sir)\.?\s+)?",
    re.IGNORECASE,
)
SENTENCE = re.compile(r"(?<=[^\W\d_]{3})[.!?](?:\s|$)|\n")  # "Dr." and "St." do not end a sentence


def has_chat_form(tokenizer: Any) -> bool:
    """Whether the model comes with a chat template. A base model usually does not."""
    return bool(getattr(tokenizer, "chat_template", None))


def chat_prompt(tokenizer: Any, question: str) -> str:
    """The text that the model reads when a user asks it a question and nothing else."""
    turns = [{"role": "user", "content": question}]
    return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))


def is_right_in_chat(text: str, accepted: Sequence[str], *, longer: Sequence[str] = ()) -> bool:
    """Whether an answer begins with an accepted label, or gives it behind its first verb.

    longer: known names that begin with an accepted label and are other things.
    """
    if is_right(text, accepted, longer=longer):
        return True
    sentence = SENTENCE.split(folded(text).strip(), maxsplit=1)[0]
    verb = VERB.search(sentence)
    return verb is not None and is_right(sentence[verb.end() :], accepted, longer=longer)
