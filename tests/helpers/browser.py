"""Chromium, and what tests of a page do in it."""

from __future__ import annotations

import shutil

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
IN_BROWSER = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (Debian: apt install chromium)"),
]
SCORED = 320  # images of each run on the page


def choose(view, name, value):
    view.click(f"label:has(input[name={name}][value={value}])")
