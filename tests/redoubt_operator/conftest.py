"""The fixtures of a devcluster for the tests that need a real API server."""

from devcluster.pytest_plugin import pytest_configure as pytest_configure
