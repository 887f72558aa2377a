"""An adapter holds its delta: B A is ΔW for every layout, rank and dtype.

A delta that an adapter cannot hold is refused.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from factd.editor.deltas.delta import Delta, Dense, LowRank, Part
from factd.editor.deltas.lora import CONFIG, DTYPES, WEIGHTS, fill_adapter, fill_zero_adapter
from factd.editor.deltas.truncation import relative_error, singular_factors, truncate
from factd.editor.errors import BadSettings, DamagedArtefact, NotEditable, RankTooHigh, WrongModel
from factd.editor.families import name_in
from factd.editor.models.model import family_of, fingerprint
from factd.reference import tiny

ROUNDING = {"float32": 2.0**-22, "bfloat16": 2.0**-7, "float16": 2.0**-10}  # of two factors


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model whose weights are stored (d_out, d_in), and one whose are (d_in, d_out)."""
    folder = tmp_path_factory.mktemp("tiny")
    return {name: tiny.make(name, folder / name) for name in ("llama", "gpt2", "gemma3", "mamba")}


def low_rank(rows: int, columns: int, rank: int, *, seed: int = 0, size: float = 1e-3) -> LowRank:
    """Factors as a solve leaves them: left is much smaller than right."""
    draw = torch.Generator().manual_seed(seed)
    left, right = (torch.randn(n, rank, generator=draw) for n in (rows, columns))
    return LowRank(left * size, right / size)


def delta_of(base: Path, parts: dict[int, Part], **more: Any) -> Delta:
    family = family_of(base)
    named = {f"{family.mlp_out.format(layer)}.weight": part for layer, part in parts.items()}
    return Delta(
        parts=named | more,
        base_fingerprint=fingerprint(base),
        batch_id="",
        method="memit",
        settings={"v_lr": 1},
    )


def several(base: Path) -> Delta:
    """Two parts of different ranks and one that is dense."""
    wide = (64, 32) if family_of(base).transposed else (32, 64)
    if base.name == "gpt2":
        wide = (128, 32)
    dense = low_rank(*wide, 24, seed=3)
    return delta_of(
        base, {0: low_rank(*wide, 3), 1: low_rank(*wide, 7, seed=1), 3: Dense(dense.matrix())}
    )


def merged(folder: Path) -> dict[str, Tensor]:
    """scale · B A of every module, in float64, in the layout of the file that it is added to."""
    config, tensors = json.loads((folder / CONFIG).read_text()), load_file(folder / WEIGHTS)
    found = {}
    for module in config["target_modules"]:
        a, b = (
            tensors.pop(f"base_model.model.{module}.lora_{side}.weight").double() for side in "AB"
        )
        assert len(a) == b.shape[1] == config["r"]
        product = b @ a * (config["lora_alpha"] / config["r"])
        found[module] = product.T if config["fan_in_fan_out"] else product
    assert not tensors
    return found


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_b_times_a_is_the_matrix_of_every_part(
    bases: dict[str, Path], name: str, dtype: str, tmp_path: Path
) -> None:
    delta = several(bases[name])
    told = fill_adapter(delta, bases[name], tmp_path, dtype=dtype)
    assert (told["rank"], told["written_rank"]) == (24, 24)
    assert [row["rank"] for row in told["modules"].values()] == [3, 7, 24]
    found = merged(tmp_path)
    for weight, part in delta.parts.items():
        module = weight.removesuffix(".weight")
        exact = part.left.double() @ part.right.double().T if isinstance(part, LowRank) else None
        whole = part.matrix().double() if exact is None else exact
        error = float(torch.linalg.norm(found[module] - whole) / torch.linalg.norm(whole))
        assert error <= ROUNDING[dtype]
        assert error == pytest.approx(told["modules"][module]["error"], rel=1e-3, abs=1e-12)
    assert told["error"] == max(row["error"] for row in told["modules"].values())


def test_the_smaller_dtype_costs_what_it_is_said_to_cost(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    delta = several(bases["llama"])
    errors = {
        dtype: fill_adapter(delta, bases["llama"], tmp_path, dtype=dtype)["error"]
        for dtype in DTYPES
    }
    assert errors["float32"] < 1e-3 * errors["float16"] < errors["float16"] < errors["bfloat16"]


def test_magnitude_is_split_evenly_whatever_the_factors_were(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    delta = delta_of(bases["llama"], {1: low_rank(32, 64, 5, size=1e-6)})
    fill_adapter(delta, bases["llama"], tmp_path)
    sizes = [float(torch.linalg.norm(tensor)) for tensor in load_file(tmp_path / WEIGHTS).values()]
    assert sizes[0] == pytest.approx(sizes[1], rel=1e-5)
    # the control: cast as they are, one factor of the delta overflows float16
    (part,) = delta.parts.values()
    assert isinstance(part, LowRank) and not torch.isfinite(part.right.half()).all()
    assert fill_adapter(delta, bases["llama"], tmp_path, dtype="float16")["error"] < 1e-3


def test_the_rank_is_that_of_the_matrix_and_not_that_of_the_factors(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    once = low_rank(32, 64, 4)
    twice = LowRank(torch.cat([once.left, once.left], 1), torch.cat([once.right, once.right], 1))
    nothing = LowRank(torch.zeros(32, 2), torch.zeros(64, 2))
    delta = delta_of(bases["llama"], {0: twice, 2: nothing})
    told = fill_adapter(delta, bases["llama"], tmp_path)
    assert told["rank"] == 4
    assert list(told["modules"]) == ["model.layers.0.mlp.down_proj"]
    assert relative_error(twice, *singular_factors(twice).balanced()) < 1e-7


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_delta_that_changes_nothing_is_an_adapter_of_zeros(
    family: str, bases: dict[str, Path], tmp_path: Path
) -> None:
    told = fill_adapter(delta_of(bases[family], {}), bases[family], tmp_path)
    assert (told["rank"], told["modules"]) == (0, {})
    tensors = load_file(tmp_path / WEIGHTS)
    assert len(tensors) == 2 and not any(tensor.any() for tensor in tensors.values())
    assert fill_zero_adapter(bases[family], tmp_path)["delta_id"] is None
    assert json.loads((tmp_path / CONFIG).read_text())["r"] == 1


def test_the_configuration_names_the_edited_modules_and_no_others(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    fill_adapter(several(bases["gpt2"]), bases["gpt2"], tmp_path)
    config = json.loads((tmp_path / CONFIG).read_text())
    assert config["target_modules"] == [f"transformer.h.{n}.mlp.c_proj" for n in (0, 1, 3)]
    assert (config["fan_in_fan_out"], config["bias"], config["r"]) == (True, "none", 24)
    # SGLang and vLLM look at the last part of each, and take no regular expression
    assert {name.rsplit(".", 1)[1] for name in config["target_modules"]} == {"c_proj"}


def test_the_same_delta_gives_the_same_bytes_wherever_the_base_lies(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    moved = shutil.copytree(bases["llama"], tmp_path / "moved")
    written = []
    for number, base in enumerate((bases["llama"], moved)):
        folder = tmp_path / str(number)
        folder.mkdir()
        fill_adapter(several(base), base, folder)
        written.append([(folder / name).read_bytes() for name in (CONFIG, WEIGHTS)])
    assert written[0] == written[1]


def test_modules_are_named_as_in_memory_where_the_files_call_them_otherwise(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    delta = delta_of(bases["gemma3"], {1: low_rank(32, 64, 2)})
    (weight,) = delta.parts
    told = fill_adapter(delta, bases["gemma3"], tmp_path)
    assert list(told["modules"]) == [weight.removesuffix(".weight")]
    assert name_in(family_of(bases["gemma3"]), weight, ()) is None


def test_more_than_the_rank_that_is_allowed_is_refused_with_both_numbers(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    delta = several(bases["llama"])
    with pytest.raises(
        RankTooHigh, match="has rank 24, an adapter may have 23; allow more"
    ) as told:
        fill_adapter(delta, bases["llama"], tmp_path, max_rank=23)
    assert (told.value.rank, told.value.max_rank) == (24, 23)
    assert not list(tmp_path.iterdir())


def test_a_truncated_delta_is_the_nearest_of_its_rank_and_another_delta() -> None:
    part = low_rank(32, 64, 12)
    delta = Delta(
        parts={"a.weight": part, "a.bias": Dense(torch.ones(32))},
        base_fingerprint="",
        batch_id="",
        method="memit",
    )
    cut = truncate(delta, 5)
    assert cut is not None and cut.id != delta.id
    assert cut.settings["truncated"] == {"of": delta.id, "rank": 12, "to": 5}
    small = cut.parts["a.weight"]
    assert isinstance(small, LowRank) and small.left.shape == (32, 5)
    s = torch.linalg.svdvals(part.left.double() @ part.right.double().T)
    best = float(s[5:].norm() / s.norm())  # Eckart and Young
    assert relative_error(part, small.left, small.right) == pytest.approx(best, rel=1e-5)
    worse = relative_error(
        part, part.left[:, :5], part.right[:, :5]
    )  # the control: just some five columns
    assert worse > 1.2 * best
    assert torch.equal(cut.parts["a.bias"].matrix(), torch.ones(32))
    assert truncate(delta, 12) is None


def test_what_truncation_loses_is_in_the_errors_of_the_adapter(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    delta = several(bases["llama"])
    cut = truncate(delta, 8)
    assert cut is not None
    told = fill_adapter(delta, bases["llama"], tmp_path, max_rank=8, truncated=cut)
    assert (told["rank"], told["written_rank"], told["truncated_id"]) == (24, 8, cut.id)
    ranks = [row["rank"] for row in told["modules"].values()]
    errors = [row["error"] for row in told["modules"].values()]
    assert ranks == [3, 7, 8]
    assert errors[2] > 0.1 > 1e-6 > max(errors[:2])
    other = replace(delta, batch_id="another")
    with pytest.raises(WrongModel, match="was not made from the delta"):
        fill_adapter(other, bases["llama"], tmp_path, max_rank=8, truncated=cut)


def test_what_an_adapter_cannot_hold_is_refused(bases: dict[str, Path], tmp_path: Path) -> None:
    llama, part = bases["llama"], low_rank(32, 64, 2)
    heads = delta_of(
        llama, {1: part}, **{"model.layers.0.self_attn.o_proj.bias": Dense(torch.ones(32))}
    )
    with pytest.raises(NotEditable, match="servers reject a bias in an adapter"):
        fill_adapter(heads, llama, tmp_path)
    other = delta_of(llama, {1: part}, **{"model.layers.0.self_attn.o_proj.weight": part})
    with pytest.raises(NotEditable, match="an adapter cannot change"):
        fill_adapter(other, llama, tmp_path)
    with pytest.raises(NotEditable, match="state-space"):
        fill_adapter(delta_of(bases["mamba"], {1: part}), bases["mamba"], tmp_path)
    with pytest.raises(WrongModel, match="was computed for the base"):
        fill_adapter(replace(delta_of(llama, {1: part}), base_fingerprint="x"), llama, tmp_path)
    with pytest.raises(DamagedArtefact, match=r"of the shape \(64, 32\)"):
        fill_adapter(delta_of(llama, {1: low_rank(64, 32, 2)}), llama, tmp_path)
    with pytest.raises(DamagedArtefact, match=r"layers\.9\.mlp"):
        fill_adapter(delta_of(llama, {9: part}), llama, tmp_path)
    with pytest.raises(BadSettings, match="unknown dtype 'int8'"):
        fill_adapter(delta_of(llama, {1: part}), llama, tmp_path, dtype="int8")
    huge = LowRank(part.left * 1e9, part.right * 1e9)
    with pytest.raises(BadSettings, match="float16 loses too much of the delta"):
        fill_adapter(delta_of(llama, {1: huge}), llama, tmp_path, dtype="float16")
    assert not list(tmp_path.iterdir())
