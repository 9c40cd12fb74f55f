"""The engines, each started as a newcomer would, in a time zone far from UTC, so that no date is right by luck."""

import functools
import shutil
import tempfile

import duckdb

_folders = []
_sessions = []


def in_duckdb(time_zone="America/New_York"):
    """A new connection."""
    connection = duckdb.connect(config={"threads": 2, "memory_limit": "2GB"})
    connection.execute(f"SET TimeZone = '{time_zone}'")
    return connection


@functools.cache
def in_spark():
    """The one session."""
    from pyspark.sql import SparkSession

    folder = tempfile.mkdtemp(prefix="backlinks-spark-")
    _folders.append(folder)
    settings = {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": "1g",
        "spark.local.dir": folder,
        "spark.log.level": "ERROR",
        "spark.sql.session.timeZone": "Asia/Tokyo",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.warehouse.dir": f"{folder}/warehouse",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    builder = SparkSession.builder.master("local[2]").appName("backlinks")
    for key, value in settings.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    _sessions.append(session)
    return session


def in_clickhouse(query):
    """A query's rows, as a table of pyarrow."""
    import chdb

    return chdb.query(query, "ArrowTable")


def stop():
    for session in _sessions:
        session.stop()
    for folder in _folders:
        shutil.rmtree(folder, ignore_errors=True)
