"""DAGs of airflow type that are in the middle of their work when a backup is made, and can end once AIRFLOW_HOME/go exists.

The source has no such file, so its tasks hold; the target has it, so what the restore left unfinished ends there.
"""
import os
import time
from datetime import datetime, timedelta, timezone

from airflow import DAG
from airflow.decorators import task
from airflow.exceptions import AirflowFailException
from airflow.operators.bash import BashOperator
from airflow.sensors.base import BaseSensorOperator

HOME = os.environ["AIRFLOW_HOME"]
START = datetime(2024, 1, 1, tzinfo=timezone.utc)
ARGS = {"owner": "proof", "retries": 0}


def may_go():
    return os.path.exists(os.path.join(HOME, "go"))


def hold():
    while not may_go():
        time.sleep(0.5)


class Waits(BaseSensorOperator):
    """Reschedules itself until the tasks may end."""

    def poke(self, context):
        return may_go()


# One run, made by the scheduler: @once must not give a second one after a restore.
with DAG("proof_mixed", default_args=ARGS, schedule="@once", start_date=START, catchup=False) as mixed:

    @task
    def quick():
        return {"value": 40, "text": "über \\N"}

    @task
    def holds():
        hold()
        return [1, 2]

    @task
    def restarted():
        hold()

    @task(retries=20, retry_delay=timedelta(seconds=100))
    def retried():
        if not may_go():
            raise RuntimeError("not yet")
        return "another try"

    @task(pool="proof_one_slot")
    def parts(i):
        try:  # the first one that runs ends at once, whichever it is
            os.close(os.open(os.path.join(HOME, "first-part"), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            hold()
        return i

    @task
    def late(x):
        return x * 10

    @task
    def total(first, mapped, more, ti=None):
        found = first["value"] + sum(mapped) + sum(more)
        if found != 40 + 3 + 30:
            raise AirflowFailException("XComs of before and after the restore sum up to %r" % found)
        if ti.xcom_pull(task_ids="quick")["text"] != "über \\N":
            raise AirflowFailException("The text of quick is another one")
        return found

    q, held = quick(), holds()
    mapped_parts = parts.expand(i=[0, 1, 2])
    q >> [restarted(), retried(), mapped_parts]
    q >> Waits(task_id="waits", mode="reschedule", poke_interval=60, timeout=864000)
    total(q, mapped_parts, late.expand(x=held))

# Some intervals done, two in work, the others still to come: no interval twice, none left out.
with DAG("proof_catchup", default_args=ARGS, schedule="@daily", start_date=START, catchup=True, max_active_runs=2,
         end_date=START + timedelta(days=6)) as catchup:

    @task
    def day(ds=None):
        if ds > "2024-01-03":
            hold()
        return ds

    day()

# Goes on for ever; nothing of it holds.
with DAG("proof_minutely", default_args=ARGS, schedule="* * * * *", start_date=START, catchup=False) as minutely:

    @task
    def tick(ts=None):
        return ts

    tick()

# `airflow dags backfill` is at work on it; another run of it must be possible afterwards.
with DAG("proof_backfill", default_args=ARGS, schedule="@daily", start_date=START, catchup=False, max_active_runs=1,
         end_date=START + timedelta(days=3), is_paused_upon_creation=True) as backfill:

    @task
    def filled():
        hold()

    filled()

# Reads what was there before the restore, as tasks do.
with DAG("proof_reader", default_args=ARGS, schedule=None, start_date=START, catchup=False) as reader:

    @task
    def read(ti=None):
        from airflow.hooks.base import BaseHook
        from airflow.models import Variable

        connection = BaseHook.get_connection("lab_full")
        return {
            "xcom": ti.xcom_pull(dag_id="lab_everything", task_ids="push_xcoms", key="nested", include_prior_dates=True),
            "variable": Variable.get("lab_json"),
            "password": connection.password,
            "extra": connection.extra_dejson,
        }

    read()

# The restore as a task of the environment that is restored.
with DAG("proof_restores", default_args=ARGS, schedule=None, start_date=START, catchup=False) as restores:
    BashOperator(task_id="restore", bash_command='exec bash "$AIRFLOW_HOME/restore.sh"', append_env=True)
