"""Prefixes of MEMIT's templates: short texts that the model itself writes, from five seed words per language."""

from collections.abc import Mapping, Sequence

from factd.editor.models.generation import sample
from factd.editor.models.model import EditableModel

PREFIXES = 5
PREFIX_TOKENS = 10
SEED_WORDS: Mapping[str, tuple[str, ...]] = {
    "en": ("The", "Therefore", "Because", "I", "You"),
    "es": ("El", "Por", "Porque", "Yo", "Tú"),
    "ca": ("El", "Per", "Perquè", "Jo", "Tu"),
    "fr": ("Le", "Donc", "Parce", "Je", "Vous"),
    "de": ("Der", "Daher", "Weil", "Ich", "Sie"),
    "it": ("Il", "Quindi", "Perché", "Io", "Tu"),
    "pt": ("O", "Portanto", "Porque", "Eu", "Você"),
}


def generate_templates(
    model: EditableModel, languages: Sequence[str], *, seed: int = 0
) -> dict[str, tuple[str, ...]]:
    """Five prefixes per language, sampled with a seed; a language without seed words uses English ones."""
    found = {}
    for language in sorted(set(languages)):
        words = SEED_WORDS.get(language, SEED_WORDS["en"])
        texts = sample(model, words, new_tokens=PREFIX_TOKENS - 1, seed=seed)
        found[language] = tuple(clean(text) for text in texts)
    return found


def clean(text: str) -> str:
    """A prefix without what would confuse a prompt: braces, line breaks, the final stop."""
    return " ".join(text.replace("{", " ").replace("}", " ").split()).rstrip(". ")
