"""Writes the pages into docs/reference."""

from pathlib import Path

from reference_pages.commands import commands_page
from reference_pages.metrics import metrics_page
from reference_pages.settings import settings_page

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "reference"
PAGES = {
    "command-line.md": commands_page,
    "configuration.md": settings_page,
    "metrics.md": metrics_page,
}


def main() -> None:
    """Every page, written."""
    for name, made in PAGES.items():
        (FOLDER / name).write_text(made(), encoding="utf-8")


if __name__ == "__main__":
    main()
