"""Proves in a fresh process that a written checkpoint gives the logits that were measured.

    python -m factd.editor.deltas.reload OUT FOLDER ...

writes to OUT, for each folder, the logits of fixed token ids, and the keys that do not fit the
class. Only this check finds a class that silently drops a tensor on reload (Qwen 2 drops an output
bias).
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
TOLERANCE = 2e-3  # largest difference between logits, relative to the largest logit


def verify_reload(model: EditableModel, delta: Delta | None, folder: Path) -> float:
    """Compare the logits of a written checkpoint with those of the model with the delta.

    Returns the largest difference, relative to the largest logit.

    Raises: DamagedArtefact: the checkpoint does not load, its keys are missing or unexpected, or
    its logits differ by more than TOLERANCE.
    """
    if delta is None:
        expected = fixed_logits(model)
    else:
        with applied(model, delta):
            expected = fixed_logits(model)
    return check_logits(folder, logits_in_fresh_process([folder])[0], expected)


def check_logits(folder: Path, reloaded: Tensor, expected: Tensor) -> float:
    """The largest difference between two tensors of logits, relative to the largest expected logit.

    Both (texts, length, vocabulary) float32. Raises: DamagedArtefact: it is above TOLERANCE.
    """
    error = float((reloaded - expected).abs().max() / expected.abs().max())
    if not error <= TOLERANCE:
        raise DamagedArtefact(
            folder,
            f"after a reload its logits differ from the measured ones (by {error:.1g}); "
            "do not publish it",
        )
    return error


@torch.inference_mode()
def fixed_logits(model: EditableModel) -> Tensor:
    """Logits of the fixed token ids, (texts, length, vocabulary) float32, on the CPU."""
    logits: Tensor = model.model(input_ids=torch.tensor(FIXED_IDS, device=model.device)).logits
    return logits.float().cpu()


def logits_in_fresh_process(folders: Sequence[Path]) -> list[Tensor]:
    """The logits of the fixed token ids from each checkpoint, computed in a new process.

    Each is (texts, length, vocabulary) float32.

    Raises: DamagedArtefact: a checkpoint does not load, or its keys are missing or unexpected.
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
            raise DamagedArtefact(
                folders[0], f"it cannot be loaded again ({last[0]}); do not publish it"
            )
        with safe_open(out, framework="pt") as file:
            problems = json.loads((file.metadata() or {})["problems"])
            logits = [file.get_tensor(str(number)) for number in range(len(folders))]
    for folder, keys in zip(folders, problems, strict=True):
        if keys:
            raise DamagedArtefact(
                folder,
                f"after a reload these keys do not fit the model's class: {', '.join(keys[:3])}; "
                "do not publish it",
            )
    return logits


def main(out: Path, folders: Sequence[Path]) -> None:
    """Load the checkpoints in float32 and write their logits and misfit keys."""
    results = [load_and_run(folder) for folder in folders]
    tensors = {str(number): logits for number, (logits, _) in enumerate(results)}
    save_file(tensors, out, metadata={"problems": json.dumps([keys for _, keys in results])})


@torch.inference_mode()
def load_and_run(folder: Path) -> tuple[Tensor, list[str]]:
    """Logits of the fixed token ids, and the keys that are missing, unexpected or of another shape.

    The logits are (texts, length, vocabulary) float32.
    """
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
