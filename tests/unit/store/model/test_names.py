"""Names can be merged in any order, and the label that was used last is current."""

from hypothesis import given
from hypothesis import strategies as st

from factd.store.model.names import Names, merged_names

labels = st.dictionaries(
    st.sampled_from(["en", "es"]),
    st.dictionaries(st.sampled_from("ABC"), st.sampled_from(["2020", "2021", "2022"]), min_size=1),
)
aliases = st.dictionaries(
    st.sampled_from(["en", "es"]),
    st.lists(st.sampled_from("XYZ"), unique=True).map(sorted).map(tuple),
)
names = st.builds(Names, labels=labels, aliases=aliases)


@given(names, names, names)
def test_merging_is_commutative_associative_and_idempotent(a: Names, b: Names, c: Names) -> None:
    assert merged_names(a, b) == merged_names(b, a)
    assert merged_names(merged_names(a, b), c) == merged_names(a, merged_names(b, c))
    once = merged_names(a, b)
    assert merged_names(once, b) == once


def test_the_label_that_was_used_last_is_current() -> None:
    country = Names(labels={"en": {"Swaziland": "2017", "Eswatini": "2018"}})
    assert country.renamed
    assert country.current("en") == "Eswatini"
    assert country.current("fr") is None
    assert country.changes() == (("en", "Swaziland", "Eswatini"),)
