"""Copy this file into the dags folder. Airflow Variables (DR_BACKUP_BUCKET, DR_BACKUP_SCHEDULE, …) set the rest."""

from airflow_lifeboat import backup_dag, cleanup_dag, drill_dag, prune_dag, restore_dag, status_dag
from airflow_lifeboat.compat import HAS_DATABASE

backup = backup_dag()
restore = restore_dag()
# It is about the database, which tasks of Airflow 3 have no way to.
drill = drill_dag() if HAS_DATABASE else None
status = status_dag()
cleanup = cleanup_dag()
prune = prune_dag(keep={'daily': 7, 'weekly': 4, 'monthly': 12})
