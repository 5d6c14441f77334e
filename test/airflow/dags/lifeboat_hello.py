"""A DAG whose history shows whether a backup by one Airflow arrived in another."""

from datetime import datetime

from airflow import DAG

try:
    from airflow.providers.standard.operators.python import PythonOperator
except ImportError:
    from airflow.operators.python import PythonOperator

with DAG('hello', schedule='@once', start_date=datetime(2024, 1, 1), catchup=False):
    PythonOperator(task_id='greet', python_callable=lambda: 'ahoy') >> PythonOperator(
        task_id='answer', python_callable=lambda ti: ti.xcom_pull(task_ids='greet') + '!'
    )
