"""psycopg's pipelines, in a form that an interrupted call can leave at any point.

`connection.pipeline()` is a context manager. If a signal handler interrupts its body, Python leaves it whenever it collects
the generator, perhaps while another caller uses the connection. So a pipeline is opened here without it.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.waiting import Ready, Wait


def new_pipeline(connection: Any) -> Any:
    """Return a new pipeline of a connection, which is not entered yet; the open one if there is one.

    Args:
        connection: The connection, synchronous or asynchronous.
    """
    kind: Any = psycopg.Pipeline if isinstance(connection, psycopg.Connection) else psycopg.AsyncPipeline
    if connection._pipeline is None:
        connection._pipeline = kind(connection)
    return connection._pipeline


def forget_pipeline(connection: Any) -> None:
    """Make a connection forget its pipeline, after it was left."""
    pipeline = connection._pipeline
    if pipeline is not None and pipeline.level <= 0:
        connection._pipeline = None


def drained(connection: Any) -> Any:
    """Leave the pipeline mode of a connection whose call was interrupted, and drop all results: a generator of psycopg.

    Args:
        connection: The connection.
    """
    pgconn = connection.pgconn
    pipeline, connection._pipeline = connection._pipeline, None
    if pipeline is not None:
        # These commands were not sent. The pipeline must not send them if its own exit is called later.
        pipeline.command_queue.clear()
        pipeline.result_queue.clear()
        pipeline.level = 0
    # Statements may have been prepared, or not, without the knowledge of psycopg.
    connection._prepared.clear()
    pgconn.pipeline_sync()
    while pgconn.flush():
        ready = yield Wait.RW
        if ready & Ready.R:
            pgconn.consume_input()
    while True:
        while not pgconn.is_busy():
            if pgconn.get_result() is None and _has_left(pgconn):
                return
        while not (yield Wait.R):
            pass
        pgconn.consume_input()


def _has_left(pgconn: Any) -> bool:
    """Leave the pipeline mode, and return true, if all results were read."""
    try:
        pgconn.exit_pipeline_mode()
    except psycopg.OperationalError:
        return False
    return True
