"""What was written is what was measured: a checkpoint is read again in a fresh process and asked.

    python -m factd.editor.deltas.reload OUT FOLDER ...      writes OUT: per folder, logits of fixed token ids, and keys that did not fit

A class that silently drops a tensor on reload (Qwen 2 an output bias) is found here and nowhere else.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from factd.editor.deltas.delta import Delta, applied
from factd.editor.errors import DamagedArtefact
from factd.editor.models.model import EditableModel

FIXED_IDS = ((1, 2, 3, 4, 5, 6, 7, 8), (8, 6, 4, 2, 7, 5, 3, 1))  # two texts of token ids
TIMEOUT_SECONDS = 1800
TOLERANCE = 2e-3  # largest difference of logits, relative to the largest logit


def verify_reload(model: EditableModel, delta: Delta | None, folder: Path) -> float:
    """The largest relative difference between the logits of a written checkpoint and of the model with the delta in place.

    Raises: DamagedArtefact: keys are missing or unexpected, the checkpoint does not load, or it says something else.
    """
    if delta is None:
        expected = fixed_logits(model)
    else:
        with applied(model, delta):
            expected = fixed_logits(model)
    return check_logits(folder, logits_in_fresh_process([folder])[0], expected)


def check_logits(folder: Path, found: Tensor, expected: Tensor) -> float:
    """The largest difference of logits, relative to the largest logit. Raises: DamagedArtefact: it is too large."""
    error = float((found - expected).abs().max() / expected.abs().max())
    if not error <= TOLERANCE:
        raise DamagedArtefact(
            folder,
            f"reloaded it gives other logits than were measured (off by {error:.1g}); do not publish it",
        )
    return error


@torch.inference_mode()
def fixed_logits(model: EditableModel) -> Tensor:
    """Logits of the fixed ids, (texts, length, vocabulary) float32 on the CPU."""
    found: Tensor = model.model(input_ids=torch.tensor(FIXED_IDS, device=model.device)).logits
    return found.float().cpu()


def logits_in_fresh_process(folders: Sequence[Path]) -> list[Tensor]:
    """The logits of the fixed ids as a new process computes them from each checkpoint.

    Raises: DamagedArtefact: one does not load, or its keys are missing or unexpected.
    """
    with TemporaryDirectory() as name:
        out = Path(name) / "logits.safetensors"
        done = subprocess.run(
            [
                sys.executable,
                "-W",
                "ignore",
                "-m",
                "factd.editor.deltas.reload",
                str(out),
                *map(str, folders),
            ],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
            raise DamagedArtefact(folders[0], f"cannot be loaded again ({last[0]})")
        with safe_open(out, framework="pt") as file:
            problems = json.loads((file.metadata() or {})["problems"])
            found = [file.get_tensor(str(number)) for number in range(len(folders))]
    for folder, keys in zip(folders, problems, strict=True):
        if keys:
            raise DamagedArtefact(
                folder, f"reloaded, its keys do not fit the class: {', '.join(keys[:3])}"
            )
    return found


def main(out: Path, folders: Sequence[Path]) -> None:
    """Load checkpoints in float32 and write their logits."""
    read = [load_and_run(folder) for folder in folders]
    tensors = {str(number): found for number, (found, _) in enumerate(read)}
    save_file(tensors, out, metadata={"problems": json.dumps([keys for _, keys in read])})


@torch.inference_mode()
def load_and_run(folder: Path) -> tuple[Tensor, list[str]]:
    """Logits of the fixed ids, and the keys that are missing, unexpected or of another shape."""
    from transformers import AutoModelForCausalLM

    from factd.editor.models.model import family_of

    loaded: Any = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype="float32",
        attn_implementation=family_of(folder).attention,
        local_files_only=True,
        output_loading_info=True,
    )
    model, info = loaded
    keys = (*info["missing_keys"], *info["unexpected_keys"], *info["mismatched_keys"])
    return model(input_ids=torch.tensor(FIXED_IDS)).logits.float().contiguous(), sorted(
        map(str, keys)
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
