"""What the DAGs say of themselves in Airflow's web page."""

_CONF = """
| conf | is |
|---|---|
"""
_STORAGE = '| `bucket` or `storage` | where the backups are, instead of `DR_BACKUP_BUCKET`: a bucket, or a URL |\n'
_DRY_RUN = '| `dry_run` | `true`: print the plan and change nothing |\n'
_TOKEN = '| `task_token` | of a Step Functions state that waits for this run |\n'
_CONFIRM = '| `confirm` | `true`, without which nothing happens (a task token will do) |\n'

BACKUP = 'Backs up the metadata of this Airflow as it is at one moment.\n' + _CONF + _STORAGE + _DRY_RUN + _TOKEN

RESTORE = (
    'Restores a backup into **this** Airflow, in one transaction. This run and the scheduler live on.\n'
    + _CONF
    + _CONFIRM
    + _DRY_RUN
    + '| `backup` | id, unique prefix, `latest` (default) or `latest-verified` |\n'
    + '| `clean` | `true`: delete the history of this Airflow first; without it a target with history is refused |\n'
    + '| `variable_restore_strategy`, `connection_restore_strategy` | `APPEND`, `REPLACE` or `DO_NOTHING` |\n'
    + _STORAGE
    + _TOKEN
)

DRILL = (
    'Tries whether a backup restores into this Airflow, and how long that takes. Live tables are only read.\n'
    + _CONF
    + '| `backup` | id, unique prefix, `latest` (default) or `latest-verified` |\n'
    + '| `variable_restore_strategy`, `connection_restore_strategy` | `APPEND`, `REPLACE` or `DO_NOTHING` |\n'
    + _STORAGE
    + _TOKEN
)

STATUS = (
    'How old the newest complete backup is, and the newest that a drill proved; fails past the limit of this DAG.\n'
    + _CONF
    + _STORAGE
)

CLEANUP = (
    '**Deletes** runs, task instances and the rest of the history of this Airflow. Variables, connections and pools stay.\n'
    + _CONF
    + _CONFIRM
    + _DRY_RUN
    + _TOKEN
)

PRUNE = 'Removes old backups by the rules of this DAG.\n' + _CONF + _CONFIRM + _DRY_RUN + _STORAGE
