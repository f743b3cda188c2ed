"""A training script of somebody's own, without torch, that tells by itself what is read inside of others."""

import argparse
import json
import os
import random

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--bias", type=float, default=0.0)
options = parser.parse_args()

generator = random.Random(options.seed)
level, norm = generator.gauss(0, 0.3), generator.gauss(10, 0.1)
with open(os.environ["ALGOBIAS_ATTACH"]) as file:
    orders = json.load(file)
os.makedirs(orders["events"], exist_ok=True)
lines = []


def tell(event: str, update: int, **fields: object) -> None:
    """Write an event."""
    lines.append(json.dumps({"event": event, "update": update, **fields}))


tell("start", 0, pid=os.getpid(), rank=0, argv=[], torch="none", threads=1)
for update in (1, 2, 4, 8, 16, 32, 64):
    tell("train_loss", update, value=1 / update, se=None, examples=9, fit_set="f", exact=True)
    for probe in orders["probes"]:
        # It grows while there is training; the change moves it besides.
        value = norm + update / 64 + options.bias
        reading = {"probe": probe, "value": value, "unit": "", "status": "ok", "reason": None}
        reading |= dict.fromkeys(("numerical", "monte_carlo", "subset", "no_interval", "twin"))
        reading |= {"cost": {"forwards": 0, "gradients": 1, "products": 0, "seconds": 0.1}, "parts": {}}
        reading |= {"definition": "", "reference": "", "details": {}, "warnings": []}
        tell("reading", update, probe=probe, value=value, reading=json.dumps(reading), fit_set="f")
    print(f"update {update} test {60 + 4 * update**0.5 - options.bias + level}")
tell("end", 64, updates=64, weights="0", reason="exit")
with open(os.path.join(orders["events"], f"events-{os.getpid()}.jsonl"), "w") as file:
    file.write("\n".join(lines) + "\n")
