"""The Celery app, configured from the settings in one place."""

from typing import Any, Final

from celery import Celery

from claimwright.runtime import Addresses, process_servers
from claimwright.server_addresses import broker_arguments, broker_beside_redis
from claimwright.settings import Settings

#: A broker that does not answer is away; a worker that waits for work asks every second.
_BROKER_ANSWER_SECONDS: Final = 10
_BROKER_CONNECT_SECONDS: Final = 4


def configuration(settings: Settings, addresses: Addresses) -> dict[str, Any]:
    """What Celery is told; docs/decisions says why of each that matters."""
    if settings.broker_url is not None:
        address = settings.broker_url.get_secret_value()
    else:
        address = broker_beside_redis(addresses.redis_url)
    broker = broker_arguments(address)
    return {
        "broker_url": broker.url,
        "broker_use_ssl": broker.use_ssl,
        "broker_connection_timeout": _BROKER_CONNECT_SECONDS,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_transport_options": _transport_options(broker.url, settings),
        "accept_content": ["json"],
        "task_serializer": "json",
        "task_ignore_result": True,
        "task_default_queue": settings.queue,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_time_limit": settings.task_seconds,
        "task_publish_retry": False,
        "worker_prefetch_multiplier": 1,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_soft_shutdown_timeout": settings.soft_shutdown_seconds,
        "worker_send_task_events": False,
        "event_queue_exclusive": False,
        "timezone": "UTC",
    }


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


app = Celery("claimwright")
app.add_defaults(lambda: configuration(*process_servers()))
