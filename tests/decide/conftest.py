"""`pytest tests/decide --rewrite` writes the transcripts anew; read the difference before it is committed."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite", action="store_true", help="write the scenario transcripts anew")
