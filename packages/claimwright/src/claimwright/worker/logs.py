"""What workers and the relay write: one line an attempt, as text or as one JSON document.

Facts are whole values under names of their own, and no line holds an address, a statement or a
value of a row: an error of others is named by its class and SQLSTATE alone.
"""

import json
import logging
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Final

from celery import signals

from claimwright.operations.attempts import Attempt, Result
from claimwright.runtime import process_servers
from claimwright.settings import Settings

logger: Final = logging.getLogger("claimwright.work")
_FACTS: Final = "facts"
_LEVELS: Final = {
    Result.FAILED: logging.WARNING,
    Result.DEAD: logging.ERROR,
    Result.UNKNOWN: logging.ERROR,
    Result.NOTHING: logging.DEBUG,
}
_TEXT: Final = "%(asctime)s %(levelname)s %(name)s %(message)s"


class JsonFormatter(logging.Formatter):
    """A record as one JSON document on one line; facts stand beside the message."""

    def format(self, record: logging.LogRecord) -> str:
        """The document."""
        document: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
            **getattr(record, _FACTS, {}),
        }
        if record.exc_info:
            document["traceback"] = self.formatException(record.exc_info)
        return json.dumps(document, default=str, ensure_ascii=False)


def log(level: int, event: str, *, error: BaseException | None = None, **facts: object) -> None:
    """Write one line: what happened, and its facts; those that are `None` are left out."""
    known = {name: value for name, value in facts.items() if value not in (None, "")}
    told = " ".join(f"{name}={_shown(value)}" for name, value in known.items())
    logger.log(
        level, "%s %s", event, told, exc_info=error, extra={_FACTS: {"event": event, **known}}
    )


def log_attempts(attempts: Sequence[Attempt], *, task_id: str | None, seconds: float) -> None:
    """One line for each kind of outcome of a task; what can be told together is.

    Args:
        attempts: of the task's requests.
        task_id: Celery's.
        seconds: how long all of them took.
    """
    ordered = sorted(attempts, key=_alike)
    for _, group in groupby(ordered, key=_alike):
        alike = list(group)
        one = alike[0]
        log(
            _LEVELS.get(one.result, logging.INFO),
            "work",
            error=one.error,
            kind=one.kind.value,
            request=one.request_id,
            requests=len(alike) if len(alike) > 1 else None,
            generation=one.generation or None,
            chunk=one.chunk,
            attempt=one.number or None,
            outcome=one.result.value,
            claims=one.claims,
            calculation_id=one.calculation_id,
            reason=one.reason,
            seconds=round(seconds, 3),
            task_id=task_id,
        )


def _alike(attempt: Attempt) -> tuple[str, str, int, str]:
    calculation = str(attempt.calculation_id or "")
    return attempt.result, attempt.reason, attempt.number, calculation


def formatter(settings: Settings) -> logging.Formatter | None:
    """What the settings ask for in place of a program's own format; `None` for that one."""
    return JsonFormatter() if settings.log_format == "json" else None


def write_to_standard_error(settings: Settings, level: str = "INFO") -> None:
    """Set up logging for a program that is not Celery's."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(settings) or logging.Formatter(_TEXT))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level)
    logging.getLogger("alembic").setLevel(logging.WARNING)


def _shown(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if " " in text or '"' in text else text


def _format_celerys_own(logger: logging.Logger, **_: object) -> None:
    """Celery sets logging up as ever; only the format of its lines follows the settings."""
    wanted = formatter(process_servers()[0])
    for handler in logger.handlers if wanted else ():
        handler.setFormatter(wanted)


for _signal in (signals.after_setup_logger, signals.after_setup_task_logger):
    _signal.connect(_format_celerys_own)
