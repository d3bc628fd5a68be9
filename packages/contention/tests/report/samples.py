"""Explorations as a search would have found them, made without one."""

from contention.model.schedules import Choice, Schedule
from contention.model.steps import Blocker, Link, Run, Step
from contention.model.verdicts import Verdict, VerdictKind
from contention.search.exploration import Exploration

NASTY = "SELECT '</script><b>&amp;\x1b[31m\u202e' /* \"quoted\" */"


class Told:
    """Steps that number themselves."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def sql(
        self,
        actor: str,
        text: str,
        result: str = "done",
        *touches: str,
        at: str = "",
        blocked_by: tuple[Blocker, ...] = (),
        answers: int | None = None,
    ) -> int:
        number = len(self.steps) + 1
        self.steps.append(
            Step(
                number,
                actor,
                f"{actor}/1",
                Link.POSTGRES,
                text,
                "blocked" if blocked_by else result,
                at,
                blocked_by,
                answers,
                touches,
            )
        )
        return number

    def redis(self, actor: str, text: str, result: str, *touches: str, at: str = "") -> int:
        number = len(self.steps) + 1
        self.steps.append(
            Step(number, actor, f"{actor}/2", Link.REDIS, text, result, source=at, touches=touches)
        )
        return number

    def runs_out(self, key: str, seconds: int) -> int:
        number = len(self.steps) + 1
        text = f"the time-out of {key} fires: {seconds} s pass"
        self.steps.append(Step(number, key, "", Link.CLOCK, text, f"gone: {key}", touches=(key,)))
        return number

    def run(self, reason: str) -> Run:
        actors = [
            f"age {step.actor}" if step.link is Link.CLOCK else step.actor
            for step in self.steps
            if step.answers is None
        ]
        return Run(Schedule(tuple(map(Choice, actors))), tuple(self.steps), reason)


def broken(run: Run, **workers: str) -> Exploration:
    return Exploration(
        workers,
        Verdict(VerdictKind.ILLEGAL, reason=run.reason),
        schedules=1_204,
        given_up=37,
        shrinking=12,
        beside=4,
        counterexample=run,
        seconds=4.25,
    )


def lost_update() -> Exploration:
    told = Told()
    read, write = (
        "SELECT amount FROM stock WHERE item = $1  -- tea",
        "UPDATE stock SET amount = $1 WHERE item = $2  -- 0, tea",
    )
    told.sql("w1", read, "(1)", "stock", at="shop.py:12")
    told.sql("w2", read, "(1)", "stock", at="shop.py:12")
    told.sql("w1", write, "UPDATE 1", "stock", at="shop.py:14")
    holder = Blocker("w1", "row of stock", 3)
    told.sql("w2", write, "", "stock", at="shop.py:14", blocked_by=(holder,))
    told.sql("w1", "COMMIT", "COMMIT", at="shop.py:11")
    told.sql("w2", write, "UPDATE 1", "stock", at="shop.py:14", answers=4)
    told.sql("w2", "COMMIT", "COMMIT", at="shop.py:11")
    return broken(told.run("the invariant does not hold: sold 2 of 1"), w1="buy", w2="buy")


def deadlock() -> Exploration:
    told = Told()
    update = "UPDATE accounts SET amount = amount - $1, changed_at = now() WHERE id = $2  -- 5, {}"
    for place, actor in enumerate(("w1", "w2", "w3"), start=1):
        told.sql(actor, update.format(place), "UPDATE 1", "accounts", at="transfers/move.py:31")
        told.sql(
            actor,
            f"INSERT INTO journal (account, note) VALUES ($1, $2)  -- {place}, {'paid ' * 30}",
            "INSERT 0 1",
            "journal",
            "accounts",
            at="transfers/move.py:32",
        )
    for place, actor in enumerate(("w1", "w2", "w3"), start=1):
        other = place % 3 + 1
        holder = Blocker(f"w{other}", "row of accounts", 2 * other - 1)
        told.sql(
            actor,
            update.format(other),
            "",
            "accounts",
            at="transfers/move.py:33",
            blocked_by=(holder,),
        )
    refused = "ERROR 40P01: deadlock detected"
    told.sql("w3", update.format(1), refused, "accounts", at="transfers/move.py:33", answers=9)
    told.sql("w2", update.format(3), "UPDATE 1", "accounts", answers=8)
    told.sql("w2", "COMMIT", "COMMIT")
    told.sql("w1", update.format(2), "UPDATE 1", "accounts", answers=7)
    told.sql("w1", "COMMIT", "COMMIT")
    reason = (
        "w3 raised DeadlockDetectedError: deadlock detected: w1 waits for w2 (row of accounts, "
        "held since step 3), w2 waits for w3 (row of accounts, held since step 5), w3 waits for w1 "
        "(row of accounts, held since step 1)"
    )
    return broken(told.run(reason), w1="move_money", w2="move_money", w3="move_money")


def lease_too_short() -> Exploration:
    told = Told()
    key = "lock:claim_calc:12345:2025-01-15"
    told.redis("w1", f"SET {key} 5f2c NX PX 120000", "OK", key, at="claims.py:40")
    told.sql("w1", "SELECT count(*) FROM claims WHERE policy_id = 12345", "(0)", "claims")
    told.runs_out(key, 120)
    told.redis("w2", f"SET {key} 99ab NX PX 120000", "OK", key, at="claims.py:40")
    told.sql("w2", "SELECT count(*) FROM claims WHERE policy_id = 12345", "(0)", "claims")
    insert = "INSERT INTO claims (policy_id, amount_minor) VALUES ($1, $2)  -- 12345, 2000000"
    told.sql("w2", insert, "INSERT 0 1", "claims", at="claims.py:44")
    told.sql("w1", insert, "INSERT 0 1", "claims", at="claims.py:44")
    told.redis("w1", f"EVALSHA 9a1b 1 {key} 5f2c", "error ERR not the owner", key)
    run = told.run("no serial order ends like this: 2 claims instead of 1")
    found = broken(run, w1="Calculation.of_a_policy", w2="Calculation.of_a_policy")
    found.notes.append("values differ when the same schedule is run again, first at step 1")
    return found


def forty_steps() -> Exploration:
    told = Told()
    tables = ("policies", "risk_events", "claims", "claim_requests_of_a_whole_term")
    for place in range(40):
        actor, table = f"w{place % 3 + 1}", tables[place % 4]
        told.sql(
            actor,
            f"SELECT * FROM {table}\n  JOIN policies USING (policy_id)\n WHERE region = $1  -- nyc",
            "(1, 2, 3), (4, 5, 6)",
            table,
            "policies",
            at="claimwright/operations/calculate.py:120",
        )
    told.redis("w1", f"GET stock:{'x' * 300}", '"1"', "stock")
    return broken(told.run("the invariant does not hold"), w1="calculate", w2="ingest", w3="void")


def nasty() -> Exploration:
    told = Told()
    told.sql("w1", NASTY, NASTY, "<table>&", at="<&>.py:1")
    found = broken(told.run(f"no: {NASTY}"), w1="<lambda>")
    found.notes.append(NASTY)
    return found


def legal() -> Exploration:
    return Exploration({"w1": "buy"}, Verdict(VerdictKind.LEGAL), 12, 3, seconds=0.41)
