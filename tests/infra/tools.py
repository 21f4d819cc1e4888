"""The Debian tools that some tests need. The tests of a missing tool are skipped with that reason."""

import shutil

import pytest


def needs(tool: str, package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        shutil.which(tool) is None, reason=f"skipped: {tool} is not installed (Debian's package {package})"
    )
