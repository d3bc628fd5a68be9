"""The broker, as operations see it: messages go out through Celery's own producers."""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from celery import Celery
from kombu.exceptions import OperationalError

from claimwright.domain.errors import BrokerUnavailableError
from claimwright.operations.hand_on import Message
from claimwright.storage.requests import RequestKind
from claimwright.worker.logs import log

EVALUATE_READINGS: Final = "claimwright.evaluate_readings"
PLAN_DAY: Final = "claimwright.plan_day"
CALCULATE_POLICIES: Final = "claimwright.calculate_policies"
TASK_OF_KIND: Final[Mapping[RequestKind, str]] = {
    RequestKind.EVALUATE: EVALUATE_READINGS,
    RequestKind.CALCULATE: PLAN_DAY,
    RequestKind.POLICY: CALCULATE_POLICIES,
}
#: RabbitMQ may take a message and answer for hours with nothing, when its memory or disk is full.
_PATIENCE: Final = {"read_timeout": 10, "write_timeout": 10}


class CeleryBroker:
    """Sends messages, each known to have arrived before the next."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    async def send(self, messages: Sequence[Message]) -> int:
        """Send messages in order; how many of them were sent before the broker failed."""
        return await asyncio.to_thread(self._send, messages)

    async def waiting(self) -> int:
        """How many messages no worker has taken yet; the queue is made where it is missing.

        Raises:
            BrokerUnavailableError: it cannot be reached.
        """
        return await asyncio.to_thread(self._waiting)

    def _send(self, messages: Sequence[Message]) -> int:
        sent = 0
        try:
            with (
                broker_errors_in_our_words(self._app),
                self._app.connection_for_write(transport_options=_PATIENCE) as connection,
            ):
                producer = self._app.amqp.Producer(connection, auto_declare=False)
                for message in messages:
                    ids: Any = list(message.request_ids)
                    if message.kind is RequestKind.CALCULATE:
                        (ids,) = ids
                    task = self._app.send_task(
                        TASK_OF_KIND[message.kind], args=[ids], producer=producer, retry=False
                    )
                    sent += 1
                    log(
                        logging.INFO, "sent", kind=message.kind.value, task_id=task.id,
                        request=message.request_ids[0], requests=len(message.request_ids),
                    )  # fmt: skip
        except BrokerUnavailableError:
            return sent
        return sent

    def _waiting(self) -> int:
        with (
            broker_errors_in_our_words(self._app),
            self._app.connection_for_write() as connection,
            connection.channel() as channel,
        ):
            queue = self._app.amqp.queues[self._app.conf.task_default_queue].bind(channel)
            # Declared anew each time: the broker may have been emptied.
            queue.declare()
            return int(queue.queue_declare().message_count)


@contextmanager
def broker_errors_in_our_words(app: Celery) -> Iterator[None]:
    """Turn what brokers raise into one error, without an address in it.

    Raises:
        BrokerUnavailableError: the broker cannot be reached, or refuses.
    """
    template = app.connection_for_write()
    try:
        yield
    except (
        OperationalError,
        OSError,
        *template.connection_errors,
        *template.channel_errors,
    ) as error:
        kind = type(error.__cause__ or error).__name__
        raise BrokerUnavailableError(f"the broker does not answer ({kind})") from error
