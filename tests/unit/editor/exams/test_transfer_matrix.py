"""The transfer matrix: a row per written language alone; where it was written it is answered."""

from pathlib import Path

from factd.editor import Edit, EditBatch, load_model
from factd.editor.exams.exam import answers_with
from factd.editor.exams.transfer_matrix import transfer_matrix
from factd.editor.methods.memit import Settings
from factd.editor.scoring.score import Probe
from factd.reference import paths
from support.shared_artefacts import SharedArtefacts

SETTINGS = Settings(
    layers=(0, 1, 2),
    second_moment_weight=100.0,
    v_lr=60.0,
    v_num_grad_steps=12,
    v_weight_decay=0.01,
    clamp_norm_factor=1.0,
    second_moment_tokens=8000,
    terminator=".",
    templates={"en": ("The report was long",), "es": ("El informe era largo",)},
)
ASKED = {
    "en": ("The currency of {} is the", "Croatia"),
    "es": ("La moneda de {} se llama", "Croacia"),
}


def test_every_pair_is_measured_and_what_was_written_is_answered_where_it_was(
    kept: SharedArtefacts,
    tmp_path: Path,
) -> None:
    kept.moments(tmp_path, paths.MODEL, tokens=SETTINGS.second_moment_tokens)
    model = load_model(paths.MODEL)
    batch = EditBatch.of(
        Edit(prompt=prompt, subject=subject, target_new="euro", language=k, group="a")
        for k, (prompt, subject) in ASKED.items()
    )
    probes = [
        Probe(
            kind="edit",
            language=k,
            prompt=prompt.format(subject),
            target="euro",
            accepted=("euro",),
        )
        for k, (prompt, subject) in ASKED.items()
    ]
    base = answers_with(model, probes, None, ".")
    measured = transfer_matrix(model, batch, probes, base, settings=SETTINGS, workspace=tmp_path)
    found = {m.language: (m.value, m.before) for m in measured if m.metric == "generation"}
    assert set(found) == {"en→en", "en→es", "es→en", "es→es"}
    assert found["en→en"] == found["es→es"] == (1.0, 0.0)
    assert found["en→es"] == found["es→en"] == (0.0, 0.0)  # other names: Croatia, Croacia
