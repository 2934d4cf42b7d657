"""Where things lie in the checkout."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
FIXTURES = TESTS / "fixtures"
PLUGINS = TESTS / "plugins"
TOOLS = ROOT / "tools"
