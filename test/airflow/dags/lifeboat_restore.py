"""A restore as somebody would write it whose backup has runs in flight, of DAGs that this Airflow lacks."""

from airflow_lifeboat import restore_dag

restore = restore_dag(clean=True, options=['--in-flight', 'fail'])
