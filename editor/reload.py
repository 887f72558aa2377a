"""What was written is what was measured: a checkpoint is read again in a fresh process and asked.

    python -m editor.reload FOLDER OUT      writes OUT: the logits of fixed token ids, and the keys that did not fit

A class that silently drops a tensor on reload (Qwen 2 an output bias) is found here and nowhere else.
"""

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from editor.delta import Delta, applied
from editor.errors import DamagedArtefact
from editor.model import EditableModel

IDS = ((1, 2, 3, 4, 5, 6, 7, 8), (8, 6, 4, 2, 7, 5, 3, 1))  # two texts of token ids
TIMEOUT_SECONDS = 1800
TOLERANCE = 2e-3  # largest difference of logits, relative to the largest logit


def verify_reload(model: EditableModel, delta: Delta | None, folder: Path) -> float:
    """The largest relative difference between the logits of a written checkpoint and of the model with the delta in place.

    Raises: DamagedArtefact: keys are missing or unexpected, the checkpoint does not load, or it says something else.
    """
    if delta is None:
        expected = logits(model)
    else:
        with applied(model, delta):
            expected = logits(model)
    found = in_fresh_process(folder)
    error = float((found - expected).abs().max() / expected.abs().max())
    if not error <= TOLERANCE:
        raise DamagedArtefact(
            folder,
            f"reloaded it gives other logits than were measured (off by {error:.1g}); do not publish it",
        )
    return error


@torch.inference_mode()
def logits(model: EditableModel) -> Tensor:
    """Logits of the fixed ids, (texts, length, vocabulary) float32 on the CPU."""
    found: Tensor = model.model(input_ids=torch.tensor(IDS, device=model.device)).logits
    return found.float().cpu()


def in_fresh_process(folder: Path) -> Tensor:
    """The logits of the fixed ids as a new process computes them from a checkpoint.

    Raises: DamagedArtefact: it does not load, or keys are missing or unexpected.
    """
    with TemporaryDirectory() as name:
        out = Path(name) / "logits.safetensors"
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "editor.reload", str(folder), str(out)],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
            raise DamagedArtefact(folder, f"cannot be loaded again ({last[0]})")
        with safe_open(out, framework="pt") as file:
            keys = json.loads((file.metadata() or {})["keys"])
            found: Tensor = file.get_tensor("logits")
    if keys:
        raise DamagedArtefact(
            folder, f"reloaded, its keys do not fit the class: {', '.join(keys[:3])}"
        )
    return found


@torch.inference_mode()
def main(folder: Path, out: Path) -> None:
    """Load a checkpoint in float32 and write its logits."""
    from transformers import AutoModelForCausalLM

    from editor.model import family_of

    loaded: Any = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype="float32",
        attn_implementation=family_of(folder).attention,
        local_files_only=True,
        output_loading_info=True,
    )
    model, info = loaded
    keys = sorted(
        {*info["missing_keys"], *info["unexpected_keys"], *map(str, info["mismatched_keys"])}
    )
    found = model(input_ids=torch.tensor(IDS)).logits.float().contiguous()
    save_file({"logits": found}, out, metadata={"keys": json.dumps(keys)})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
