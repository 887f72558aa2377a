"""factd's own JSON lines: prompt, subject, target_new, and maybe target_true, language, group."""

from collections.abc import Mapping
from typing import Any

from factd.editor.datasets.drafts import Draft, Element
from factd.editor.edits import LINE_FIELDS
from factd.editor.errors import BadEdit


def fits(fields: Mapping[str, Any]) -> bool:
    """Whether it is an edit alone, without questions."""
    return {"prompt", "target_new"} <= set(fields) <= {*LINE_FIELDS, "group", "id"}


def draft(element: Element) -> Draft:
    """The edit; its prompt must hold `{}`, because the file is made for factd."""
    prompt = element.text("prompt")
    if "{}" not in prompt:
        raise BadEdit(f"the prompt must hold {{}} once, where the subject goes: {prompt!r}")
    return Draft(
        subject=element.text("subject"),
        prompt=prompt,
        target_new=element.text("target_new"),
        target_true=element.optional("target_true"),
        group=element.optional("group"),
    )
