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

NO_NOUNS = frozenset(f"{ARTICLES} {PREPOSITIONS} {OF} {COPULAS} {NEGATIONS} {ASIDES}".split())
DENIED = re.compile(rf"\b(?:{'|'.join(NEGATIONS.split())})\b|n't\b", re.IGNORECASE)


def _one_of(words: str) -> str:
    """A pattern of one of some words and the space behind it; words that end in ' need none."""
    longest_first = sorted(set(words.split()), key=len, reverse=True)
    patterns = [word if word.endswith("'") else rf"{word}\s+" for word in longest_first]
    return f"(?i:{'|'.join(patterns)})"


QUOTES = r"[\s\"'«“„(\[…:]*"
START = re.compile(
    rf"{QUOTES}(?i:-\s+)?(?:(?i:(?:the\s+)?answer|a|respuesta|réponse|resposta|antwort|risposta)\s*:)?"
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
CLAUSE_END = re.compile(r"[,.;:!?\n(]")


def beginnings(answer: str) -> Iterator[int]:
    """The places where the name that an answer gives may begin, the first place first."""
    found = START.match(answer)
    start = found.end() if found else 0
    for place in (start, *_after_the_question(answer, start)):
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
    starts = [place] if has_article else []
    for start in (*starts, *([origin.end()] if origin else ())):
        found = KIND.match(answer, start)
        if not found or not found["noun"].islower() or found["noun"] in NO_NOUNS:
            continue
        if found["of"] and found["noun"] in KINDS.split():
            yield from _after_articles(answer, found.end())
        elif not found["of"] and answer[found.end() : found.end() + 1].isupper():
            yield found.end()


def _after_the_question(answer: str, start: int) -> Iterator[int]:
    """The places behind a question that is said again: "The capital of Egypt is "."""
    end = CLAUSE_END.search(answer, start)
    links = list(LINK.finditer(answer, start, end.start() if end else len(answer)))
    verbs = [link.start() for link in links if link["copula"]]
    for link in links:
        if DENIED.search(answer, start, link.end()):
            return
        said = answer[start : link.start()].split()
        is_sentence = bool(said) and (said[0][0].isupper() or said[0] == "it")
        if link["copula"]:
            is_place = is_sentence or not said
        else:  # "Egypt lies in "; not in a subject, as "The symbol for gold is Au"
            is_place = is_sentence and _has_verb(said) and not any(v > link.end() for v in verbs)
        if is_place:
            yield link.end()


def _has_verb(said: list[str]) -> bool:
    """Whether one of the words may be a verb: in small letters and no function word but "is"."""
    verbs = COPULAS.split()
    return any(w in verbs or (w.islower() and len(w) > 2 and w not in NO_NOUNS) for w in said)
