"""A DAG that goes on with the latest interval when it is let go: without catchup, and with a schedule that has no end."""
from datetime import datetime, timezone

from airflow import DAG
from airflow.decorators import task

with DAG("lifeboat_latest", schedule="0 0 * * *", start_date=datetime(2024, 1, 1, tzinfo=timezone.utc), catchup=False):

    @task
    def daily():
        return None

    daily()
