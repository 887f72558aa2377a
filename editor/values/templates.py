"""Prefixes of MEMIT's templates: short texts that the model writes from seed words."""

from collections.abc import Mapping, Sequence

from factd.editor.models.generation import sample
from factd.editor.models.model import EditableModel

PREFIX_TOKENS = 10  # of a prefix, with its seed word
SEED_WORDS: Mapping[str, tuple[str, ...]] = {  # language -> the words that prefixes begin with
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
    """Five prefixes for each language, sampled with a seed.

    A language without seed words uses the English ones.
    """
    prefixes = {}
    for language in sorted(set(languages)):
        words = SEED_WORDS.get(language, SEED_WORDS["en"])
        texts = sample(model, words, new_tokens=PREFIX_TOKENS - 1, seed=seed)
        prefixes[language] = tuple(clean(text) for text in texts)
    return prefixes


def clean(text: str) -> str:
    """A prefix without braces, line breaks and a final stop, which would confuse a prompt."""
    return " ".join(text.replace("{", " ").replace("}", " ").split()).rstrip(". ")
