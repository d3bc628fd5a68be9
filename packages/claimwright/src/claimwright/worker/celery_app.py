"""The Celery app, configured from the settings in one place."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from celery import Celery, Task

from claimwright.runtime import Addresses, process_servers
from claimwright.server_addresses import broker_arguments, broker_beside_redis
from claimwright.settings import Settings

#: A broker that does not answer is away; a worker that waits for work asks every second.
_BROKER_ANSWER_SECONDS: Final = 10
_BROKER_CONNECT_SECONDS: Final = 4
#: What holds at every site; docs/decisions says why.
_FIXED: Final[Mapping[str, Any]] = {
    "broker_connection_timeout": _BROKER_CONNECT_SECONDS,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "accept_content": ["json"],
    "task_serializer": "json",
    "task_ignore_result": True,
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    # A connection that was kept may be one that the broker has since closed: a new one, once.
    "task_publish_retry": True,
    "task_publish_retry_policy": {"max_retries": 1, "interval_start": 0, "interval_max": 0},
    "worker_prefetch_multiplier": 1,
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "timezone": "UTC",
}


def configuration(settings: Settings, addresses: Addresses) -> dict[str, Any]:
    """What Celery is told that differs from site to site."""
    if settings.broker_url is not None:
        address = settings.broker_url.get_secret_value()
    else:
        address = broker_beside_redis(addresses.redis_url)
    broker = broker_arguments(address)
    return {
        "broker_url": broker.url,
        "broker_use_ssl": broker.use_ssl,
        "broker_transport_options": _transport_options(broker.url, settings),
        "task_default_queue": settings.queue,
        "task_time_limit": settings.task_seconds,
        "worker_soft_shutdown_timeout": settings.soft_shutdown_seconds,
    }


def make_app(settings: Settings, addresses: Addresses) -> Celery:
    """An app for servers that are known, beside the one that the environment configures."""
    made = Celery("claimwright", set_as_current=False)
    made.conf.update({**_FIXED, **configuration(settings, addresses)})
    return made


class _OfTheEnvironment(Mapping[str, Any]):
    """The configuration, whose values of the site are read when the first of them is asked for.

    Celery asks for the others as soon as anybody looks at a task, which may be long before the
    environment is the one to work in.
    """

    _OF_THE_SITE: Final = (
        "broker_url",
        "broker_use_ssl",
        "broker_transport_options",
        "task_default_queue",
        "task_time_limit",
        "worker_soft_shutdown_timeout",
    )

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - whatever Celery can be told
        if name in self._OF_THE_SITE:
            return configuration(*process_servers())[name]
        return _FIXED[name]

    def __iter__(self) -> Iterator[str]:
        return iter((*_FIXED, *self._OF_THE_SITE))

    def __len__(self) -> int:
        return len(_FIXED) + len(self._OF_THE_SITE)


def _transport_options(url: str, settings: Settings) -> dict[str, Any]:
    if url.startswith("amqp"):
        # A message counts as sent when RabbitMQ says that it has it.
        return {"confirm_publish": True}
    return {
        "visibility_timeout": settings.visibility_seconds,
        "socket_timeout": _BROKER_ANSWER_SECONDS,
        "socket_connect_timeout": _BROKER_CONNECT_SECONDS,
        "socket_keepalive": True,
    }


class LimitedTask(Task):  # type: ignore[misc] # Celery has no types
    """A task that asks the settings for its time limit when it is run, not when it is defined."""

    @property
    def time_limit(self) -> int:
        """Seconds, after which a child that does it is killed."""
        return process_servers()[0].task_seconds


app = Celery("claimwright", task_cls=LimitedTask)
app.add_defaults(_OfTheEnvironment)
