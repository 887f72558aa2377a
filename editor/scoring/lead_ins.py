"""What may stand before the label in an answer, in the languages of the relation catalogue.

The words are those of English, Spanish, Catalan, French, German, Italian and Portuguese. In other
languages, only what depends on no word is found: quotes, marks, and titles in small letters.
"""

import re
from collections.abc import Iterator

ARTICLES = """the a an el la lo los las un una unos unas els l' uns unes le les une der die das den
dem des ein eine einen einem einer il gli i uno un' o os as um uma al als del dels au aux du dell'
della all' alla im zum zur am da do na"""
PREPOSITIONS = """in on at by as for from to en por para como de d' à a dans par comme pour amb per
com von bei als für di durch"""
OF = "of de d' del du des dels della dell' di von do da"
COPULAS = """is was are were es era fue son est était fut sont és fou són ist war sind heißt è fu
sono é foi são called llama appelle diu anomena chiama named it's he's she's that's c'est s'appelle
s'anomena chama-se"""
NEGATIONS = """not no never neither nor none cannot without n't ne n' pas ni non nicht kein keine
não nunca jamais mai cap sin sans sense"""
ASIDES = """and or but with against before after near like unlike than except y o u e i und oder ou
et con contra cerca pero contre près mais avec amb prop però"""
TITLES = """president king queen pope emperor sir chancellor minister presidente presidenta rey
reina papa rei président roi reine pape"""
KINDS = """city town village country state island continent planet region province language river
company republic kingdom ciudad pueblo país estado isla continente planeta región provincia lengua
idioma río empresa república reino ville pays état île planète région langue fleuve république
royaume entreprise ciutat poble estat illa planeta regió província llengua riu regne
heart centre center middle north south east west part corazón centro norte sur este oeste parte
cœur nord sud est ouest partie cor"""

KIND_NOUNS, VERBS = frozenset(KINDS.split()), frozenset(COPULAS.split())
NOT_SO = frozenset(f"{NEGATIONS} {ASIDES}".split())
NO_NOUNS = frozenset(f"{ARTICLES} {PREPOSITIONS} {OF} {COPULAS} {NEGATIONS} {ASIDES}".split())
DENIED = re.compile(rf"\b(?:{'|'.join(NEGATIONS.split())})\b|n't\b", re.IGNORECASE)


def _one_of(words: str) -> str:
    """A pattern of one of some words and the space behind it; words that end in ' need none."""
    longest_first = sorted(set(words.split()), key=len, reverse=True)
    patterns = [word if word.endswith("'") else rf"{word}\s+" for word in longest_first]
    return f"(?i:{'|'.join(patterns)})"


ANSWER = (
    r"(?:the\s+)?answer(?:\s+is)?|a|(?:la\s+)?respuesta(?:\s+es)?|(?:la\s+)?réponse(?:\s+est)?"
    r"|(?:la\s+)?resposta(?:\s+és)?|antwort|risposta"
)
QUOTES = r"[\s\"'«“„(\[…:]*"
START = re.compile(
    rf"{QUOTES}(?i:-\s+)?(?:(?i:{ANSWER})\s*:)?"
    rf"{QUOTES}"
)
BEFORE_NAME = re.compile(_one_of(f"{ARTICLES} {PREPOSITIONS}") + QUOTES)
KIND = re.compile(rf"(?P<noun>[^\W\d_]{{3,}})\s+(?P<of>{_one_of(OF)})?{QUOTES}")
ORIGIN = re.compile(r"[^\W\d_][\w-]*\s+")  # "French " in "French writer Victor Hugo"
TITLE = re.compile(rf"(?:{_one_of(TITLES)})+")
DAY = re.compile(  # of a year: "8 May ", "May 8, ", "el 8 de maig de "
    r"(?:\d{1,2}(?:st|nd|rd|th|er|\.)?\s+(?:(?:of|de)\s+|d')?[^\W\d_]{3,}"
    r"|[^\W\d_]{3,}\s+\d{1,2}(?:st|nd|rd|th)?),?\s+(?:de\s+|del\s+|of\s+)?(?=\d{4}\b)"
)
LINK = re.compile(rf"(?<!\w)(?:(?P<copula>{_one_of(COPULAS)})|{_one_of(PREPOSITIONS)})")
ASIDE = re.compile(rf"{_one_of(PREPOSITIONS)}[^,.;:!?\n]{{1,40}},\s+")  # "In Egypt, "
DESCRIPTION = re.compile(  # "the capital of the country, ": a name stands beside it
    rf"{_one_of(ARTICLES)}[a-zà-öø-ÿ][^,.;:!?\n]*,\s+(?=[^\W\d_a-zà-öø-ÿ][^,.;:!?\n]*(?:[,.\n]|$))"
)
PLACE = re.compile(  # "in Milan, " before a name that ends the clause
    rf"(?:[^,.;:!?\n]*\s)?(?:{_one_of(f'{PREPOSITIONS} {OF}')})(?:{_one_of(ARTICLES)})?"
    rf"[^\W\d_a-zà-öø-ÿ][^\s,.;:!?]*(?:\s[^\W\d_a-zà-öø-ÿ][^\s,.;:!?]*){{0,3}},\s+"
    rf"(?=[^\W\d_a-zà-öø-ÿ][^,.;:!?\n]*(?:[,.\n]|$))"
)
QUESTION = re.compile(  # asked again and not answered
    rf"(?:¿|(?:{_one_of(PREPOSITIONS)})?(?:which|what|who|whom|where|when|why|how|qué|quién|cuál|dónde"
    r"|cuándo|cómo|quin|quina|qui|què|com|quel|quelle|qui|où|quand|comment)\b)",
    re.IGNORECASE,
)
WORD = re.compile(r"(?:[ld]')?(?P<word>\w[\w'-]*)", re.IGNORECASE)
CLAUSE_END = re.compile(r"[,.;:!?\n(]")


def beginnings(answer: str) -> Iterator[int]:
    """The places where the name that an answer gives may begin, the first place first."""
    found = START.match(answer)
    start = found.end() if found else 0
    yield from _after_name_parts(answer, start)
    aside = ASIDE.match(answer, start)
    for begin in (start, aside.end()) if aside else (start,):
        for place in _after_the_question(answer, begin, is_sentence=begin > start):
            yield from _after_name_parts(answer, place)
    for pattern in (DESCRIPTION, PLACE):
        before = pattern.match(answer, start)
        if before and not DENIED.search(answer, start, before.end()):
            yield before.end()


def _after_name_parts(answer: str, place: int) -> Iterator[int]:
    """A place, and the places after what may stand before a name there."""
    for begin in _after_articles(answer, place):
        yield begin
        yield from _after_kind(answer, begin, has_article=begin > place)
        for before in (TITLE, DAY):
            if found := before.match(answer, begin):
                yield found.end()


def _after_articles(answer: str, place: int) -> Iterator[int]:
    """A place, and the places after each article or preposition there."""
    yield place
    while found := BEFORE_NAME.match(answer, place):
        place = found.end()
        yield place


def _after_kind(answer: str, place: int, *, has_article: bool) -> Iterator[int]:
    """The places behind what the thing is: "planet ", "French writer ", "city of the "."""
    origin = ORIGIN.match(answer, place) if answer[place : place + 1].isupper() else None
    for start in (place, *([origin.end()] if origin else ())):
        found = KIND.match(answer, start)
        if not found or not found["noun"].islower() or found["noun"] in NO_NOUNS:
            continue
        is_kind = found["noun"] in KIND_NOUNS
        names = answer[found.end() : found.end() + 1].isupper()
        if found["of"] and is_kind:  # "the heart of the city of "
            for begin in _after_articles(answer, found.end()):
                yield begin
                yield from _after_kind(answer, begin, has_article=False)
        elif not found["of"] and (is_kind or names or has_article):
            yield found.end()


def _after_the_question(answer: str, start: int, *, is_sentence: bool) -> Iterator[int]:
    """The places behind a question that is said again: "The capital of Egypt is ".

    is_sentence: a sentence begins at `start`, whatever its first letter.
    """
    if QUESTION.match(answer, start):
        return
    if is_sentence:
        yield start
    stop = CLAUSE_END.search(answer, start)
    end = stop.start() if stop else len(answer)
    links = list(LINK.finditer(answer, start, end))
    verbs = [link for link in links if link["copula"]]
    is_sentence |= answer[start : start + 1].isupper() or answer.startswith("it ", start)
    for link in links:
        if DENIED.search(answer, start, link.end()):
            return
        said = answer[start : link.start()].split()
        if link["copula"]:
            is_place = is_sentence or not said
        else:  # "Egypt lies in "; not in a subject, as "The symbol for gold is Au"
            last = verbs[-1].end() if verbs else 0
            is_place = is_sentence and _has_verb(said) and last <= link.end()
        if is_place:
            yield link.end()
    if verbs and is_sentence:
        yield from _words_to_first_name(answer, verbs[0].end(), end)


def _words_to_first_name(answer: str, place: int, end: int) -> Iterator[int]:
    """The places of the words behind a verb, up to the first one with a capital letter.

    "The Colosseum is in the centre of Rome" gives Rome, "Kenya lies in East Africa" not Africa.
    """
    for word in WORD.finditer(answer, place, end):
        if word["word"].casefold() in NOT_SO:
            return
        if word.start() > place:
            yield word.start("word")
        if word["word"][0].isupper():
            return


def _has_verb(said: list[str]) -> bool:
    """Whether one of the words may be a verb: in small letters and no function word but "is"."""
    return any(w in VERBS or (w.islower() and len(w) > 2 and w not in NO_NOUNS) for w in said)
