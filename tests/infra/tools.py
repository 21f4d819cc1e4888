"""Tools of Debian's that some tests need. Where one is missing its tests are left out, and say so."""

import shutil

import pytest


def needs(tool: str, package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        shutil.which(tool) is None, reason=f"left out: {tool} is not installed (Debian's package {package})"
    )
