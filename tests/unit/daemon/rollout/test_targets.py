"""The answers that a server must give depend on the form that it loads.

A checkpoint answers as the delta does, a cut adapter as the cut does.
"""

from pathlib import Path

import pytest

from factd.daemon.artefacts.proof import FILE, Proof, dumped
from factd.daemon.rollout.targets import target_of
from support.fakes.servers import PROMPTS, question
from support.world import Maker

SERVERS = """
[publish.adapter]
[servers.whole]
kind = "sglang"
url = "http://127.0.0.1:1"
model = "m"

[servers.adapted]
kind = "vllm"
url = "http://127.0.0.1:2"
"""


@pytest.mark.parametrize(("is_cut", "adapted"), [(True, "zloty"), (False, "euro")])
def test_a_server_with_a_cut_adapter_is_compared_with_the_cut(
    make: Maker, is_cut: bool, adapted: str
) -> None:
    app = make(SERVERS)

    def fill(folder: Path) -> None:
        (folder / "adapter").mkdir()
        (folder / "adapter" / "adapter_config.json").write_text("{}")
        proofs = {folder: "euro"} | ({folder / "adapter": "zloty"} if is_cut else {})
        for place, text in proofs.items():
            proof = Proof(before=0, base=0, questions=tuple(question(p, text) for p in PROMPTS))
            (place / FILE).write_bytes(dumped(proof))

    app.versions.write(1, fill, {})
    found = {
        name: {
            said.text
            for _, said in target_of(app.ledger, app.paths, app.versions, served, 1, None).expected
        }
        for name, served in app.fleet.servers.items()
    }
    assert found == {"whole": {"euro"}, "adapted": {adapted}}
