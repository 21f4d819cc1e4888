"""A daemon that publishes the failed executions of Alloy Embedded workflows to an AWS EventBridge bus."""

from importlib.metadata import version

__version__ = version("forwarder")
