"""Clients of AWS for reports. boto3 comes with MWAA; it is no dependency of this package."""

from __future__ import annotations

import os
from typing import Any, Optional


def client(service: str) -> Any:
    """Gives up after less than a minute: without a route, boto3's own limits would hold the task for many."""
    import boto3
    from botocore.config import Config

    limits = Config(connect_timeout=5, read_timeout=10, retries={'mode': 'standard', 'max_attempts': 3})
    return boto3.client(service, region_name=region(), config=limits)


def region() -> Optional[str]:
    """boto3 reads AWS_DEFAULT_REGION alone, and the engine's SDK AWS_REGION alone; each is good for both."""
    return os.environ.get('AWS_REGION') or os.environ.get('AWS_DEFAULT_REGION')
