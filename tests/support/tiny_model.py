"""A tiny real model on the CPU that answers, reloads weights and applies adapters as engines do."""

import copy
import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from support.fakes.http import Reply

ANSWERS: dict[tuple[str, str, int], tuple[str, list[float]]] = {}


class Refused(Exception):
    """An HTTP answer with a status other than 200."""

    def __init__(self, status: int, said: Any) -> None:
        super().__init__(status)
        self.reply = Reply(status=status, body=json.dumps(said).encode())


def error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "BadRequestError", "code": 400}}


@dataclass
class TinyModel:
    """A model and its tokenizer."""

    module: Any
    tokenizer: Any

    @classmethod
    def load(cls, folder: Path) -> "TinyModel":
        module: Any = AutoModelForCausalLM.from_pretrained(folder)
        return cls(module.eval(), AutoTokenizer.from_pretrained(folder))

    def reloaded(self, folder: Path) -> "TinyModel":
        """This model with the weights of a checkpoint, loaded as an engine does.

        It does not use `from_pretrained`: while that makes a model, no other thread may make one,
        and engines are threads here.

        Raises: Refused: the weights do not fit.
        """
        made, tensors = copy.deepcopy(self.module), dict[str, torch.Tensor]()
        for file in sorted(folder.glob("*.safetensors")):
            tensors |= load_file(file)
        unfit = made.load_state_dict(tensors, strict=False).unexpected_keys
        if unfit or not tensors:
            raise Refused(400, error(f"{folder}: {unfit or 'no weights'}"))
        return TinyModel(made, self.tokenizer)

    @cached_property
    def checksum(self) -> str:
        """SHA-256 of every weight."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.module.state_dict().items()):
            digest.update(name.encode() + tensor.contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def greedy(self, prompt: str, tokens: int) -> tuple[str, list[float]]:
        """The greedy continuation and its log-probabilities, computed once for equal weights."""
        key = self.checksum, prompt, tokens
        if key not in ANSWERS:
            ANSWERS[key] = self._greedy(prompt, tokens)
        return ANSWERS[key]

    @torch.no_grad()
    def _greedy(self, prompt: str, tokens: int) -> tuple[str, list[float]]:
        ids = self.tokenizer(prompt, return_tensors="pt")["input_ids"]
        start, logprobs = len(self.tokenizer.decode(ids[0])), list[float]()
        for _ in range(tokens):
            row = self.module(ids).logits[0, -1].float().log_softmax(-1)
            best = int(row.argmax())
            logprobs.append(
                float(row[best])
            )  # the end token counts too, though it has no text: vLLM does the same
            if best == self.tokenizer.eos_token_id:
                break
            ids = torch.cat([ids, torch.tensor([[best]])], dim=1)
        return self.tokenizer.decode(ids[0])[start:], logprobs

    @torch.no_grad()
    def mixed_with(self, other: "TinyModel") -> "TinyModel":
        """This model with every second tensor that differs taken from another model."""
        mixed = copy.deepcopy(self.module)
        theirs = other.module.state_dict()
        ours = mixed.state_dict()
        changed = [name for name in ours if not torch.equal(ours[name], theirs[name])]
        for name in changed[::2]:
            ours[name].copy_(theirs[name])
        return TinyModel(mixed, self.tokenizer)

    @torch.no_grad()
    def with_adapter(self, folder: Path, *, most_rank: int) -> "TinyModel":
        """This model with W + B A · alpha / r, as engines compute it.

        Raises: Refused: with an engine's error sentence.
        """
        config = json.loads((folder / "adapter_config.json").read_text())
        rank = config["r"]
        if rank > most_rank:
            raise Refused(
                400, error(f"LoRA rank {rank} is greater than max_lora_rank {most_rank}.")
            )
        tensors = load_file(folder / "adapter_model.safetensors")
        made = copy.deepcopy(self.module)
        for name, a in tensors.items():
            if not name.endswith(".lora_A.weight"):
                continue
            module = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
            b = tensors[name.replace("lora_A", "lora_B")]
            added = b.float() @ a.float() * (config["lora_alpha"] / rank)
            weight = made.get_submodule(module).weight
            weight += (added.T if config.get("fan_in_fan_out") else added).to(weight.dtype)
        return TinyModel(made, self.tokenizer)
