"""A rebase: what is baked, what it frees, what can be taken back and what cannot."""

from pathlib import Path

from people import FEED, Operator


def test_x(tmp_path: Path) -> None:
    operator = Operator(tmp_path)
    operator.ingest(FEED)
    operator("edit", "--publish")
    one = operator.published()
    done = operator("rebase", "--why", "room")
    print(done)
    assert operator.published() == one
    print(operator("bases", "list"))
    print(operator("facts", "list"))
    print(operator("status"))
