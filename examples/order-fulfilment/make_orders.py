"""Writes `orders.jsonl`: the same orders on every machine, because the seed is fixed.

    python make_orders.py > orders.jsonl

Most orders are fine; which trouble the others run into is described in `world.py`.
"""

import random
import sys

import msgspec
from catalogue import PRICES_CENTS
from contracts import Address, Order, OrderLine

SEED = 20_260_401
COUNT = 200

NAMES = ["Ada", "Barbara", "Edsger", "Frances", "Grace", "Hector", "Jim", "Kenneth", "Leslie", "Margaret", "Radia"]
FAMILIES = ["Almeida", "Bauer", "Costa", "Dahl", "Eriksen", "Fischer", "Garcia", "Haas", "Ito", "Jansen", "Kowalska"]
STREETS = ["Mill Lane", "Station Road", "Harbour Street", "Garden Way", "Church Square", "Orchard Row"]
CITIES = ["Ashford", "Brookfield", "Cedarville", "Dunmore", "Eastwick", "Fairhaven"]
SCARCE = ["lamp-brass", "rug-wool", "clock-wall"]

# Each trouble comes round with this rhythm, so that the first forty orders hold some of every kind.
RHYTHM = 40
TROUBLES = {
    2: "scarce",
    5: "stolen",
    8: "postcode 99",
    11: "busy",
    14: "scarce",
    17: "over the limit",
    20: "postcode 97",
    23: "scarce",
    26: "busy",
    29: "stolen",
    33: "scarce",
    35: "stolen and postcode 99",
    39: "scarce",
}
# A slow bank keeps the whole payment ledger waiting, so these are few.
SLOW_BANK = {31: "slow", 37: "slow and postcode 99", 131: "slow", 137: "slow and postcode 99"}


def order(number: int, chance: random.Random) -> Order:
    trouble = SLOW_BANK.get(number) or TROUBLES.get(number % RHYTHM, "")
    order_id = f"order-{number:04}"
    skus = chance.sample([sku for sku in PRICES_CENTS if sku not in SCARCE], chance.randint(1, 3))
    if trouble == "scarce":
        skus[0] = chance.choice(SCARCE)
    lines = [OrderLine(sku, chance.randint(1, 2), PRICES_CENTS[sku]) for sku in skus]
    if trouble == "over the limit":
        lines = [OrderLine("desk-walnut", 3, PRICES_CENTS["desk-walnut"])]
    if trouble == "busy":
        lines = [OrderLine("stool-ash", 1, PRICES_CENTS["stool-ash"])]
    kind = "stolen" if "stolen" in trouble else "slow" if "slow" in trouble else "visa"
    first_digits = "99" if "99" in trouble else "97" if "97" in trouble else f"{chance.randint(10, 89)}"
    return Order(
        id=order_id,
        card=f"card-{kind}-{chance.randint(1000, 9999)}",
        lines=lines,
        total_cents=sum(line.quantity * line.price_cents for line in lines),
        address=Address(
            name=f"{chance.choice(NAMES)} {chance.choice(FAMILIES)}",
            street=f"{chance.randint(1, 120)} {chance.choice(STREETS)}",
            postcode=f"{first_digits}{chance.randint(0, 999):03}",
            city=chance.choice(CITIES),
        ),
    )


def main() -> None:
    chance = random.Random(SEED)
    for number in range(1, COUNT + 1):
        sys.stdout.write(msgspec.json.encode(order(number, chance)).decode() + "\n")


if __name__ == "__main__":
    main()
