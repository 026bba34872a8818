"""Jobs for the comparison's schedule that only add numbers."""


def add(place, *stages, line):
    """A stage that is one more than the sum of those that it needs."""

    def work(folder):
        return {"sum": 1 + sum(stage.record["sum"] for stage in stages), "line": line}

    return place.stage("add", {"needs": [stage.key for stage in stages], "data": place.plan}, work)


def fail(place, *stages, line):
    raise ValueError("this job cannot be done")
