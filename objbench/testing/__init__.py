"""The contract test kit: `check_method` tests any registered method against the method contract."""

from objbench.testing.check import check_method
from objbench.testing.kit import ContractError, random_scenes

__all__ = ["ContractError", "check_method", "random_scenes"]
