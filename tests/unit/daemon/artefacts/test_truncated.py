"""A truncated adapter is published only if it was measured, belongs to this delta, and passed."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from factd.daemon.artefacts.truncated import accepted_truncation
from factd.daemon.errors import PublishFailed
from factd.editor.deltas.delta import Delta, LowRank, save_delta
from factd.editor.deltas.truncation import truncate


@pytest.fixture
def delta() -> Delta:
    draw = torch.Generator().manual_seed(0)
    part = LowRank(torch.randn(8, 3, generator=draw), torch.randn(9, 3, generator=draw))
    return Delta(parts={"a.weight": part}, base_fingerprint="", batch_id="one", method="memit")


def write_truncation(made: Path, delta: Delta, **changes: Any) -> None:
    """Write what a worker leaves in a candidate's folder."""
    cut = truncate(delta, 2)
    assert cut is not None
    save_delta(cut, made / "adapter" / "2" / "delta")
    decision = {"accepted": True, "reasons": []}
    report = {"delta_id": cut.id, "decision": decision} | changes
    (made / "adapter" / "2" / "report.json").write_text(json.dumps(report))


def test_what_was_measured_and_passed_is_what_goes_out(tmp_path: Path, delta: Delta) -> None:
    write_truncation(tmp_path, delta)
    expected = truncate(delta, 2)
    assert expected is not None and accepted_truncation(tmp_path, delta, 2).id == expected.id


def test_what_was_not_measured_does_not_go_out(tmp_path: Path, delta: Delta) -> None:
    write_truncation(tmp_path, delta)
    for made, rank in ((tmp_path, 1), (tmp_path / "other", 2)):
        with pytest.raises(PublishFailed, match=f"no adapter cut to rank {rank} was measured"):
            accepted_truncation(made, delta, rank)


def test_what_did_not_pass_says_why(tmp_path: Path, delta: Delta) -> None:
    decision = {"accepted": False, "reasons": ["drift kl in en is 0.4, the gate asks for 0.1"]}
    write_truncation(tmp_path, delta, decision=decision)
    with pytest.raises(PublishFailed, match=r"drift kl in en is 0\.4.*raise .* max_rank"):
        accepted_truncation(tmp_path, delta, 2)


def test_another_delta_than_the_one_that_was_measured_does_not_go_out(
    tmp_path: Path, delta: Delta
) -> None:
    other = Delta(parts=delta.parts, base_fingerprint="", batch_id="two", method="memit")
    write_truncation(tmp_path, other)
    with pytest.raises(PublishFailed, match="is not what was measured"):
        accepted_truncation(tmp_path, delta, 2)
    write_truncation(tmp_path, delta, delta_id="another")
    with pytest.raises(PublishFailed, match="is not what was measured"):
        accepted_truncation(tmp_path, delta, 2)
