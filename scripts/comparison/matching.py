"""Equal training: as many operations for every model as for the first, whatever the seconds of this machine."""

from dataclasses import replace

from comparison.contenders import CONTENDERS, shortened
from comparison.settings import Comparison


def equal_flops(plan: Comparison) -> Comparison:
    """The same comparison, with the steps of each model's last stage that make it cost as much as the first model.

    Operations are counted on the meta device: they do not depend on weights.
    """
    data = plan.data.part("train")

    def cost(model: str) -> dict[str, int]:
        jobs = {name: CONTENDERS[model].job(name, run, data, {}) for name, run in plan.models[model].runs.items()}
        plans = {name: job.plan(1) for name, job in jobs.items()}
        return {name: each.step_flops * each.training.steps for name, each in plans.items()}

    first, *others = plan.models
    wanted, models = sum(cost(first).values()), dict(plan.models)
    for model in others:
        spent = cost(model)
        *_, last = spent
        runs = plan.models[model].runs
        share = (wanted - sum(spent.values()) + spent[last]) / spent[last]
        steps = max(1, round(runs[last].training.steps * share))
        models[model] = replace(plan.models[model], runs={**runs, last: shortened(runs[last], steps)})
    return replace(plan, models=models, equal="training FLOPs")
