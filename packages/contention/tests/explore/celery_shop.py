"""What a Celery worker imports: a task that leaves a key, and then says so over the broker."""

import os
from contextlib import closing

import redis
from celery import Celery

ANSWERS = "answers"
app = Celery("celery_shop", set_as_current=False)


@app.task(name="sell", ignore_result=True)  # type: ignore[untyped-decorator]  # celery has no types
def sell(item: str) -> None:
    with redis.Redis.from_url(os.environ["CONTENTION_REDIS_URL"]) as client:
        client.set(f"sold:{item}", 1)
    with app.connection_for_write() as broker, closing(broker.SimpleQueue(ANSWERS)) as answers:
        answers.put({"process": os.getpid()})
