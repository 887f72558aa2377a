"""The configuration that `factd init` writes."""

from collections.abc import Mapping
from typing import Any

from factd.editor.tuning.kept import toml_value

TERMINATOR = "."  # behind every target, so that an answer also ends where it should
UNKNOWN = """\
# Layers and strength depend on the model, and none are known for this one yet. The first
# `factd edit` searches for them on facts that the model knows (10 minutes), and keeps them for this
# site. To search now, run `factd tune {model}`, and copy its table to here.
[method.memit]
terminator = "."
"""
KNOWN = """\
# Layers and strength depend on the model. These come from {source}.
[method.memit]
{settings}
"""

EXAMPLE = """\
# The configuration of factd. Every key except [model] path has a default that works on one machine.
# Relative paths start at the folder of this file. docs/reference/configuration.md lists every key.

[model]
path = "{model}"          # the base model: a local folder, as from_pretrained reads it
# device = "cuda"
# dtype = "bfloat16"      # half the memory, about a third faster on a CPU that has it;
#                           δ, losses and solves stay in float32 and float64
# workers = 2             # Ray processes that share the work (pip install factd[ray])

[write]
languages = ["en"]        # each fact is written in each of these languages
edit_wordings = 2         # wordings that are written, for each relation and language
keep_wordings = 1         # wordings that must stay, for each other relation of the subject's kind

[method]
name = "memit"

{settings}

[gates]                   # limits for every language; see docs/how-to/facts/checks.md
edit_generation = 0.90
paraphrase_generation = 0.70
# least bounds the value, surely the low end of its 95 % interval; sample is the least number of
# questions.
known_kept = {{least = 0.95, surely = 0.88, sample = 30}}

[publish]
path = "published"        # holds versions/N and the link `current`

[sources.drop_folder]
path = "inbox"            # move JSONL or CSV files into it by renaming them

# [sources.wikidata]      # docs/how-to/facts/sources.md describes this and the other kinds
# items_file = "watch-list.txt"
# contact = "you@example.org"

[planning]
max_facts = 1000          # new facts in a batch, at most
# windows = ["Mon-Fri 02:00-05:00"]   # when batches may start, in UTC
# insertions = "hold"     # subjects that the model does not know wait for `factd facts approve`

# Other jobs are cycle, audit, statistics and prune; see docs/how-to/operate/operations.md.
[schedule.pull]
every_seconds = 60

[schedule.cycle]
every_seconds = 3600

[http]
port = 9464               # /metrics, /livez and /readyz on 127.0.0.1
"""


def example(model: str, settings: Mapping[str, Any] | None = None, source: str = "") -> str:
    """The text of the file. settings: of MEMIT for the model, if they are known, from `source`."""
    table = {"terminator": TERMINATOR, **(settings or {})}
    rows = "\n".join(f"{key} = {toml_value(value)}" for key, value in table.items())
    known = KNOWN.format(source=source, settings=rows).rstrip("\n")
    text = known if settings else UNKNOWN.format(model=model).rstrip("\n")
    return EXAMPLE.format(model=model, settings=text)
