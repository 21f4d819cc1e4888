"""The Debian tools that some tests need. If one is missing, its tests are skipped with that reason."""

import shutil

import pytest


def needs(tool: str, package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        shutil.which(tool) is None, reason=f"left out: {tool} is not installed (Debian's package {package})"
    )
