"""The house of the contract tests, to be attacked."""

from tests.contract.conftest import conformity, house, template

__all__ = ["conformity", "house", "template"]
