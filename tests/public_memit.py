"""MEMIT in the manner of the public code, as an oracle: one edit at a time, whole model, hooks, no batching, no cache.

Shares nothing with `editor` but the loaded model. It reproduces the golden llama case (tests/unit/test_golden.py) and so
vouches for families whose golden case cannot be used.
"""

from typing import Any

import torch
from torch import Tensor


def ids_and_subject(tokenizer: Any, text: str, end: int) -> tuple[Tensor, int]:
    """Token ids (1, length) and the position of the token that ends at a character."""
    found = tokenizer(text, return_offsets_mapping=True)
    return torch.tensor([found["input_ids"]]), max(
        i for i, (a, b) in enumerate(found["offset_mapping"]) if b > a and a < end
    )


def rendered(request: dict[str, str], template: str) -> tuple[str, int]:
    """A template around a prompt with its subject, and where the subject ends."""
    prompt = template.format(request["prompt"])
    return prompt.format(request["subject"]), prompt.index("{}") + len(request["subject"])


def run(
    model: Any, ids: Tensor, block: str, at: int, delta: Tensor | None = None, inputs_of: str = ""
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (length, vocabulary), output of a block and input of a module at a position; delta is added to the former."""
    seen: dict[str, Tensor] = {}

    def after(_: Any, __: Any, output: Any) -> Any:
        hidden = output[0] if isinstance(output, tuple) else output
        if delta is not None:
            hidden = hidden.clone()
            hidden[0, at] += delta
        seen["stream"] = hidden[0, at]
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    handles = [model.get_submodule(block).register_forward_hook(after)]
    if inputs_of:
        keep = lambda _, args: seen.__setitem__("key", args[0][0, at])  # noqa: E731
        handles.append(model.get_submodule(inputs_of).register_forward_pre_hook(keep))
    logits = model(input_ids=ids).logits[0]
    for handle in handles:
        handle.remove()
    return logits, seen["stream"], seen.get("key", seen["stream"])


def value(
    model: Any, tokenizer: Any, request: dict[str, str], case: dict[str, Any], block: str
) -> Tensor:
    """z of one request, (d,)."""
    templates = [t for kind in case["context_templates"] for t in kind]
    essence, end = rendered({**request, "prompt": case["kl_prompt"]}, "{}")
    kl_ids, kl_at = ids_and_subject(tokenizer, essence, end)
    delta, start, before = None, None, None
    optimizer: Any = None
    for step in range(case["v_num_grad_steps"]):
        losses = []
        for template in templates:
            text, end = rendered(request, template)
            ids, at = ids_and_subject(tokenizer, f"{text} {request['target_new']}", end)
            count = ids.shape[1] - len(tokenizer(text)["input_ids"])
            if delta is None:
                with torch.no_grad():
                    start = run(model, ids[:, :-1], block, at)[1].detach().clone()
                delta = torch.zeros_like(start, requires_grad=True)
                optimizer = torch.optim.Adam([delta], lr=case["v_lr"])
            logits, _, _ = run(model, ids[:, :-1], block, at, delta)
            log = logits[-count:].log_softmax(-1)
            losses.append(-log.gather(1, ids[0, -count:, None]).mean())
        now = run(model, kl_ids, block, kl_at, delta)[0][kl_at].log_softmax(-1)
        before = now.detach() if before is None else before
        assert delta is not None and start is not None
        loss = torch.stack(losses).mean() + case["kl_factor"] * (now.exp() * (now - before)).sum()
        loss = loss + case["v_weight_decay"] * delta.norm() / start.norm() ** 2
        if loss < case["early_stop_loss"] or step == case["v_num_grad_steps"] - 1:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        limit = case["clamp_norm_factor"] * start.norm()
        if delta.norm() > limit:
            with torch.no_grad():
                delta *= limit / delta.norm()
    assert delta is not None and start is not None
    return (start + delta).detach()


@torch.no_grad()
def key_and_stream(
    model: Any,
    tokenizer: Any,
    request: dict[str, str],
    case: dict[str, Any],
    block: str,
    module: str,
) -> tuple[Tensor, Tensor]:
    """Key (d_in,) as a mean over template types, and the stream of the bare prompt (d,)."""
    means, bare = [], None
    for kind in case["context_templates"]:
        found = []
        for template in kind:
            ids, at = ids_and_subject(tokenizer, *rendered(request, template))
            _, stream, key = run(model, ids, block, at, inputs_of=module)
            found.append(key.clone())
            bare = stream.clone() if bare is None else bare
        means.append(torch.stack(found).mean(0))
    assert bare is not None
    return torch.stack(means).mean(0), bare
