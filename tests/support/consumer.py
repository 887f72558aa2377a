"""Loads published versions in a process without factd, through transformers and perhaps PEFT.

    python tests/support/consumer.py JOBS.json OUT.safetensors

A job names a checkpoint, a dtype and perhaps an adapter. OUT holds the logits by the number of the
job. Its metadata says which keys did not fit and which modules are adapted.
"""

import json
import subprocess
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SECONDS = 600


@dataclass(frozen=True)
class Job:
    """One model to load."""

    folder: str
    dtype: str
    adapter: str = ""
    merge: bool = False  # the adapter into the weights


@dataclass(frozen=True)
class Seen:
    """What a consumer got."""

    logits: Any  # (texts, length, vocabulary) float32
    problems: list[str]  # keys that are missing or unexpected
    adapted: list[str]  # modules


def consumed(jobs: Sequence[Job], ids: Sequence[Sequence[int]], folder: Path) -> list[Seen]:
    """What one fresh process sees of every job; it runs where nothing of factd can be imported."""
    from safetensors import safe_open

    asked, out = folder / "jobs.json", folder / "logits.safetensors"
    asked.write_text(json.dumps({"jobs": [asdict(job) for job in jobs], "ids": ids}))
    words = [sys.executable, __file__, str(asked), str(out)]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    with safe_open(out, framework="pt") as file:
        told = json.loads(file.metadata()["told"])
        return [Seen(file.get_tensor(str(n)), *row) for n, row in enumerate(told)]


def loaded(job: Job) -> tuple[Any, list[str], list[str]]:
    """The model of a job, the keys that do not fit it, the modules that are adapted."""
    from transformers import AutoModelForCausalLM

    pair: Any = AutoModelForCausalLM.from_pretrained(
        job.folder, dtype=job.dtype, local_files_only=True, output_loading_info=True
    )
    model, info = pair
    keys = {*info["missing_keys"], *info["unexpected_keys"], *info["mismatched_keys"]}
    adapted: list[str] = []
    if job.adapter:
        model = with_adapter(model, job.adapter)
        adapted = [
            n for n, module in model.base_model.model.named_modules() if hasattr(module, "lora_A")
        ]
        model = model.merge_and_unload() if job.merge else model
    return model, sorted(map(str, keys)), adapted


def with_adapter(model: Any, folder: str) -> Any:
    """As PEFT loads it; what it warns about is an error here."""
    from peft import PeftModel

    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        return PeftModel.from_pretrained(model, folder, autocast_adapter_dtype=False)


def main(asked: Path, out: Path) -> None:
    import torch
    from safetensors.torch import save_file

    given = json.loads(asked.read_text())
    found, told = {}, []
    for number, row in enumerate(given["jobs"]):
        model, *about = loaded(Job(**row))
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor(given["ids"])).logits
        found[str(number)] = logits.float().contiguous()
        told.append(about)
    save_file(found, out, metadata={"told": json.dumps(told)})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
