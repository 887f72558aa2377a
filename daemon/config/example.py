"""The configuration that `factd init` writes."""

EXAMPLE = """\
# factd: everything has a default that works on one machine; relative paths are meant from this file's folder.

[model]
path = "{model}"          # a local checkpoint, as from_pretrained reads it
# device = "cuda"
# dtype = "bfloat16"      # half the memory, about a third less time on a CPU that has it; δ, losses and solves stay wide
# workers = 2             # processes on Ray that share the work (pip install factd[ray])

[write]
languages = ["en"]        # a fact is written once in each of them
edit_wordings = 2         # of each relation
keep_wordings = 1         # of each other relation of the same kind of subject: their answers must not change

[method]
name = "memit"

[method.memit]            # depends on the model
layers = [0, 1, 2]
second_moment_weight = 1000.0
v_lr = 0.5
terminator = "."

[gates]                   # what a candidate must reach in every language; docs/how-to/facts/checks.md
edit_generation = 0.90
paraphrase_generation = 0.70
known_kept = {{least = 0.95, surely = 0.88, sample = 30}}   # the value, its lower 95 % bound, questions

[publish]
path = "published"        # versions/N and the link `current`

[sources.drop_folder]
path = "inbox"            # rename JSONL or CSV files into it

# [sources.wikidata]      # see docs/how-to/facts/sources.md for this and other kinds
# items_file = "watch-list.txt"
# contact = "you@example.org"

[planning]
max_facts = 1000          # new ones in a batch
# windows = ["Mon-Fri 02:00-05:00"]   # UTC
# insertions = "hold"     # subjects that the model does not know wait for `factd facts approve`

[schedule.pull]           # also cycle, audit, statistics, prune; docs/how-to/operate/operations.md
every_seconds = 60

[schedule.cycle]
every_seconds = 3600

[http]
port = 9464               # /metrics, /livez, /readyz on 127.0.0.1
"""
