"""The edits of the golden case, and settings that write them into its tiny model quickly."""

import json

from factd.editor import Edit
from factd.editor.methods import memit
from support.paths import GOLDEN

CASE = json.loads((GOLDEN / "llama" / "case.json").read_text())
EDITS = [Edit(**request) for request in CASE["requests"]]
SETTINGS = memit.Settings(
    layers=(0, 1),
    second_moment_weight=30.0,
    v_lr=0.3,
    v_num_grad_steps=8,
    v_weight_decay=0.1,
    second_moment_tokens=3000,
    templates={"en": ("The report was long",)},
)
