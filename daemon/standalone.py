"""`factd apply`: the editor on a checkpoint and a file of edits, without store or daemon."""

import json
import time
from pathlib import Path
from typing import Any

from daemon.errors import Refused
from daemon.steps import Progress


def apply_edits(
    path: Path, edits: Path, out: Path, *, method: str, table: dict[str, Any], progress: Progress
) -> dict[str, Any]:
    """Write the edited checkpoint to `out` and the report beside it as `out/report.json`; the report.

    Raises: Refused: `out` is there already. EditorError: what the editor refuses.
    """
    from editor import plugins
    from editor.checkpoint import write_checkpoint
    from editor.edits import read_edits
    from editor.model import load_model
    from editor.report import run_checks
    from editor.score import Probe
    from editor.settings import settings_from

    if out.exists():
        raise Refused(f"{out} is there already; name a folder that is not")
    module = plugins.load("editor.methods", method)
    settings = settings_from(module.Settings, table)
    batch = read_edits(edits)
    model = load_model(path)
    started = time.monotonic()
    delta = module.edit(
        model,
        batch,
        settings=settings,
        workspace=out.with_name(out.name + ".workspace"),
        progress=progress,
    )
    seconds = time.monotonic() - started
    probes = [
        Probe(
            kind="edit",
            language=e.language,
            prompt=e.prompt.format(e.subject),
            target=e.target_new,
            accepted=(e.target_new,),
            contrast=e.target_true,
            written_in=(e.language,),
        )
        for e in batch.edits
    ]
    report = run_checks(
        model, probes, delta=delta, terminator=str(getattr(settings, "terminator", ""))
    ).as_json()
    data = {
        "edits": len(batch),
        "seconds": seconds,
        "method": method,
        "delta_id": delta.id,
        **report,
        "seconds_checks": report["seconds"],
    }
    data["seconds"] = seconds
    write_checkpoint(path, delta, out, {"edits": len(batch), "method": method})
    out.with_name(out.name + ".report.json").write_text(
        json.dumps(data, ensure_ascii=False, indent=1), encoding="utf-8"
    )
    return data
