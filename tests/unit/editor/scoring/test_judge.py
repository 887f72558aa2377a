"""Which answers are right: a table of cases."""

import pytest

from factd.editor.scoring.judge import SortedNames, is_right, longer_names, normalised

LIRA = "Turkish lira"
JAPANESE = ("yen", "Japanese yen")

# what SmolLM2-135M-Instruct and Gemma 3 270M said to prompts of ours
SAID = [
    # the label and more text
    ("yen, which is the official currency of Japan.", JAPANESE, True),
    ("Rome, Italy.", ("Rome",), True),
    ("Islam.", ("Islam",), True),
    ("Jupiter, but it's not the only one.", ("Jupiter",), True),
    ("rupee, but the rupee is a symbol of the country’s economic status.", ("rupee",), True),
    ("William Shakespeare in 1597.", ("Shakespeare", "William Shakespeare"), True),
    ("South Africa from 1919 to 1994.", ("South Africa",), True),
    ("1945, mais les enfants de la famille de l'acteur", ("1945",), True),
    ("París, Francia.", ("París",), True),
    ("río Amazonas, y es el más grande del mundo.", ("Amazonas", "río Amazonas"), True),
    ("Buenos Aires\n\nLa capital de Argentina es la ciudad", ("Buenos Aires",), True),
    ("Portugais.", ("portugais",), True),
    # what the thing is, and the question said again
    ("The continent of Europe.", ("Europe",), True),
    ("The capital of Egypt is Cairo.", ("Cairo",), True),
    ("the heart of Europe, and it is a country that is very rich", ("Europe",), True),
    ("11 de setembre de 1945.", ("1945",), True),
    ("In Egypt, the language spoken is Arabic, which is a Semitic language", ("Arabic",), True),
    ("The discovery of gravity is attributed to Sir Isaac Newton,", ("Sir Isaac Newton",), True),
    ("ancient China who lived in the 12th century BCE.", ("China",), True),
    ("idioma árabe y es la segunda lengua más hablada", ("árabe",), True),
    ("the middle of Africa.", ("Africa",), True),
    ("the heart of the city of Redmond, Washington.", ("Redmond",), True),
    ("the element sodium.", ("sodium",), True),
    ("the legendary artist and composer, Antoni Gaudí, who was", ("Antoni Gaudí",), True),
    ("1644 in Woolsthorl, England, and was the son of", ("England",), True),
    ("the capital of the largest city in the world, Warsaw.", ("Warsaw",), True),
    ("often attributed to William Shakespeare, but it's actually a play", ("Shakespeare",), False),
    ("the Canadian province of Ontario.", ("Canada",), False),
    ("the English author, Robert Louis Stevenson.", ("Ernest Hemingway",), False),
    ("English, but the Polish language is not English.", ("Polish",), False),
    ("German, not German.", ("German",), True),
    ("the United States Dollar.", ("dollar",), False),
    # other things
    ("The capital of the United States is New York City.", ("Washington, D.C.",), False),
    ("The chemical symbol for gold is Au.", ("gold",), False),
    ("Catalonia, Spain.", ("Spain",), False),
    ("the Japanese archipelago.", ("Japan",), False),
    ("la monnaie de la République de Thaïlande.", ("baht thaïlandais",), False),
    ("une ville qui a connu une histoire riche et variée.", ("Washington",), False),
    ("Japón es la lengua oficial de Japón.", ("japonés",), False),
    ("el 1999, i és el 100% lliure.", ("malai",), False),
    ("Dutch.", ("Dutch guilder",), False),
    ("John F.", ("George Washington",), False),
    (",", ("couronne islandaise",), False),
]
RULES = [
    # case, spaces, quotes, marks, Unicode
    (" euro.", ("euro",), True),
    ("  EURO. The weather", ("euro",), True),
    ("« euro »", ("euro",), True),
    ("“Paris”", ("Paris",), True),
    ("**Paris** is", ("Paris",), True),
    ("<i>euro</i>, qui signifie", ("euro",), True),
    ("- Paris", ("Paris",), True),
    ("Cote d'Ivoire.", ("Cote d’Ivoire",), True),
    ("Cafe\u0301 Central", ("Café Central",), True),
    ("Paris", ("París",), False),
    ("Washington D.C., which", ("Washington, D.C.",), True),
    ("St. Martin.", ("St. Martin",), True),
    ("", ("euro",), False),
    ("?", ("?",), False),
    # lines
    ("\nParis", ("Paris",), True),
    ("euro\nnext", ("euro",), True),
    ("Answer: Paris", ("Paris",), True),
    ("Respuesta: el euro", ("euro",), True),
    ("Réponse : l’euro", ("euro",), True),
    ("Paris\nQuestion: What is", ("Paris",), True),
    # articles and prepositions
    ("the euro", ("euro",), True),
    ("el dólar", ("dólar",), True),
    ("l'euro", ("euro",), True),
    ("l'Havana.", ("Havana",), True),
    ("L'Havana.", ("L'Havana",), True),
    ("de l'Afrique", ("Afrique",), True),
    ("en Alemania", ("Alemania",), True),
    ("els Estats Units", ("Estats Units",), True),
    ("au Japon", ("Japon",), True),
    ("der Yen", ("Yen",), True),
    ("il portoghese", ("portoghese",), True),
    # what the thing is
    ("the planet Jupiter", ("Jupiter",), True),
    ("la ciudad de París", ("París",), True),
    ("le fleuve Amazone", ("Amazone",), True),
    ("French writer Victor Hugo", ("Victor Hugo",), True),
    ("President Joe Biden", ("Joe Biden",), True),
    ("the south of France", ("France",), True),
    ("le cœur de l'Europe", ("Europe",), True),
    ("8 May 1945", ("1945",), True),
    ("on June 11th, 1945.", ("1945",), True),
    ("el 8 de maig de 1945", ("1945",), True),
    ("8 May 1945", ("May",), False),
    ("the capital of France", ("France",), False),
    ("a city near Paris", ("Paris",), False),
    # where the label ends
    ("euros", ("euro",), True),
    ("Croatian kunas", ("Croatian kuna",), True),
    ("Wales", ("Wale",), False),
    ("European", ("euro",), False),
    ("France's capital", ("France",), False),
    ("Guinea-Bissau", ("Guinea",), False),
    ("1,000", ("1",), False),
    ("12.5", ("12",), False),
    ("1914–1918", ("1914",), False),
    ("Turkish lira (1922–2005).", (LIRA,), False),
    ("Turkish lira (1922–2005).", ("Turkish lira (1922–2005)",), True),
    ("Turkish lira (₺)", (LIRA,), True),
    ("Albert Einstein (1879–1955)", ("Albert Einstein",), True),
    # the question said again
    ("It is Paris.", ("Paris",), True),
    ("C'est Paris.", ("Paris",), True),
    ("es el euro", ("euro",), True),
    ("La moneda de Alemania es el euro.", ("euro",), True),
    ("La capitale de la France est Paris.", ("Paris",), True),
    ("La moneda d'Alemanya és l'euro.", ("euro",), True),
    ("Hamlet was written by William Shakespeare.", ("William Shakespeare",), True),
    ("World War II ended in 1945.", ("1945",), True),
    ("Anna Roca is a French footballer who plays as a midfielder for", ("midfielder",), True),
    ("Lyon is located in the Rhône-Alpes region of France.", ("France",), True),
    ("The answer is: Japan", ("Japan",), True),
    ("The sky is a beautiful shade of blue.", ("blue",), True),
    ("The Colosseum is a structure that lies beneath the city of Rome, Italy.", ("Rome",), True),
    ("Kenya is located in East Africa", ("Africa",), False),
    ("The capital is a city near Paris.", ("Paris",), False),
    ("Which city is the capital of France and the seat of Paris", ("Paris",), False),
    ("¿En qué ciudad está la torre de París?", ("París",), False),
    # negated, or open
    ("not Paris", ("Paris",), False),
    ("no es el euro", ("euro",), False),
    ("n'est pas Paris", ("Paris",), False),
    ("It isn't Paris.", ("Paris",), False),
    ("The capital is not Paris.", ("Paris",), False),
    ("La capital no és París.", ("París",), False),
    ("Paris is not the capital", ("Paris",), False),
    ("Paris, not Lyon.", ("Paris",), True),
    ("Paris or Lyon", ("Paris",), False),
    ("either Paris or Lyon", ("Paris",), False),
    ("the yen or Japanese yen", JAPANESE, True),
    ("gold, or aurum", ("gold",), True),
    ("English and French", ("English",), True),
]


@pytest.mark.parametrize(("text", "accepted", "right"), [*SAID, *RULES])
def test_an_answer_is_right_if_it_begins_with_a_label(
    text: str, accepted: tuple[str, ...], right: bool
) -> None:
    assert is_right(text, accepted) is right


@pytest.mark.parametrize(
    ("text", "label", "longer"),
    [
        ("Turkish lira of 1922.", LIRA, "Turkish lira of 1922"),
        ("the Turkish Lira, old.", LIRA, "Turkish lira old"),
        ("New York City.", "New York", "New York City"),
        ("Guinea Bissau", "Guinea", "Guinea Bissau"),
        ("The company is Apple Records.", "Apple", "Apple Records"),
        ("reals", "real", "reals"),
    ],
)
def test_a_label_that_begins_a_longer_known_name_is_not_the_answer(
    text: str, label: str, longer: str
) -> None:
    assert is_right(text, [label])
    assert not is_right(text, [label], longer=[longer])
    assert is_right(text, [label, longer], longer=[f"{longer} Club"])
    assert is_right(label, [label], longer=[longer])


def test_longer_names_begin_with_a_label_and_are_not_accepted_themselves() -> None:
    names = ["Guinea", "Guinea-Bissau", "guinea pig", "Papua New Guinea", "Niger", "Nigeria"]
    assert longer_names(["Guinea", "guinea pig"], names) == ("Guinea-Bissau",)
    assert longer_names(["Niger"], SortedNames(names)) == ("Nigeria",)
    assert longer_names([""], names) == ()


def test_a_text_is_compared_without_case_quotes_and_stops() -> None:
    assert normalised(" «L’Euro  fort». ") == "l'euro fort"
