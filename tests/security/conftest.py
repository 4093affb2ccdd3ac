"""The house of the contract tests, to be attacked."""

from tests.contract.conftest import address, conformity, house, pytest_generate_tests, shared_postgres, template

__all__ = ["address", "conformity", "house", "pytest_generate_tests", "shared_postgres", "template"]
