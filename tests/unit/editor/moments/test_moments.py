"""Second moments: as their manifest says, resumed if interrupted, never silently recomputed."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path

import pytest
import torch
from torch import Tensor

from factd.editor import Edit, EditableModel, EditBatch, load_model
from factd.editor.errors import BadSettings, DamagedArtefact, WrongModel
from factd.editor.files.manifests import read_manifest
from factd.editor.methods import memit
from factd.editor.moments.corpus import Corpus, CorpusFile, SelfGenerated, TextSource, source_of
from factd.editor.moments.moments import build_moments, load_moments, moments_folder, moments_for
from factd.editor.tuning.convergence import convergence
from support.paths import GOLDEN

TEXT = "The report was long. You may have heard of it. Opera is an art."


@pytest.fixture(scope="module")
def model() -> EditableModel:
    return load_model(GOLDEN / "llama" / "model")


def corpus_file(folder: Path, name: str, lines: int, text: str = TEXT) -> Path:
    path = folder / name
    rows = [json.dumps({"text": text}) if path.suffix == ".jsonl" else text] * lines
    path.write_text("\n".join(rows) + "\n")
    return path


@dataclass(frozen=True)
class Drawn:
    """Random token ids; batch n is drawn with seed + n."""

    seed: int = 0

    @property
    def name(self) -> str:
        return f"drawn-{self.seed}"

    def batches(self, model: EditableModel, start: int) -> Iterator[Tensor]:
        for number in count(start):
            generator = torch.Generator().manual_seed(self.seed + number)
            yield torch.randint(1, 600, (4, 64), generator=generator)


@dataclass
class Counted:
    """A source that counts how many batches were read and can fail."""

    inner: TextSource
    read: int = 0
    fail_at: int = -1

    @property
    def name(self) -> str:
        return self.inner.name

    def batches(self, model: EditableModel, start: int) -> Iterator[Tensor]:
        for ids in self.inner.batches(model, start):
            if self.read == self.fail_at:
                raise KeyboardInterrupt
            self.read += 1
            yield ids[:4]


def test_second_moments_are_symmetric_positive_and_of_as_many_tokens_as_they_say(
    model: EditableModel, tmp_path: Path
) -> None:
    source = source_of([str(corpus_file(tmp_path, "a.txt", 300))])
    found = build_moments(model, (0, 1), tokens=2000, source=source)
    matrix = found.layers[0]
    assert torch.allclose(matrix, matrix.T)
    assert torch.linalg.eigvalsh(matrix.double()).min() > -1e-6
    assert len(found.source) == 64
    assert found.tokens >= 2000
    short = source_of([str(corpus_file(tmp_path, "b.txt", 1))])
    assert build_moments(model, (0,), tokens=2000, source=short).tokens < 100
    with pytest.raises(DamagedArtefact, match="has no text"):
        build_moments(model, (0,), tokens=10, source=Corpus(()))


def test_each_layer_is_an_artefact_with_a_manifest_and_only_missing_layers_are_built(
    model: EditableModel, tmp_path: Path
) -> None:
    source = Counted(SelfGenerated())
    more = {"tokens": 500, "source": source, "workspace": tmp_path}
    first = moments_for(model, (0, 1), **more)  # type: ignore[arg-type]
    read = source.read
    assert torch.equal(moments_for(model, (1,), **more).layers[1], first.layers[1])  # type: ignore[arg-type]
    assert source.read == read  # nothing was recomputed
    moments_for(model, (1, 2), **more)  # type: ignore[arg-type]
    assert source.read > read
    folder = moments_folder(tmp_path, model.fingerprint, 2, 500, source.name)
    manifest = read_manifest(folder)
    told = {k: manifest[k] for k in ("fingerprint", "layer", "dtype", "source")}
    assert told == {
        "fingerprint": model.fingerprint,
        "layer": 2,
        "dtype": "float32",
        "source": "self-generated",
    }
    assert manifest["tokens"] >= 500
    with pytest.raises(WrongModel, match="factd stats build"):
        load_moments([folder], fingerprint="0" * 64)
    (folder / "moments.safetensors").write_bytes(b"damaged")
    with pytest.raises(DamagedArtefact):
        moments_for(model, (2,), **more)  # type: ignore[arg-type]


def test_an_interrupted_pass_resumes_where_it_stopped(model: EditableModel, tmp_path: Path) -> None:
    tokens = 4 * 64 * 20
    whole = build_moments(model, (0,), tokens=tokens, source=Counted(Drawn()))
    part = tmp_path / "part"
    broken = Counted(Drawn(), fail_at=17)
    with pytest.raises(KeyboardInterrupt):
        build_moments(model, (0,), tokens=tokens, source=broken, partial=part)
    rest = Counted(Drawn())
    found = build_moments(model, (0,), tokens=tokens, source=rest, partial=part)
    assert rest.read == 20 - 16
    assert torch.equal(found.layers[0], whole.layers[0])
    other = Counted(Drawn(seed=3))  # of another source nothing is taken over
    build_moments(model, (0,), tokens=500, source=other, partial=part)
    assert other.read == 2


def test_the_models_own_text_is_the_same_from_any_batch_on(model: EditableModel) -> None:
    first, second = islice(SelfGenerated().batches(model, 0), 2)
    assert torch.equal(second, next(SelfGenerated().batches(model, 1)))
    assert not torch.equal(second, first)


def test_files_are_mixed_by_weight_and_one_that_ends_leaves_its_share(
    model: EditableModel, tmp_path: Path
) -> None:
    long = corpus_file(tmp_path, "long.txt", 400, "aa " * 20)
    other = corpus_file(tmp_path, "other.jsonl", 400, "bb " * 20)
    short = corpus_file(tmp_path, "short.txt", 3, "cc " * 20)
    a, b, c = (model.tokenizer(word * 20)["input_ids"][5] for word in ("aa ", "bb ", "cc "))
    mixed = Corpus((CorpusFile(long, 3.0), CorpusFile(other, 1.0), CorpusFile(short, 1.0)))
    rows = next(mixed.batches(model, 0)).flatten().tolist()
    assert 2.5 < rows.count(a) / rows.count(b) < 3.5
    assert rows.count(c) > 0
    again = Corpus((CorpusFile(long, 3.0), CorpusFile(other, 1.0), CorpusFile(short, 1.0)))
    assert mixed.name == again.name != Corpus((CorpusFile(long, 2.0),)).name
    second = list(mixed.batches(model, 0))[1]
    assert torch.equal(second, next(mixed.batches(model, 1)))


@pytest.mark.parametrize(
    ("spec", "reason"),
    [("nothing.txt", "no such file"), ("a.txt=x", "FILE=WEIGHT"), ("a.txt=0", "not above 0")],
)
def test_a_corpus_without_a_file_or_with_a_wrong_weight_is_refused(
    spec: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    corpus_file(tmp_path, "a.txt", 1)
    with pytest.raises(BadSettings, match=reason):
        source_of([spec])


def test_a_line_without_text_is_named(model: EditableModel, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "fine"}\n{"no": 1}\n')
    with pytest.raises(BadSettings, match="line 2"):
        list(Corpus((CorpusFile(path),)).batches(model, 0))
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(BadSettings, match="UTF-8"):
        list(Corpus((CorpusFile(tmp_path / "b.txt"),)).batches(model, 0))


@pytest.mark.slow
def test_a_larger_sample_changes_the_edit_less(model: EditableModel, tmp_path: Path) -> None:
    case = json.loads((GOLDEN / "llama" / "case.json").read_text())
    settings = memit.Settings(
        layers=(0, 1),
        second_moment_weight=30.0,
        v_num_grad_steps=3,
        second_moment_tokens=32_000,
        templates={"en": ("The report was long",)},
    )
    batch = EditBatch.of(Edit(**r) for r in case["requests"][:4])
    found = convergence(model, batch, settings=settings, workspace=tmp_path, halvings=2)
    assert [row.tokens for row in found] == [16_000, 8_000]
    assert 0 < found[0].update_change < found[1].update_change < 1
    assert all(row.nll_change >= 0 for row in found)
    same = replace(settings, second_moment_tokens=100)  # smaller than one batch: the same sample
    assert (
        convergence(model, batch, settings=same, workspace=tmp_path, halvings=1)[0].update_change
        == 0
    )
