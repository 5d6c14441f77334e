"""Clients of AWS for reports. boto3 comes with MWAA; it is no dependency of this package."""

from __future__ import annotations

from typing import Any


def client(service: str) -> Any:
    """Gives up after less than a minute: without a route, boto3's own limits would hold the task for many."""
    import boto3
    from botocore.config import Config

    limits = Config(connect_timeout=5, read_timeout=10, retries={'mode': 'standard', 'max_attempts': 3})
    return boto3.client(service, config=limits)
