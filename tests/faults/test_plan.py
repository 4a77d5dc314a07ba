from __future__ import annotations

from dataclasses import replace

from faults.__main__ import CI_SEEDS
from faults.kills import kill_plan
from faults.plan import BROKERS, LOAD_S, NAMES, SESSION_S, WORKERS, Kind, Plan, Step, broker_plan, random_plan

MANY = range(300)


def test_a_seed_makes_one_plan_and_another_seed_another() -> None:
    assert [random_plan(seed) for seed in MANY] == [random_plan(seed) for seed in MANY]
    assert len({random_plan(seed).steps for seed in MANY}) == len(MANY)


def test_steps_come_in_time_and_make_sense() -> None:
    for plan in map(random_plan, MANY):
        times = [step.at_s for step in plan.steps]
        assert times == sorted(times)
        assert 0 < times[0] <= times[-1] < LOAD_S
        up = set(plan.workers)
        for step in plan.steps:
            if step.kind is Kind.JOIN:
                assert step.target not in up
                up.add(step.target)
            elif step.kind in WORKERS:
                assert step.target in up
            if step.kind is Kind.LEAVE:
                up.discard(step.target)
            assert step.kind is not Kind.FREEZE or step.seconds > SESSION_S
            assert step.kind not in BROKERS or int(step.target) < plan.brokers
            assert up
            assert up <= set(NAMES)


def test_at_most_one_broker_is_away_at_a_time() -> None:
    for plan in [*map(random_plan, MANY), broker_plan()]:
        away_until = 0.0
        for step in plan.steps:
            if step.kind in BROKERS:
                assert step.at_s > away_until
                away_until = step.at_s + step.seconds


def test_the_plans_of_ci_hold_every_fault_on_one_broker_and_on_three() -> None:
    plans = [random_plan(seed) for seed in CI_SEEDS]
    assert {step.kind for plan in plans for step in plan.steps} == set(Kind)
    assert {plan.brokers for plan in plans} == {1, 3}
    assert {plan.is_static for plan in plans} == {False, True}


def test_a_plan_tells_its_seed_and_what_it_lacks() -> None:
    plan = Plan(7, (Step(1, Kind.KILL, "w0"),))
    assert str(plan) == "seed 7: 1 broker(s), dynamic group, 1 faults"
    assert str(replace(plan, off=("lease",))).endswith(", without lease")
    assert str(Step(3, Kind.FREEZE, "w1", 9)) == "  3.0 s freeze w1 9.0 s"


def test_as_many_kills_as_asked_for_lie_inside_the_replay() -> None:
    plan = kill_plan(1, 200, 1_000_000)
    assert len(plan.steps) == 200
    assert {step.kind for step in plan.steps} == {Kind.KILL, Kind.WIPE}
    assert {step.target for step in plan.steps} == set(plan.workers)
    assert plan.steps[-1].at_s < plan.load_s < 25 * 60
    assert kill_plan(1, 200, 1_000_000) == plan
